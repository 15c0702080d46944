"""Likelihood, gradient and curvature of images at poses as one compiled loop on a CPU: `inference.expansion` is its twin in torch.

Points are taken in runs, line by line; within a run each stage is a loop of its own, so that all but the reading of the lattice
becomes vector instructions. Shifts' phases are products of two tables, for frequencies are whole numbers.
"""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor

from cryodrake.inference.reference import Reference
from cryodrake.physics.compiled import loop, over, piece
from cryodrake.physics.slices_compiled import RUN, lattice_of, lines, place


@piece
def _read_corners(ball: Any, first: Any, along_y: int, along_z: int, n: int, corner: Any) -> None:
    """corner[2·(4z + 2y + x) + part]: the eight corners of n cells, re and im."""
    for t in range(n):
        for z in range(2):
            for y in range(2):
                i, c = first[t] + y * along_y + z * along_z, 8 * z + 4 * y
                corner[c, t], corner[c + 1, t] = ball[i, 0], ball[i, 1]
                corner[c + 2, t], corner[c + 3, t] = ball[i + 1, 0], ball[i + 1, 1]


@piece
def _interpolate(corner: Any, part: int, fx: Any, fy: Any, fz: Any, n: int, value: Any, gx: Any, gy: Any, gz: Any) -> None:
    """Value and derivatives per lattice step of one part, as `physics.slices._with_gradient`."""
    for t in range(n):
        x, y, z = fx[t], fy[t], fz[t]
        a, b, c, d = corner[part, t], corner[4 + part, t], corner[8 + part, t], corner[12 + part, t]
        da, db = corner[2 + part, t] - a, corner[6 + part, t] - b
        dc, dd = corner[10 + part, t] - c, corner[14 + part, t] - d
        a, b, c, d = a + x * da, b + x * db, c + x * dc, d + x * dd
        low, high = a + y * (b - a), c + y * (d - c)
        value[t] = low + z * (high - low)
        ex, fx_ = da + y * (db - da), dc + y * (dd - dc)
        gx[t] = ex + z * (fx_ - ex)
        gy[t] = (b - a) + z * ((d - c) - (b - a))
        gz[t] = high - low


@piece
def _powers(angle: Any, table: Any) -> None:
    """exp(-i·angle·j), re and im, of j = 0, 1, …"""
    c, s = math.cos(angle), -math.sin(angle)
    re, im = 1.0, 0.0
    for j in range(table.shape[1]):
        table[0, j], table[1, j] = re, im
        re, im = re * c - im * s, re * s + im * c


@loop
def _expand(
    ball: Any,
    lattice: Any,
    unit: Any,
    reach: int,
    rotations: Any,
    shifts: Any,
    kx: Any,
    ky: Any,
    order: Any,
    matched: Any,
    weights: Any,
    which: Any,
    score: Any,
    gradient: Any,
    hessian: Any,
    begin: int,
    end: int,
) -> None:
    first, buffer = np.empty(RUN, np.int32), np.empty((16, RUN), np.float32)
    fx, fy, fz, sign, vr, vi, gxr, gyr, gzr, gxi, gyi, gzi, yr, yi, w, _ = buffer
    corner = np.empty((16, RUN), np.float32)
    along_x, along_y = np.empty((2, reach + 1), np.float32), np.empty((2, reach + 1), np.float32)
    row, plane = lattice[1], lattice[0] * lattice[1]
    fine = lattice[3]
    unit2 = unit * unit
    for b in range(begin, end):
        r = rotations[b]
        a = which[b]
        _powers(unit * np.float64(shifts[b, 0]), along_x)
        _powers(unit * np.float64(shifts[b, 1]), along_y)
        total = np.zeros(21, np.float32)
        for k in range(0, len(kx), RUN):
            last = min(k + RUN, len(kx))
            n = last - k
            x, y = kx[k:last], ky[k:last]
            place(r, lattice, x, y, first, fx, fy, fz, sign)
            _read_corners(ball, first, row, plane, n, corner)
            _interpolate(corner, 0, fx, fy, fz, n, vr, gxr, gyr, gzr)
            _interpolate(corner, 1, fx, fy, fz, n, vi, gxi, gyi, gzi)
            for t in range(n):
                i, j = np.int32(x[t]), np.int32(y[t])
                p = order[k + t]
                w[t] = weights[a, p]
                cx, sx = along_x[0, i], along_x[1, i]
                cy, sy = along_y[0, abs(j)], along_y[1, abs(j)] * (np.float32(1) if j >= 0 else np.float32(-1))
                c, s = cx * cy - sx * sy, cx * sy + sx * cy
                yr[t] = matched[a, p, 0] * c - matched[a, p, 1] * s
                yi[t] = matched[a, p, 0] * s + matched[a, p, 1] * c
            # What V(-p)* makes of value and derivatives; the latter in the image's frame: along its axes x, y, z.
            for t in range(n):
                vi[t] *= sign[t]
                sr, si = fine * sign[t], fine
                ur, vr_, wr = gxr[t] * sr, gyr[t] * sr, gzr[t] * sr
                ui, vi_, wi = gxi[t] * si, gyi[t] * si, gzi[t] * si
                ax, ay = r[0, 0] * ur + r[0, 1] * vr_ + r[0, 2] * wr, r[1, 0] * ur + r[1, 1] * vr_ + r[1, 2] * wr
                gzr[t] = r[2, 0] * ur + r[2, 1] * vr_ + r[2, 2] * wr
                gxr[t] = y[t] * ax - x[t] * ay  # the derivative of a turn in the plane
                bx, by = r[0, 0] * ui + r[0, 1] * vi_ + r[0, 2] * wi, r[1, 0] * ui + r[1, 1] * vi_ + r[1, 2] * wi
                gzi[t] = r[2, 0] * ui + r[2, 1] * vi_ + r[2, 2] * wi
                gxi[t] = y[t] * bx - x[t] * by
            s0 = g0 = g1 = g2 = g3 = g4 = np.float32(0)
            for t in range(n):
                er, ei = yr[t] - w[t] * vr[t], yi[t] - w[t] * vi[t]
                s0 += vr[t] * (yr[t] + er) + vi[t] * (yi[t] + ei)
                tilt = gzr[t] * er + gzi[t] * ei
                move = vr[t] * ei - vi[t] * er
                g0 -= y[t] * tilt
                g1 += x[t] * tilt
                g2 += gxr[t] * er + gxi[t] * ei
                g3 += x[t] * move
                g4 += y[t] * move
            total[0] += s0
            total[1] += g0
            total[2] += g1
            total[3] += g2
            total[4] += unit * g3
            total[5] += unit * g4
            h00 = h01 = h02 = h03 = h04 = h11 = h12 = h13 = h14 = h22 = h23 = h24 = h33 = h34 = h44 = np.float32(0)
            for t in range(n):
                xx, xy, yy = x[t] * x[t], x[t] * y[t], y[t] * y[t]
                zr, zi, jr, ji = gzr[t], gzi[t], gxr[t], gxi[t]
                zz, zj, jj = w[t] * (zr * zr + zi * zi), w[t] * (zr * jr + zi * ji), w[t] * (jr * jr + ji * ji)
                zv, jv = w[t] * (zi * vr[t] - zr * vi[t]), w[t] * (ji * vr[t] - jr * vi[t])
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
                h22 += jj
                h23 += x[t] * jv
                h24 += y[t] * jv
                h33 += xx * vv
                h34 += xy * vv
                h44 += yy * vv
            total[6] += h00
            total[7] += h01
            total[8] += h02
            total[9] += unit * h03
            total[10] += unit * h04
            total[11] += h11
            total[12] += h12
            total[13] += unit * h13
            total[14] += unit * h14
            total[15] += h22
            total[16] += unit * h23
            total[17] += unit * h24
            total[18] += unit2 * h33
            total[19] += unit2 * h34
            total[20] += unit2 * h44
        score[b] = total[0]
        gradient[b] = total[1:6]
        upper = total[6:]
        for m in range(5):
            for o in range(m, 5):
                hessian[b, m, o] = hessian[b, o, m] = upper[m * (9 - m) // 2 + o]


def expand(
    matched: Complex[Tensor, "n k"],
    weight: Float[Tensor, "n k"],
    which: Int64[Tensor, " b"],
    reference: Reference,
    kxy: Float[Tensor, "k 2"],
    box: int,
    rotation: Float[Tensor, "b 3 3"],
    shift_px: Float[Tensor, "b 2"],
) -> tuple[Float[Tensor, " b"], Float[Tensor, "b 5"], Float[Tensor, "b 5 5"]]:
    """As `expansion.expand`."""
    b = len(which)
    out = weight.new_empty(b), weight.new_empty(b, 5), weight.new_empty(b, 5, 5)
    kx, ky, order = lines(kxy)
    over(
        _expand,
        b,
        b * len(kxy),
        reference.ball.contiguous().numpy(),
        lattice_of(reference.grid),
        np.float32(2 * math.pi / box),
        int(kxy.abs().max()),
        rotation.contiguous().numpy(),
        shift_px.contiguous().numpy(),
        kx,
        ky,
        order,
        torch.view_as_real(matched.contiguous()).numpy(),
        weight.contiguous().numpy(),
        which.numpy(),
        *(x.numpy() for x in out),
    )
    return out
