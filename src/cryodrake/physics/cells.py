"""Trilinear interpolation on the half ball and its adjoint in torch: what runs on cards, and the twin of `slices_compiled`."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.physics.ball_grid import BallGrid


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

    @classmethod
    def of(cls, grid: BallGrid, rotations: Float[Tensor, "q 3 3"], kxy: Float[Tensor, "k 2"]) -> "Cells":
        """Where all q × k slice points lie on the lattice. Slice point = (kx, ky, 0) R, i.e. Rᵀ(kx, ky, 0)."""
        points = (rotations[:, :2, :].transpose(1, 2) @ kxy.T) * grid.oversampling  # (q 3 k): coordinates stay contiguous
        sign = torch.where(points[:, 0] < 0, -1.0, 1.0)
        points = points * sign[:, None]
        base = points.floor()
        fraction = points - base
        x, y, z = base.long().unbind(1)
        _, ny, nx = grid.shape
        first = ((z + grid.half) * ny + (y + grid.half)) * nx + x
        fx, fy, fz = (f.flatten() for f in fraction.unbind(1))
        return cls(first.flatten(), fx, fy, fz, sign.flatten(), (1, nx, nx * ny))

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

    def trilinear(self, c: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Value, and what the derivatives need: values on the four x edges, and on the two y edges between them."""
        x = tuple(torch.lerp(c[i], c[i + 1], self.fx) for i in (0, 2, 4, 6))
        y = (torch.lerp(x[0], x[1], self.fy), torch.lerp(x[2], x[3], self.fy))
        return torch.lerp(y[0], y[1], self.fz), x, y

    def with_gradient(self, c: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Value and derivatives along x, y, z per lattice step."""
        value, x, y = self.trilinear(c)
        steps = [c[i + 1] - c[i] for i in (0, 2, 4, 6)]
        dx = torch.lerp(torch.lerp(steps[0], steps[1], self.fy), torch.lerp(steps[2], steps[3], self.fy), self.fz)
        dy = torch.lerp(x[1] - x[0], x[3] - x[2], self.fz)
        return value, dx, dy, y[1] - y[0]


def read(
    ball: Float[Tensor, "v c"], grid: BallGrid, rotations: Float[Tensor, "q 3 3"], kxy: Float[Tensor, "k 2"]
) -> Float[Tensor, "q k c"]:
    """Of `slices.slice_ball`."""
    cells = Cells.of(grid, rotations, kxy)
    columns = [cells.trilinear(cells.read(column.contiguous()))[0] for column in ball.T]
    signed = [column * cells.sign if i % 2 else column for i, column in enumerate(columns)]
    return torch.stack(signed, dim=1).view(rotations.shape[0], kxy.shape[0], ball.shape[1])


def read_with_gradient(
    ball: Float[Tensor, "v 2"], grid: BallGrid, rotations: Float[Tensor, "q 3 3"], kxy: Float[Tensor, "k 2"]
) -> tuple[Float[Tensor, "q 2 k"], Float[Tensor, "q 2 3 k"]]:
    """Slices, and the derivative of the interpolated map along x, y, z (per cycle per box) at their points; re and im as planes."""
    cells = Cells.of(grid, rotations, kxy)
    shape = (rotations.shape[0], kxy.shape[0])
    values, gradient = ball.new_empty(shape[0], 2, shape[1]), ball.new_empty(shape[0], 2, 3, shape[1])
    # V(p) = conj W(-p) where sign is -1: the value is conjugated, the derivative conjugated and negated.
    for part, (value_sign, derivative_sign) in enumerate(((None, cells.sign), (cells.sign, None))):
        value, *derivatives = cells.with_gradient(cells.read(ball[:, part].contiguous()))
        values[:, part] = (value if value_sign is None else value * value_sign).view(shape)
        for axis, derivative in enumerate(derivatives):
            signed = derivative if derivative_sign is None else derivative * derivative_sign
            torch.mul(signed.view(shape), grid.oversampling, out=gradient[:, part, axis])
    return values, gradient


def add(
    values: Float[Tensor, "q k c"],
    weights: Float[Tensor, "q k"],
    grid: BallGrid,
    rotations: Float[Tensor, "q 3 3"],
    kxy: Float[Tensor, "k 2"],
    onto: Float[Tensor, "v c1"],
) -> None:
    """Of `slices.backproject`."""
    cells = Cells.of(grid, rotations, kxy)
    flat = values.reshape(-1, values.shape[-1])
    columns = [column * cells.sign if i % 2 else column for i, column in enumerate(flat.T)]
    rows = torch.stack([*columns, weights.reshape(-1)])
    out = rows.new_zeros(rows.shape[0], grid.n_voxels)
    for index, weight in cells.corners():
        for row, target in zip(rows, out, strict=True):
            target.scatter_add_(0, index, row * weight)  # one-dimensional scatters are the quickest
    onto += out.T
