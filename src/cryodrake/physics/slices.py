"""Central slices of a volume by interpolation on an oversampled half ball, and the adjoint (back-projection).

The half ball holds F(k) for kx >= 0 on a lattice `oversampling` times finer than the box's own; the other half is its
conjugate. Trilinear interpolation there equals multiplying the density by sinc²(x/(oversampling·d)) per axis, which
`raster` and `unraster` undo ("gridding correction"). The adjoint uses the same weights, so `backproject` is exactly the gradient of
`slice_ball`, and EM or least squares built on them are consistent.

The interpolation itself is in `physics.cells`, in torch, and in `physics.slices_compiled` for CPUs.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.physics import cells, slices_compiled
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.ball_transform import ball_of, density_of
from cryodrake.physics.compiled import is_compiled_for


def gridding_window(box: int, padded: int, device: str | torch.device) -> Float[Tensor, "d d d"]:
    """sinc²(x/padded) per axis: what trilinear interpolation on the lattice of `padded` does to the density."""
    axis = (torch.arange(box, device=device, dtype=torch.float32) - box // 2) / padded
    w = torch.sinc(axis) ** 2
    return w[:, None, None] * w[None, :, None] * w[None, None, :]


def raster(volume: Float[Tensor, "*r d d d"], grid: BallGrid) -> Float[Tensor, "v r2"]:
    """Density to half ball, gridding-corrected; r volumes side by side as r2 = 2r columns (re₁, im₁, re₂, im₂, …)."""
    volumes = volume.reshape(-1, *volume.shape[-3:])
    window = gridding_window(volume.shape[-1], volume.shape[-1] * grid.oversampling, volume.device)
    ball = volume.new_empty(grid.n_voxels, len(volumes), 2)
    for i, single in enumerate(volumes):  # one at a time: beside its ball each needs room for half of it
        ball[:, i] = ball_of(single / window, grid)
    return ball.flatten(1)


def unraster(ball: Float[Tensor, "v 2"], grid: BallGrid) -> Float[Tensor, "d d d"]:
    """Half ball to density of the grid's box.

    Values that were averaged by `backproject` carry sinc² as well (each voxel is a trilinear mean of its surroundings), so
    it is divided out, as in `raster`: unraster(raster(f)) is f / sinc⁴, and only slicing lies between the two.
    """
    return density_of(ball, grid) / gridding_window(grid.box, grid.box * grid.oversampling, ball.device)


class _Slices(torch.autograd.Function):
    """Its gradient is back-projection (autograd through eight gathers is far slower)."""

    @staticmethod
    def forward(ctx: Any, ball: Tensor, grid: BallGrid, rotations: Tensor, kxy: Tensor) -> Tensor:
        ctx.where = grid, rotations, kxy
        read = slices_compiled.read if is_compiled_for(ball, rotations, kxy) else cells.read
        return read(ball, grid, rotations, kxy)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = grads
        return backproject(grad, grad.new_zeros(grad.shape[:2]), *ctx.where)[:, :-1], None, None, None


def slice_ball(
    ball: Float[Tensor, "v c"], grid: BallGrid, rotations: Float[Tensor, "q 3 3"], kxy: Float[Tensor, "k 2"]
) -> Float[Tensor, "q k c"]:
    """Values of the half ball on central slices; c = 2r columns (re, im) pairs, conjugated where needed. Differentiable in ball."""
    return _Slices.apply(ball, grid, rotations, kxy)


def backproject(
    values: Float[Tensor, "q k c"],
    weights: Float[Tensor, "q k"],
    grid: BallGrid,
    rotations: Float[Tensor, "q 3 3"],
    kxy: Float[Tensor, "k 2"],
    onto: Float[Tensor, "v c1"] | None = None,
) -> Float[Tensor, "v c1"]:
    """Adjoint of slicing: sums (re, im) pairs of `values`, and `weights`, of each slice point into the voxels around it.

    They are added to `onto`, which is returned, or to zeros. c1 = c + 1, the weights' sums last. Friedel mates that fall on the
    kx = 0 plane are not summed here; see `symmetrise`.
    """
    if onto is None:
        onto = values.new_zeros(grid.n_voxels, values.shape[-1] + 1)
    add = slices_compiled.add if is_compiled_for(values, weights, rotations, kxy, onto) else cells.add
    add(values, weights, grid, rotations, kxy, onto)
    return onto


def symmetrise(sums: Float[Tensor, "v c1"], grid: BallGrid) -> Float[Tensor, "v c1"]:
    """Adds the conjugate mates on the plane kx = 0, which the half ball holds twice: at k and at -k.

    Columns are (re, im) pairs and, last, the sum of weights.
    """
    full = sums.reshape(*grid.shape, -1).clone()
    plane = full[:, :, 0]
    sign = torch.ones(plane.shape[-1], device=sums.device)
    sign[1:-1:2] = -1
    full[:, :, 0] = plane + plane.flip(0, 1) * sign
    return full.reshape(-1, plane.shape[-1])
