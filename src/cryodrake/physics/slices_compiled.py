"""Slicing and back-projection as compiled loops on a CPU: `physics.slices` says what they do and is their twin in torch.

Points are taken in runs of RUN, so that the arithmetic of places and weights becomes vector instructions; what is read or
written is the row of a voxel, its columns side by side.
"""

import math
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.compiled import loop, over, parts, piece, side_by_side

RUN = 64
MOST_COPIES = 4  # of the half ball that back-projection adds to side by side; they are large

Lattice = tuple[int, int, int, float]
"""Points along y, points along x, half (see `BallGrid`), points per cycle."""


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


@piece
def corner_weights(t: int, fx: Any, fy: Any, fz: Any, weight: Any) -> None:
    """Trilinear weights of a cell's corners, x fastest."""
    x, y, z = fx[t], fy[t], fz[t]
    low, high = 1 - z, z
    a, b, c, d = low * (1 - y), low * y, high * (1 - y), high * y
    weight[0], weight[1], weight[2], weight[3] = a * (1 - x), a * x, b * (1 - x), b * x
    weight[4], weight[5], weight[6], weight[7] = c * (1 - x), c * x, d * (1 - x), d * x


@loop
def _read(ball: Any, lattice: Any, rotations: Any, kx: Any, ky: Any, order: Any, out: Any, begin: int, end: int) -> None:
    first, places, weight = np.empty(RUN, np.int32), np.empty((4, RUN), np.float32), np.empty(8, np.float32)
    fx, fy, fz, sign = places
    n_columns = ball.shape[1]
    along_y, along_z = lattice[1], lattice[0] * lattice[1]
    for q in range(begin, end):
        for k in range(0, len(kx), RUN):
            last = min(k + RUN, len(kx))
            place(rotations[q], lattice, kx[k:last], ky[k:last], first, fx, fy, fz, sign)
            for t in range(last - k):
                corner_weights(t, fx, fy, fz, weight)
                here = out[q, order[k + t]]
                for c in range(n_columns):
                    here[c] = 0
                for corner in range(4):
                    i = first[t] + (corner & 1) * along_y + (corner >> 1) * along_z
                    w0, w1 = weight[2 * corner], weight[2 * corner + 1]
                    for c in range(n_columns):
                        here[c] += w0 * ball[i, c] + w1 * ball[i + 1, c]
                for c in range(1, n_columns, 2):
                    here[c] *= sign[t]


@loop
def _read_one(ball: Any, lattice: Any, rotations: Any, kx: Any, ky: Any, order: Any, out: Any, begin: int, end: int) -> None:
    """Of a single map, its two numbers in registers."""
    first, places = np.empty(RUN, np.int32), np.empty((4, RUN), np.float32)
    fx, fy, fz, sign = places
    along_y, along_z = lattice[1], lattice[0] * lattice[1]
    for q in range(begin, end):
        for k in range(0, len(kx), RUN):
            last = min(k + RUN, len(kx))
            place(rotations[q], lattice, kx[k:last], ky[k:last], first, fx, fy, fz, sign)
            for t in range(last - k):
                x, y, z = fx[t], fy[t], fz[t]
                re = im = np.float32(0)
                for corner in range(4):
                    i = first[t] + (corner & 1) * along_y + (corner >> 1) * along_z
                    w = (z if corner >> 1 else 1 - z) * (y if corner & 1 else 1 - y)
                    re += w * (ball[i, 0] + x * (ball[i + 1, 0] - ball[i, 0]))
                    im += w * (ball[i, 1] + x * (ball[i + 1, 1] - ball[i, 1]))
                out[q, order[k + t], 0], out[q, order[k + t], 1] = re, im * sign[t]


@loop
def _add(
    values: Any, weights: Any, lattice: Any, rotations: Any, kx: Any, ky: Any, order: Any, sums: Any, begin: int, end: int
) -> None:
    first, places, weight = np.empty(RUN, np.int32), np.empty((4, RUN), np.float32), np.empty(8, np.float32)
    fx, fy, fz, sign = places
    n_columns = values.shape[2]
    row = np.empty(n_columns + 1, np.float32)
    along_y, along_z = lattice[1], lattice[0] * lattice[1]
    for q in range(begin, end):
        for k in range(0, len(kx), RUN):
            last = min(k + RUN, len(kx))
            place(rotations[q], lattice, kx[k:last], ky[k:last], first, fx, fy, fz, sign)
            for t in range(last - k):
                p = order[k + t]
                for c in range(n_columns):
                    row[c] = values[q, p, c]
                for c in range(1, n_columns, 2):
                    row[c] *= sign[t]
                row[n_columns] = weights[q, p]
                corner_weights(t, fx, fy, fz, weight)
                for corner in range(4):
                    i = first[t] + (corner & 1) * along_y + (corner >> 1) * along_z
                    w0, w1 = weight[2 * corner], weight[2 * corner + 1]
                    for c in range(n_columns + 1):
                        sums[i, c] += w0 * row[c]
                    for c in range(n_columns + 1):
                        sums[i + 1, c] += w1 * row[c]


@loop
def _add_one(
    values: Any, weights: Any, lattice: Any, rotations: Any, kx: Any, ky: Any, order: Any, sums: Any, begin: int, end: int
) -> None:
    """To the sums of a single map, a point's three numbers in registers."""
    first, places = np.empty(RUN, np.int32), np.empty((4, RUN), np.float32)
    fx, fy, fz, sign = places
    along_y, along_z = lattice[1], lattice[0] * lattice[1]
    for q in range(begin, end):
        for k in range(0, len(kx), RUN):
            last = min(k + RUN, len(kx))
            place(rotations[q], lattice, kx[k:last], ky[k:last], first, fx, fy, fz, sign)
            for t in range(last - k):
                p = order[k + t]
                re, im, weight = values[q, p, 0], values[q, p, 1] * sign[t], weights[q, p]
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


def lines(kxy: Float[Tensor, "k 2"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """kx and ky line by line, and the points' numbers in that order: neighbours in it are neighbours in the lattice, too."""
    kx, ky = kxy.detach().numpy().T
    order = np.lexsort((kx, ky)).astype(np.int32)
    return kx[order], ky[order], order


def lattice_of(grid: BallGrid) -> Lattice:
    """Of a half ball."""
    _, ny, nx = grid.shape
    return ny, nx, grid.half, float(grid.oversampling)


def read(
    ball: Float[Tensor, "v c"], grid: BallGrid, rotations: Float[Tensor, "q 3 3"], kxy: Float[Tensor, "k 2"]
) -> Float[Tensor, "q k c"]:
    """As `slices.slice_ball`."""
    out = ball.new_empty(len(rotations), len(kxy), ball.shape[1])
    kx, ky, order = lines(kxy)
    args = ball.contiguous().numpy(), lattice_of(grid), rotations.contiguous().numpy(), kx, ky, order, out.numpy()
    over(_read_one if ball.shape[1] == 2 else _read, len(rotations), len(rotations) * len(kxy), *args)
    return out


def add(
    values: Float[Tensor, "q k c"],
    weights: Float[Tensor, "q k"],
    grid: BallGrid,
    rotations: Float[Tensor, "q 3 3"],
    kxy: Float[Tensor, "k 2"],
) -> Float[Tensor, "v c1"]:
    """As `slices.backproject`."""
    bounds = parts(len(rotations), len(rotations) * len(kxy), MOST_COPIES)
    kx, ky, order = lines(kxy)
    args = (
        values.contiguous().numpy(),
        weights.contiguous().numpy(),
        lattice_of(grid),
        rotations.contiguous().numpy(),
        kx,
        ky,
        order,
    )
    kernel = _add_one if values.shape[2] == 2 else _add
    sums = [torch.zeros(grid.n_voxels, values.shape[2] + 1) for _ in bounds]
    side_by_side([partial(kernel, *args, s.numpy(), *bound) for s, bound in zip(sums, bounds, strict=True)])
    first, *others = sums
    for other in others:
        first += other
    return first
