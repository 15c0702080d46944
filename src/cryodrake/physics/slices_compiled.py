"""Slicing and back-projection by the compiled loops of a CPU: `physics.cells` says what they do and is their twin in torch."""

from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32
from torch import Tensor

from cryodrake.physics import loops
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.compiled import over, parts, side_by_side

MOST_COPIES = 4  # of the half ball that back-projection adds to side by side; they are large

Lattice = tuple[int, int, int, float]
"""Points along y, points along x, half (see `BallGrid`), points per cycle."""


def lines(kxy: Float[Tensor, "k 2"]) -> tuple[Float32[np.ndarray, " k"], Float32[np.ndarray, " k"], Int32[np.ndarray, " k"]]:
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
    """As `cells.read`."""
    out = ball.new_empty(len(rotations), len(kxy), ball.shape[1])
    kx, ky, order = lines(kxy)
    args = ball.contiguous().numpy(), lattice_of(grid), rotations.contiguous().numpy(), kx, ky, order, out.numpy()
    over(loops.read, len(rotations), len(rotations) * len(kxy), *args)
    return out


def add(
    values: Float[Tensor, "q k c"],
    weights: Float[Tensor, "q k"],
    grid: BallGrid,
    rotations: Float[Tensor, "q 3 3"],
    kxy: Float[Tensor, "k 2"],
    onto: Float[Tensor, "v c1"],
) -> None:
    """As `cells.add`."""
    bounds = parts(len(rotations), len(rotations) * len(kxy), MOST_COPIES)
    kx, ky, order = lines(kxy)
    points = values.contiguous().numpy(), weights.contiguous().numpy()
    args = *points, lattice_of(grid), rotations.contiguous().numpy(), kx, ky, order
    copies = [onto, *(torch.zeros_like(onto) for _ in bounds[1:])]
    side_by_side([partial(loops.add, *args, copy.numpy(), *bound) for copy, bound in zip(copies, bounds, strict=True)])
    for copy in copies[1:]:
        onto += copy
