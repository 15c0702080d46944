"""Trilinear interpolation on the half ball and its adjoint in torch: what runs on cards, and the twin of `slices_compiled`.

A voxel's columns are read and added to side by side, whatever their number: a card begins an operation in the time that it takes
to move megabytes, so there must be few of them.
"""

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

    def read(self, ball: Float[Tensor, "v c"]) -> tuple[Float[Tensor, "p c"], ...]:
        """The eight corners' values, x fastest."""
        sx, sy, sz = self.strides
        return tuple(ball.index_select(0, self.first + (x + y + z)) for z in (0, sz) for y in (0, sy) for x in (0, sx))

    def with_gradient(self, c: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Value and derivatives along x, y, z per lattice step, from the corners (p c)."""
        fx, fy, fz = self.fx[:, None], self.fy[:, None], self.fz[:, None]
        steps = [c[i + 1] - c[i] for i in (0, 2, 4, 6)]
        x = [torch.addcmul(c[2 * i], fx, step) for i, step in enumerate(steps)]  # on the four x edges
        dx = torch.lerp(torch.lerp(steps[0], steps[1], fy), torch.lerp(steps[2], steps[3], fy), fz)
        below, above = x[1] - x[0], x[3] - x[2]
        y = torch.addcmul(x[0], fy, below), torch.addcmul(x[2], fy, above)  # on the two y edges between them
        dz = y[1] - y[0]
        return torch.addcmul(y[0], fz, dz), dx, torch.lerp(below, above, fz), dz


def read(
    ball: Float[Tensor, "v c"], grid: BallGrid, rotations: Float[Tensor, "q 3 3"], kxy: Float[Tensor, "k 2"]
) -> Float[Tensor, "q k c"]:
    """Of `slices.slice_ball`."""
    cells = Cells.of(grid, rotations, kxy)
    values = ball.new_zeros(len(cells.first), ball.shape[1])
    for index, weight in cells.corners():
        values.addcmul_(ball.index_select(0, index), weight[:, None])
    values[:, 1::2] *= cells.sign[:, None]
    return values.view(rotations.shape[0], kxy.shape[0], ball.shape[1])


def read_with_gradient(
    ball: Float[Tensor, "v 2"], grid: BallGrid, rotations: Float[Tensor, "q 3 3"], kxy: Float[Tensor, "k 2"]
) -> tuple[Float[Tensor, "q 2 k"], Float[Tensor, "q 2 3 k"]]:
    """Slices, and the derivative of the interpolated map along x, y, z (per cycle per box) at their points; re and im as planes."""
    cells = Cells.of(grid, rotations, kxy)
    value, *derivatives = cells.with_gradient(cells.read(ball))
    # V(p) = conj W(-p) where sign is -1: the value is conjugated, the derivative conjugated and negated.
    value[:, 1] *= cells.sign
    gradient = torch.stack(derivatives, 2)  # (p 2 3)
    gradient[:, 0] *= cells.sign[:, None]
    q, k = len(rotations), len(kxy)
    planes = value.view(q, k, 2).transpose(1, 2).contiguous()
    return planes, (gradient.view(q, k, 2, 3) * grid.oversampling).permute(0, 2, 3, 1).contiguous()


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
    rows = torch.cat([values, weights[..., None]], -1).flatten(0, 1)
    rows[:, 1:-1:2] *= cells.sign[:, None]
    for index, weight in cells.corners():
        onto.index_add_(0, index, rows * weight[:, None])
