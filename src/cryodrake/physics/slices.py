"""Central slices of a volume by interpolation on an oversampled half ball, and the adjoint (back-projection).

The half ball holds F(k) for kx >= 0 on a lattice `oversampling` times finer than the box's own; the other half is its
conjugate. Trilinear interpolation there equals multiplying the density by sinc²(x/(oversampling·d)) per axis, which
`raster` and `unraster` undo ("gridding correction"). The adjoint uses the same weights, so `backproject` is exactly the gradient of
`slice_ball`, and EM or least squares built on them are consistent.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor
from torch.nn.functional import embedding_bag

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

    def corners(
        self, rotations: Float[Tensor, "q 3 3"], kxy: Float[Tensor, "k 2"]
    ) -> tuple[Int64[Tensor, "p 8"], Float[Tensor, "p 8"], Float[Tensor, " p"]]:
        """For all q × k slice points: the 8 voxels around each, their weights, and the sign of the conjugation (±1).

        Slice point = (kx, ky, 0) R, i.e. Rᵀ(kx, ky, 0). Points with x < 0 are read at -k and conjugated.
        """
        points = (kxy @ rotations[:, :2, :]).reshape(-1, 3) * self.oversampling
        sign = torch.where(points[:, 0] < 0, -1.0, 1.0)
        points = points * sign[:, None]
        base = torch.floor(points)
        frac = points - base
        index = base.long()
        nz, ny, nx = self.shape
        flat = ((index[:, 2] + self.half) * ny + index[:, 1] + self.half) * nx + index[:, 0]
        offsets = torch.tensor([0, 1, nx, nx + 1, ny * nx, ny * nx + 1, ny * nx + nx, ny * nx + nx + 1], device=flat.device)
        one = torch.stack([1 - frac, frac], dim=-1)
        weights = (one[:, 2, :, None, None] * one[:, 1, None, :, None] * one[:, 0, None, None, :]).reshape(-1, 8)
        return flat[:, None] + offsets, weights, sign


def _gridding_window(box: int, padded: int, device: str | torch.device) -> Float[Tensor, "d d d"]:
    """sinc²(x/padded) per axis: what trilinear interpolation on the lattice of `padded` does to the density."""
    axis = (torch.arange(box, device=device, dtype=torch.float32) - box // 2) / padded
    w = torch.sinc(axis) ** 2
    return w[:, None, None] * w[None, :, None] * w[None, None, :]


def raster(volume: Float[Tensor, "*r d d d"], grid: BallGrid) -> Float[Tensor, "v r2"]:
    """Density to half ball, gridding-corrected; r volumes side by side as r2 = 2r columns (re₁, im₁, re₂, im₂, …)."""
    d, padded = volume.shape[-1], volume.shape[-1] * grid.oversampling
    corrected = volume / _gridding_window(d, padded, volume.device)
    # factor: volume_to_coeff divides by the padded size, the convention by d.
    full = volume_to_coeff(centred_resize(corrected, padded, 3)) * grid.oversampling
    m = grid.half
    c = m + 2
    cut = centred_resize(full, 2 * c, 3)[..., c - m : c + m + 1, c - m : c + m + 1, c:]
    rows = torch.view_as_real(cut.reshape(-1, grid.n_voxels).contiguous())  # (r v 2)
    return rows.permute(1, 0, 2).reshape(grid.n_voxels, -1).contiguous()


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
    return density / _gridding_window(grid.box, padded, ball.device)


def slice_ball(
    ball: Float[Tensor, "v c"], grid: BallGrid, rotations: Float[Tensor, "q 3 3"], kxy: Float[Tensor, "k 2"]
) -> Float[Tensor, "q k c"]:
    """Values of the half ball on central slices; c = 2r columns (re, im) pairs, conjugated where needed. Differentiable in ball."""
    index, weights, sign = grid.corners(rotations, kxy)
    values = embedding_bag(index, ball, per_sample_weights=weights.to(ball.dtype), mode="sum")
    values = values.reshape(-1, ball.shape[1] // 2, 2)
    values = torch.stack([values[..., 0], values[..., 1] * sign[:, None].to(ball.dtype)], dim=-1)
    return values.reshape(rotations.shape[0], kxy.shape[0], ball.shape[1])


def backproject(
    values: Float[Tensor, "q k 2"],
    weights: Float[Tensor, "q k"],
    grid: BallGrid,
    rotations: Float[Tensor, "q 3 3"],
    kxy: Float[Tensor, "k 2"],
) -> Float[Tensor, "v 3"]:
    """Adjoint of slicing: sums (re, im) of `values`, and `weights`, of each slice point into the voxels around it.

    Friedel mates that fall on the kx = 0 plane are not summed here; see `symmetrise`.
    """
    index, trilinear, sign = grid.corners(rotations, kxy)
    flat = values.reshape(-1, 2)
    rows = torch.stack([flat[:, 0], flat[:, 1] * sign, weights.reshape(-1)], dim=1)
    out = rows.new_zeros(grid.n_voxels, 3)
    for corner in range(8):
        out.index_add_(0, index[:, corner], rows * trilinear[:, corner, None])
    return out


def symmetrise(sums: Float[Tensor, "v 3"], grid: BallGrid) -> Float[Tensor, "v 3"]:
    """Adds the conjugate mates on the plane kx = 0, which the half ball holds twice: at k and at -k."""
    full = sums.reshape(*grid.shape, 3).clone()
    plane = full[:, :, 0]
    mate = plane.flip(0, 1) * torch.tensor([1.0, -1.0, 1.0], device=sums.device)
    full[:, :, 0] = plane + mate
    return full.reshape(-1, 3)
