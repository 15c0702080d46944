"""A linear model of the structures, V(k; z) = B_0 + Σ_j z_j B_j, learned from images whose poses are roughly known.

Probabilistic principal components by expectation maximisation (Tipping & Bishop 1999, J. R. Stat. Soc. B 61, 611) on voxels, as a
preconditioned ascent: the M step's system (one r × r matrix per voxel) is, where states are independent of views and CTFs,
D(v)·M with D = Σ Tᵀw and M = ⟨E[a aᵀ]⟩. Dividing the exact gradient by it leaves the fixed point where it is and costs r
back-projections instead of r². After each step the states' distribution is made standard again by moving its covariance into the
components (parameter-expanded EM, Liu, Rubin & Wu 1998, Biometrika 85, 755): plain EM grows faint components very slowly.

Kept out of the components: rigid motions of the mean, which are errors of poses, and the mean itself, which is a scale.
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.reconstruct import solve
from cryodrake.inference.reference import box_for_radius, crop_map
from cryodrake.inference.source import AbstractImages
from cryodrake.inference.states import States, expected_residual, infer_states
from cryodrake.physics.fourier import resample_volume
from cryodrake.physics.slice_operator import SliceOperator
from cryodrake.physics.slices import BallGrid, raster, slice_ball
from cryodrake.training.tangents import rigid_motions, without

STEPS = 15
POINTS_PER_BLOCK = 1 << 16
RIDGE = 0.1


@final
@dataclass(frozen=True, eq=False)
class Subspace:
    """Attributes:
    volumes: the mean and the components, coefficients as in the box that they are cropped from.
    radius: cycles per box.
    """

    volumes: Float[Tensor, "r d d d"]
    radius: float

    @property
    def grid(self) -> BallGrid:
        return BallGrid(self.volumes.shape[-1], self.radius)


def infer_all(
    images: AbstractImages,
    rows: Int64[Tensor, " n"],
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    subspace: Subspace,
) -> States:
    """The states of these images."""
    kxy = images.disc.kxy[: images.disc.count(subspace.radius)]
    ball, grid = raster(subspace.volumes, subspace.grid), subspace.grid
    step = max(1, POINTS_PER_BLOCK // len(kxy))
    parts = []
    for i in range(0, len(rows), step):
        matched, weight = images.matched(rows[i : i + step], len(kxy))
        centred = matched * shift_phases(shift_px[i : i + step], kxy, images.disc.box)
        parts.append(infer_states(centred, weight, slice_ball(ball, grid, rotation[i : i + step], kxy))[0])
    return States(*(torch.cat([getattr(p, name) for p in parts]) for name in ("mean", "covariance", "log_marginal")))


class SubspaceFit:
    """EM over a fixed set of images and poses. Memory: ~140 bytes a slice point."""

    def __init__(
        self,
        images: AbstractImages,
        rows: Int64[Tensor, " n"],
        rotation: Float[Tensor, "n 3 3"],
        shift_px: Float[Tensor, "n 2"],
        mean: Float[Tensor, "d d d"],
        mask: Float[Tensor, "d d d"],
        zdim: int,
        radius: float,
        seed: int,
    ):
        box = images.disc.box
        self.images, self.rows, self.shift_px, self.radius = images, rows, shift_px, radius
        self.kxy = images.disc.kxy[: images.disc.count(radius)]
        small = box_for_radius(radius, box)
        self.grid = BallGrid(small, radius)
        self.mask = resample_volume(mask, small).clamp(0, 1)
        self.step_ = max(1, POINTS_PER_BLOCK // len(self.kxy))
        self.operators = [SliceOperator(self.grid, part, self.kxy) for part in rotation.split(self.step_)]
        self.volumes = torch.zeros(zdim + 1, small, small, small, device=mean.device)
        self.volumes[0] = crop_map(mean, small)
        generator = torch.Generator().manual_seed(seed)
        self.states = States(
            torch.randn(len(rows), zdim, generator=generator).to(mean.device),
            torch.zeros(len(rows), zdim, zdim, device=mean.device),
            torch.zeros(len(rows), device=mean.device),
        )
        self._ascend(infer=False)

    def step(self) -> float:
        """One step; the mean log marginal likelihood before it."""
        return self._ascend(infer=True)

    def _ascend(self, infer: bool) -> float:
        r = len(self.volumes)
        ball = raster(self.volumes, self.grid)
        sums = ball.new_zeros(self.grid.n_voxels, 2 * r + 1)
        moment = ball.new_zeros(r, r)
        total, parts = 0.0, []
        for operator, rows, i in zip(self.operators, self.rows.split(self.step_), range(0, len(self.rows), self.step_)):
            matched, weight = self.images.matched(rows, len(self.kxy))
            block = slice(i, i + len(rows))
            centred = matched * shift_phases(self.shift_px[block], self.kxy, self.images.disc.box)
            slices = operator.slices(ball)
            states, columns = infer_states(centred, weight, slices)
            if not infer:
                states = States(self.states.mean[block], self.states.covariance[block], states.log_marginal)
            residual = expected_residual(states, centred, weight, columns)
            values = residual.view(len(rows), r, -1, 2).transpose(1, 2).flatten(2)
            sums += operator.backproject(values.contiguous(), weight)
            moment += states.moments.sum(0)
            total += float(states.log_marginal.sum())
            parts.append(states)
        self.states = States(*(torch.cat([getattr(p, n) for p in parts]) for n in ("mean", "covariance", "log_marginal")))
        moment = moment / len(self.rows)
        mixed = torch.einsum("rs,vsc->vrc", torch.linalg.inv(moment), sums[:, :-1].unflatten(1, (r, 2)))
        steps = torch.stack([solve(torch.cat([mixed[:, j], sums[:, -1:]], 1), self.grid, ridge=RIDGE) for j in range(r)])
        self.volumes = self.volumes + steps * self.mask
        self._standardise(moment)
        return total / len(self.rows)

    def _standardise(self, moment: Tensor) -> None:
        """States to zero mean and unit covariance, and the components free of what is not structure."""
        centre = moment[0, 1:]
        factor = torch.linalg.cholesky(moment[1:, 1:] - centre[:, None] * centre)
        mean = self.volumes[0] + torch.einsum("z,zijk->ijk", centre, self.volumes[1:])
        components = torch.einsum("zy,zijk->yijk", factor, self.volumes[1:])
        components = without(components, torch.cat([rigid_motions(mean), mean[None]]))
        self.volumes = torch.cat([mean[None], components])
