"""Central slices of a volume by interpolation on an oversampled half ball, and the adjoint (back-projection).

The half ball holds F(k) for kx >= 0 on a lattice `oversampling` times finer than the box's own; the other half is its
conjugate. Trilinear interpolation there equals multiplying the density by sinc²(x/(oversampling·d)) per axis, which
`raster` and `unraster` undo ("gridding correction"). The adjoint uses the same weights, so `backproject` is exactly the gradient of
`slice_ball`, and EM or least squares built on them are consistent.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.physics.fourier import centred_resize, coeff_to_volume, volume_to_coeff


@dataclass(frozen=True)
class BallGrid:
    """Geometry of a half ball: frequencies up to `radius` cycles per box at `oversampling` points per cycle.

    A flat array of n_voxels rows indexes (z, y, x) with z, y in -m…m, x in 0…m+1 and m = ceil(radius·oversampling) + 1.
    """

    box: int
    radius: float
    oversampling: int = 2

    @property
    def half(self) -> int:
        return int(-(-self.radius * self.oversampling // 1)) + 1

    @property
    def shape(self) -> tuple[int, int, int]:
        return (2 * self.half + 1, 2 * self.half + 1, self.half + 2)

    @property
    def n_voxels(self) -> int:
        z, y, x = self.shape
        return z * y * x

    def frequencies(self, device: str | torch.device = "cpu") -> Float[Tensor, "v 3"]:
        """(x, y, z) frequency in cycles per box of each voxel."""
        zy = torch.arange(-self.half, self.half + 1, device=device, dtype=torch.float32)
        x = torch.arange(self.half + 2, device=device, dtype=torch.float32)
        z, y, x = torch.meshgrid(zy, zy, x, indexing="ij")
        return torch.stack([x, y, z], dim=-1).reshape(-1, 3) / self.oversampling

    def cells(self, rotations: Float[Tensor, "q 3 3"], kxy: Float[Tensor, "k 2"]) -> "Cells":
        """Where all q × k slice points lie on the lattice. Slice point = (kx, ky, 0) R, i.e. Rᵀ(kx, ky, 0)."""
        points = (rotations[:, :2, :].transpose(1, 2) @ kxy.T) * self.oversampling  # (q 3 k): coordinates stay contiguous
        sign = torch.where(points[:, 0] < 0, -1.0, 1.0)
        points = points * sign[:, None]
        base = points.floor()
        fraction = points - base
        x, y, z = base.long().unbind(1)
        _, ny, nx = self.shape
        first = ((z + self.half) * ny + (y + self.half)) * nx + x
        fx, fy, fz = (f.flatten() for f in fraction.unbind(1))
        return Cells(first.flatten(), fx, fy, fz, sign.flatten(), (1, nx, nx * ny))


@dataclass(frozen=True, eq=False)
class Cells:
    """The lattice cell of each of p = q·k points: index of its first corner, place within it, and the half ball's conjugation.

    Points with kx < 0 are read at -k and conjugated: `sign` is -1 there. `strides` lead to the next corner in x, y and z.
    """

    first: Int64[Tensor, " p"]
    fx: Float[Tensor, " p"]
    fy: Float[Tensor, " p"]
    fz: Float[Tensor, " p"]
    sign: Float[Tensor, " p"]
    strides: tuple[int, int, int]

    def corners(self) -> Iterator[tuple[Int64[Tensor, " p"], Float[Tensor, " p"]]]:
        """Index and trilinear weight of each of the eight corners, in turn."""
        sx, sy, sz = self.strides
        for z, wz in ((0, 1 - self.fz), (sz, self.fz)):
            for y, wy in ((0, 1 - self.fy), (sy, self.fy)):
                both = wz * wy
                for x, wx in ((0, 1 - self.fx), (sx, self.fx)):
                    yield self.first + (x + y + z), both * wx

    def read(self, plane: Float[Tensor, " v"]) -> tuple[Float[Tensor, " p"], ...]:
        """The eight corners' values of one real column, x fastest."""
        sx, sy, sz = self.strides
        return tuple(plane.index_select(0, self.first + (x + y + z)) for z in (0, sz) for y in (0, sy) for x in (0, sx))


def gridding_window(box: int, padded: int, device: str | torch.device) -> Float[Tensor, "d d d"]:
    """sinc²(x/padded) per axis: what trilinear interpolation on the lattice of `padded` does to the density."""
    axis = (torch.arange(box, device=device, dtype=torch.float32) - box // 2) / padded
    w = torch.sinc(axis) ** 2
    return w[:, None, None] * w[None, :, None] * w[None, None, :]


def raster(volume: Float[Tensor, "*r d d d"], grid: BallGrid) -> Float[Tensor, "v r2"]:
    """Density to half ball, gridding-corrected; r volumes side by side as r2 = 2r columns (re₁, im₁, re₂, im₂, …)."""
    d, padded = volume.shape[-1], volume.shape[-1] * grid.oversampling
    corrected = volume / gridding_window(d, padded, volume.device)
    # factor: volume_to_coeff divides by the padded size, the convention by d.
    full = volume_to_coeff(centred_resize(corrected, padded, 3)) * grid.oversampling
    m = grid.half
    c = m + 2
    cut = centred_resize(full, 2 * c, 3)[..., c - m : c + m + 1, c - m : c + m + 1, c:]
    rows = torch.view_as_real(cut.reshape(-1, grid.n_voxels).contiguous())  # (r v 2)
    # Kept column by column in memory: slicing reads one real column at a time.
    return rows.permute(0, 2, 1).reshape(-1, grid.n_voxels).contiguous().T


def unraster(ball: Float[Tensor, "v 2"], grid: BallGrid) -> Float[Tensor, "d d d"]:
    """Half ball to density of the grid's box.

    Values that were averaged by `backproject` carry sinc² as well (each voxel is a trilinear mean of its surroundings), so
    it is divided out, as in `raster`: unraster(raster(f)) is f / sinc⁴, and only slicing lies between the two.
    """
    padded = grid.box * grid.oversampling
    m, c = grid.half, padded // 2
    half = torch.view_as_complex(ball.contiguous()).reshape(grid.shape)
    inside = min(m, c - 1)
    half = half[m - inside : m + inside + 1, m - inside : m + inside + 1, : inside + 1]
    full = half.new_zeros(padded, padded, padded)
    full[c - inside : c + inside + 1, c - inside : c + inside + 1, c - inside : c + 1] = half.flip(0, 1, 2).conj()
    full[c - inside : c + inside + 1, c - inside : c + inside + 1, c + 1 : c + inside + 1] = half[:, :, 1:]
    density = centred_resize(coeff_to_volume(full), grid.box, 3) / grid.oversampling
    return density / gridding_window(grid.box, padded, ball.device)


class _Interpolate(torch.autograd.Function):
    """Trilinear values of a real column at cells; its gradient is the scatter (autograd through eight gathers is far slower)."""

    @staticmethod
    def forward(ctx: Any, plane: Tensor, cells: Cells) -> Tensor:
        ctx.cells, ctx.n_voxels = cells, plane.shape[0]
        return _trilinear(cells, cells.read(plane))[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _scatter(grads[0][None], ctx.cells, ctx.n_voxels)[:, 0], None


def _trilinear(cells: Cells, c: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Value, and what the derivatives need: values on the four x edges, and on the two y edges between them."""
    x = tuple(torch.lerp(c[i], c[i + 1], cells.fx) for i in (0, 2, 4, 6))
    y = (torch.lerp(x[0], x[1], cells.fy), torch.lerp(x[2], x[3], cells.fy))
    return torch.lerp(y[0], y[1], cells.fz), x, y


def _with_gradient(cells: Cells, c: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Value and derivatives along x, y, z per lattice step."""
    value, x, y = _trilinear(cells, c)
    steps = [c[i + 1] - c[i] for i in (0, 2, 4, 6)]
    dx = torch.lerp(torch.lerp(steps[0], steps[1], cells.fy), torch.lerp(steps[2], steps[3], cells.fy), cells.fz)
    dy = torch.lerp(x[1] - x[0], x[3] - x[2], cells.fz)
    return value, dx, dy, y[1] - y[0]


def _scatter(rows: Float[Tensor, "c p"], cells: Cells, n_voxels: int) -> Float[Tensor, "v c"]:
    """Adds each point's values, times trilinear weights, to its 8 voxels. One-dimensional scatters are 10 × faster on CPU."""
    out = rows.new_zeros(rows.shape[0], n_voxels)
    for index, weight in cells.corners():
        for row, target in zip(rows, out, strict=True):
            target.scatter_add_(0, index, row * weight)
    return out.T.contiguous()


def slice_ball(
    ball: Float[Tensor, "v c"], grid: BallGrid, rotations: Float[Tensor, "q 3 3"], kxy: Float[Tensor, "k 2"]
) -> Float[Tensor, "q k c"]:
    """Values of the half ball on central slices; c = 2r columns (re, im) pairs, conjugated where needed. Differentiable in ball."""
    cells = grid.cells(rotations, kxy)
    columns = [_Interpolate.apply(column.contiguous(), cells) for column in ball.T]
    signed = [column * cells.sign if i % 2 else column for i, column in enumerate(columns)]
    return torch.stack(signed, dim=1).view(rotations.shape[0], kxy.shape[0], ball.shape[1])


def slice_with_gradient(
    ball: Float[Tensor, "v 2"], grid: BallGrid, rotations: Float[Tensor, "q 3 3"], kxy: Float[Tensor, "k 2"]
) -> tuple[Float[Tensor, "q 2 k"], Float[Tensor, "q 2 3 k"]]:
    """Slices, and the derivative of the interpolated map along x, y, z (per cycle per box) at their points; re and im as planes."""
    cells = grid.cells(rotations, kxy)
    shape = (rotations.shape[0], kxy.shape[0])
    values, gradient = ball.new_empty(shape[0], 2, shape[1]), ball.new_empty(shape[0], 2, 3, shape[1])
    # V(p) = conj W(-p) where sign is -1: the value is conjugated, the derivative conjugated and negated.
    for part, (value_sign, derivative_sign) in enumerate(((None, cells.sign), (cells.sign, None))):
        value, *derivatives = _with_gradient(cells, cells.read(ball[:, part].contiguous()))
        values[:, part] = (value if value_sign is None else value * value_sign).view(shape)
        for axis, derivative in enumerate(derivatives):
            signed = derivative if derivative_sign is None else derivative * derivative_sign
            torch.mul(signed.view(shape), grid.oversampling, out=gradient[:, part, axis])
    return values, gradient


def backproject(
    values: Float[Tensor, "q k c"],
    weights: Float[Tensor, "q k"],
    grid: BallGrid,
    rotations: Float[Tensor, "q 3 3"],
    kxy: Float[Tensor, "k 2"],
) -> Float[Tensor, "v c1"]:
    """Adjoint of slicing: sums (re, im) pairs of `values`, and `weights`, of each slice point into the voxels around it.

    c1 = c + 1, the weights' sums last. Friedel mates that fall on the kx = 0 plane are not summed here; see `symmetrise`.
    """
    cells = grid.cells(rotations, kxy)
    flat = values.reshape(-1, values.shape[-1])
    columns = [column * cells.sign if i % 2 else column for i, column in enumerate(flat.T)]
    return _scatter(torch.stack([*columns, weights.reshape(-1)]), cells, grid.n_voxels)


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
