"""The compiled loops over slice points: reading a half ball, adding to it, and the expansion of images' likelihoods at poses.

Points are taken line by line, in runs of RUN: first their places on the lattice, whose arithmetic becomes vector instructions, then
what is read or written there. The row of a voxel holds its columns side by side. What is common to the loops is compiled into
each; all stand in this file because compiled code is kept by file, and would not notice a change in another one.

Types are numpy's: float32 arrays, `first` and `order` int32. `slices_compiled` and `inference.expansion_compiled` call them.
"""

import math
from typing import Any

import numpy as np

from cryodrake.physics.compiled import loop, piece

RUN = 64


@piece
def place(rotation: Any, lattice: Any, kx: Any, ky: Any, first: Any, fx: Any, fy: Any, fz: Any, sign: Any) -> None:
    """As `Cells.of`: first corner, place in the cell, and sign of the points kx, ky under one rotation."""
    ny, nx, half, fine = lattice
    last = (ny * ny - ny - 1) * nx - 2  # the last cell's first corner
    xx, xy, xz = rotation[0, 0] * fine, rotation[0, 1] * fine, rotation[0, 2] * fine
    yx, yy, yz = rotation[1, 0] * fine, rotation[1, 1] * fine, rotation[1, 2] * fine
    for t in range(len(kx)):
        x = xx * kx[t] + yx * ky[t]
        s = np.float32(-1) if x < 0 else np.float32(1)
        x, y, z = x * s, (xy * kx[t] + yy * ky[t]) * s, (xz * kx[t] + yz * ky[t]) * s
        x0, y0, z0 = np.float32(math.floor(x)), np.float32(math.floor(y)), np.float32(math.floor(z))
        fx[t], fy[t], fz[t], sign[t] = x - x0, y - y0, z - z0, s
        # Never outside, whatever it is asked for.
        first[t] = min(max(((np.int32(z0) + half) * ny + np.int32(y0) + half) * nx + np.int32(x0), 0), last)


# reading -----------------------------------------------------------------------------------------------------------------


@loop
def read(ball: Any, lattice: Any, rotations: Any, kx: Any, ky: Any, order: Any, out: Any, begin: int, end: int) -> None:
    """Trilinear values (q k c) of the ball (v c) on the slices begin … end of `rotations`."""
    first, places = np.empty(RUN, np.int32), np.empty((4, RUN), np.float32)
    fx, fy, fz, sign = places
    for q in range(begin, end):
        for k in range(0, len(kx), RUN):
            last = min(k + RUN, len(kx))
            place(rotations[q], lattice, kx[k:last], ky[k:last], first, fx, fy, fz, sign)
            if ball.shape[1] == 2:
                _read_pair(ball, lattice, first, fx, fy, fz, sign, order[k:last], out[q])
            else:
                _read_row(ball, lattice, first, fx, fy, fz, sign, order[k:last], out[q])


@piece
def _read_pair(ball: Any, lattice: Any, first: Any, fx: Any, fy: Any, fz: Any, sign: Any, order: Any, out: Any) -> None:
    """Of a single map, its two numbers in registers."""
    along_y, along_z = lattice[1], lattice[0] * lattice[1]
    for t in range(len(order)):
        x, y, z = fx[t], fy[t], fz[t]
        re = im = np.float32(0)
        for corner in range(4):
            i = first[t] + (corner & 1) * along_y + (corner >> 1) * along_z
            w = (z if corner >> 1 else 1 - z) * (y if corner & 1 else 1 - y)
            re += w * (ball[i, 0] + x * (ball[i + 1, 0] - ball[i, 0]))
            im += w * (ball[i, 1] + x * (ball[i + 1, 1] - ball[i, 1]))
        out[order[t], 0], out[order[t], 1] = re, im * sign[t]


@piece
def _read_row(ball: Any, lattice: Any, first: Any, fx: Any, fy: Any, fz: Any, sign: Any, order: Any, out: Any) -> None:
    """Of any number of columns."""
    along_y, along_z = lattice[1], lattice[0] * lattice[1]
    n_columns = ball.shape[1]
    for t in range(len(order)):
        x, y, z = fx[t], fy[t], fz[t]
        here = out[order[t]]
        for c in range(n_columns):
            here[c] = 0
        for corner in range(4):
            i = first[t] + (corner & 1) * along_y + (corner >> 1) * along_z
            w = (z if corner >> 1 else 1 - z) * (y if corner & 1 else 1 - y)
            w0, w1 = w * (1 - x), w * x
            for c in range(n_columns):
                here[c] += w0 * ball[i, c] + w1 * ball[i + 1, c]
        for c in range(1, n_columns, 2):
            here[c] *= sign[t]


# adding ------------------------------------------------------------------------------------------------------------------


@loop
def add(
    values: Any, weights: Any, lattice: Any, rotations: Any, kx: Any, ky: Any, order: Any, sums: Any, begin: int, end: int
) -> None:
    """Spreads values (q k c) and weights (q k) of the slices begin … end to the corners around, onto `sums` (v c + 1)."""
    first, places = np.empty(RUN, np.int32), np.empty((4, RUN), np.float32)
    fx, fy, fz, sign = places
    row = np.empty(values.shape[2] + 1, np.float32)
    for q in range(begin, end):
        for k in range(0, len(kx), RUN):
            last = min(k + RUN, len(kx))
            place(rotations[q], lattice, kx[k:last], ky[k:last], first, fx, fy, fz, sign)
            if values.shape[2] == 2:
                _add_pair(values[q], weights[q], lattice, first, fx, fy, fz, sign, order[k:last], sums)
            else:
                _add_row(values[q], weights[q], lattice, first, fx, fy, fz, sign, order[k:last], row, sums)


@piece
def _add_pair(
    values: Any, weights: Any, lattice: Any, first: Any, fx: Any, fy: Any, fz: Any, sign: Any, order: Any, sums: Any
) -> None:
    """Of a single map, a point's three numbers in registers."""
    along_y, along_z = lattice[1], lattice[0] * lattice[1]
    for t in range(len(order)):
        p = order[t]
        re, im, weight = values[p, 0], values[p, 1] * sign[t], weights[p]
        x, y, z = fx[t], fy[t], fz[t]
        for corner in range(4):
            i = first[t] + (corner & 1) * along_y + (corner >> 1) * along_z
            w = (z if corner >> 1 else 1 - z) * (y if corner & 1 else 1 - y)
            w0, w1 = w * (1 - x), w * x
            sums[i, 0] += w0 * re
            sums[i, 1] += w0 * im
            sums[i, 2] += w0 * weight
            sums[i + 1, 0] += w1 * re
            sums[i + 1, 1] += w1 * im
            sums[i + 1, 2] += w1 * weight


@piece
def _add_row(
    values: Any, weights: Any, lattice: Any, first: Any, fx: Any, fy: Any, fz: Any, sign: Any, order: Any, row: Any, sums: Any
) -> None:
    """Of any number of columns; `row` holds a point's."""
    along_y, along_z = lattice[1], lattice[0] * lattice[1]
    n_columns = values.shape[1]
    for t in range(len(order)):
        p = order[t]
        for c in range(n_columns):
            row[c] = values[p, c]
        for c in range(1, n_columns, 2):
            row[c] *= sign[t]
        row[n_columns] = weights[p]
        x, y, z = fx[t], fy[t], fz[t]
        for corner in range(4):
            i = first[t] + (corner & 1) * along_y + (corner >> 1) * along_z
            w = (z if corner >> 1 else 1 - z) * (y if corner & 1 else 1 - y)
            w0, w1 = w * (1 - x), w * x
            for c in range(n_columns + 1):
                sums[i, c] += w0 * row[c]
            for c in range(n_columns + 1):
                sums[i + 1, c] += w1 * row[c]


# expanding ---------------------------------------------------------------------------------------------------------------


@loop
def expand(
    ball: Any, lattice: Any, unit: Any, reach: int, rotations: Any, shifts: Any, kx: Any, ky: Any, order: Any,
    matched: Any, weights: Any, which: Any, score: Any, gradient: Any, hessian: Any, begin: int, end: int,
) -> None:  # fmt: skip
    """Of the poses begin … end: see `inference.expansion`. unit: 2π/box; reach: the largest |kx|, |ky|; matched (n k 2)."""
    first, corner = np.empty(RUN, np.int32), np.empty((16, RUN), np.float32)
    places, here = np.empty((4, RUN), np.float32), np.empty((11, RUN), np.float32)
    fx, fy, fz, sign = places
    along_x, along_y = np.empty((2, reach + 1), np.float32), np.empty((2, reach + 1), np.float32)
    total = np.empty(21, np.float32)
    for b in range(begin, end):
        _powers(unit * np.float64(shifts[b, 0]), along_x)
        _powers(unit * np.float64(shifts[b, 1]), along_y)
        total[:] = 0
        for k in range(0, len(kx), RUN):
            last = min(k + RUN, len(kx))
            x, y = kx[k:last], ky[k:last]
            place(rotations[b], lattice, x, y, first, fx, fy, fz, sign)
            _read_corners(ball, lattice, first, last - k, corner)
            _interpolate(corner, 0, fx, fy, fz, last - k, here[0:4])
            _interpolate(corner, 1, fx, fy, fz, last - k, here[4:8])
            _shift(matched[which[b]], weights[which[b]], x, y, order[k:last], along_x, along_y, here[8:11])
            _turn(rotations[b], lattice[3], sign, x, y, here)
            _slope(x, y, unit, here, total)
            _curvature(x, y, unit, here, total[6:])
        score[b] = total[0]
        gradient[b] = total[1:6]
        upper = total[6:]
        for m in range(5):
            for o in range(m, 5):
                hessian[b, m, o] = hessian[b, o, m] = upper[m * (9 - m) // 2 + o]


@piece
def _powers(angle: Any, table: Any) -> None:
    """exp(-i·angle·j), re and im, of j = 0, 1, …: frequencies are whole numbers."""
    c, s = math.cos(angle), -math.sin(angle)
    re, im = 1.0, 0.0
    for j in range(table.shape[1]):
        table[0, j], table[1, j] = re, im
        re, im = re * c - im * s, re * s + im * c


@piece
def _read_corners(ball: Any, lattice: Any, first: Any, n: int, corner: Any) -> None:
    """corner[2·(4z + 2y + x) + part]: the eight corners of n cells, re and im."""
    along_y, along_z = lattice[1], lattice[0] * lattice[1]
    for t in range(n):
        for z in range(2):
            for y in range(2):
                i, c = first[t] + y * along_y + z * along_z, 8 * z + 4 * y
                corner[c, t], corner[c + 1, t] = ball[i, 0], ball[i, 1]
                corner[c + 2, t], corner[c + 3, t] = ball[i + 1, 0], ball[i + 1, 1]


@piece
def _interpolate(corner: Any, part: int, fx: Any, fy: Any, fz: Any, n: int, out: Any) -> None:
    """Value and derivatives per lattice step, along x, y and z, of one part, as `Cells.with_gradient`."""
    value, gx, gy, gz = out
    for t in range(n):
        x, y, z = fx[t], fy[t], fz[t]
        a, b, c, d = corner[part, t], corner[4 + part, t], corner[8 + part, t], corner[12 + part, t]
        da, db = corner[2 + part, t] - a, corner[6 + part, t] - b
        dc, dd = corner[10 + part, t] - c, corner[14 + part, t] - d
        a, b, c, d = a + x * da, b + x * db, c + x * dc, d + x * dd
        low, high = a + y * (b - a), c + y * (d - c)
        value[t] = low + z * (high - low)
        step_low, step_high = da + y * (db - da), dc + y * (dd - dc)
        gx[t] = step_low + z * (step_high - step_low)
        gy[t] = (b - a) + z * ((d - c) - (b - a))
        gz[t] = high - low


@piece
def _shift(matched: Any, weights: Any, x: Any, y: Any, order: Any, along_x: Any, along_y: Any, out: Any) -> None:
    """The shifted image, re and im, and its weight."""
    yr, yi, w = out
    for t in range(len(order)):
        i, j, p = np.int32(x[t]), np.int32(y[t]), order[t]
        cx, sx = along_x[0, i], along_x[1, i]
        cy, sy = along_y[0, abs(j)], along_y[1, abs(j)] * (np.float32(1) if j >= 0 else np.float32(-1))
        c, s = cx * cy - sx * sy, cx * sy + sx * cy
        yr[t] = matched[p, 0] * c - matched[p, 1] * s
        yi[t] = matched[p, 0] * s + matched[p, 1] * c
        w[t] = weights[p]


@piece
def _turn(r: Any, fine: Any, sign: Any, x: Any, y: Any, here: Any) -> None:
    """What V(-p)* makes of values and derivatives; then the derivative of a turn in the plane in place of that along x, and
    in place of that along z the one along the image's own axis z."""
    _, gxr, gyr, gzr, vi, gxi, gyi, gzi, _, _, _ = here
    for t in range(len(x)):
        vi[t] *= sign[t]
        a, b, c = gxr[t] * sign[t] * fine, gyr[t] * sign[t] * fine, gzr[t] * sign[t] * fine
        gxr[t] = y[t] * (r[0, 0] * a + r[0, 1] * b + r[0, 2] * c) - x[t] * (r[1, 0] * a + r[1, 1] * b + r[1, 2] * c)
        gzr[t] = r[2, 0] * a + r[2, 1] * b + r[2, 2] * c
        a, b, c = gxi[t] * fine, gyi[t] * fine, gzi[t] * fine
        gxi[t] = y[t] * (r[0, 0] * a + r[0, 1] * b + r[0, 2] * c) - x[t] * (r[1, 0] * a + r[1, 1] * b + r[1, 2] * c)
        gzi[t] = r[2, 0] * a + r[2, 1] * b + r[2, 2] * c


@piece
def _slope(x: Any, y: Any, unit: Any, here: Any, total: Any) -> None:
    """Adds to the likelihood and to half its gradient: total[0], total[1:6]."""
    vr, jr, _, zr, vi, ji, _, zi, yr, yi, w = here
    s0 = g0 = g1 = g2 = g3 = g4 = np.float32(0)
    for t in range(len(x)):
        er, ei = yr[t] - w[t] * vr[t], yi[t] - w[t] * vi[t]
        s0 += vr[t] * (yr[t] + er) + vi[t] * (yi[t] + ei)
        tilt, move = zr[t] * er + zi[t] * ei, vr[t] * ei - vi[t] * er
        g0 -= y[t] * tilt
        g1 += x[t] * tilt
        g2 += jr[t] * er + ji[t] * ei
        g3 += x[t] * move
        g4 += y[t] * move
    total[0] += s0
    total[1] += g0
    total[2] += g1
    total[3] += g2
    total[4] += unit * g3
    total[5] += unit * g4


@piece
def _curvature(x: Any, y: Any, unit: Any, here: Any, upper: Any) -> None:
    """Adds to half the Gauss-Newton Hessian, its upper triangle row by row."""
    vr, jr, _, zr, vi, ji, _, zi, _, _, w = here
    h00 = h01 = h02 = h03 = h04 = h11 = h12 = h13 = h14 = h22 = h23 = h24 = h33 = h34 = h44 = np.float32(0)
    for t in range(len(x)):
        xx, xy, yy = x[t] * x[t], x[t] * y[t], y[t] * y[t]
        zz, zj = w[t] * (zr[t] * zr[t] + zi[t] * zi[t]), w[t] * (zr[t] * jr[t] + zi[t] * ji[t])
        zv, jv = w[t] * (zi[t] * vr[t] - zr[t] * vi[t]), w[t] * (ji[t] * vr[t] - jr[t] * vi[t])
        vv = w[t] * (vr[t] * vr[t] + vi[t] * vi[t])
        h00 += yy * zz
        h01 -= xy * zz
        h02 -= y[t] * zj
        h03 -= xy * zv
        h04 -= yy * zv
        h11 += xx * zz
        h12 += x[t] * zj
        h13 += xx * zv
        h14 += xy * zv
        h22 += w[t] * (jr[t] * jr[t] + ji[t] * ji[t])
        h23 += x[t] * jv
        h24 += y[t] * jv
        h33 += xx * vv
        h34 += xy * vv
        h44 += yy * vv
    upper[0] += h00
    upper[1] += h01
    upper[2] += h02
    upper[3] += unit * h03
    upper[4] += unit * h04
    upper[5] += h11
    upper[6] += h12
    upper[7] += unit * h13
    upper[8] += unit * h14
    upper[9] += h22
    upper[10] += unit * h23
    upper[11] += unit * h24
    upper[12] += unit * unit * h33
    upper[13] += unit * unit * h34
    upper[14] += unit * unit * h44
