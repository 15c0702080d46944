"""A linear model of the structures, V(k; z) = B_0 + Σ_j z_j B_j, learned from images whose poses are roughly known.

Probabilistic principal components by expectation maximisation (Tipping & Bishop 1999, J. R. Stat. Soc. B 61, 611) on voxels, as a
preconditioned ascent: the M step's system (one r × r matrix per voxel) is, where states are independent of views and CTFs,
D(v)·M with D = Σ Tᵀw and M = ⟨E[a aᵀ]⟩. Dividing the exact gradient by it leaves the fixed point where it is and costs r
back-projections instead of r². After each step the states' distribution is made standard again by moving its covariance into the
components (parameter-expanded EM, Liu, Rubin & Wu 1998, Biometrika 85, 755): plain EM grows faint components very slowly.

Kept out of the components: rigid motions of the mean, which are errors of poses, and the mean itself, which is a scale.
"""

from collections.abc import Iterator
from typing import final

import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor

from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.reconstruct import solve
from cryodrake.inference.reference import box_for_radius, in_box
from cryodrake.inference.source import AbstractImages
from cryodrake.inference.states import States, component_columns, expected_residual, infer_states
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.fourier import resample_volume
from cryodrake.physics.slice_operator import SliceOperator
from cryodrake.physics.slices import raster
from cryodrake.training.tangents import rigid_motions, without

MOST_STEPS = 15
LITTLE = 0.05  # log likelihood per image and step that is no progress
POINTS_PER_BLOCK = 1 << 16
RIDGE = 0.1  # of the shells' mean denominator


@final
class SubspaceFit:
    """EM over a fixed set of images and poses. Memory: ~140 bytes a slice point.

    Attributes:
        volumes: (r d d d) the mean and the components, in a box that is cropped to the radius.
        states: of the images, at the volumes before the last step.
    """

    def __init__(
        self,
        images: AbstractImages,
        rows: Int64[Tensor, " n"],
        rotation: Float[Tensor, "n 3 3"],
        shift_px: Float[Tensor, "n 2"],
        mean: Float[Tensor, "d d d"],
        mask: Float[Tensor, "d d d"],
        latents: Float[Tensor, "n z"],
        radius: float,
    ):
        """mean: the consensus map; mask: where the structure is; latents: a first guess of the states, random if need be."""
        box = box_for_radius(radius, images.disc.box)
        self.images, self.rows, self.shift_px = images, rows, shift_px
        self.grid = BallGrid(box, radius)
        self.kxy = images.disc.kxy[: images.disc.count(radius)]
        self.mask = resample_volume(mask, box).clamp(0, 1)
        self.block = max(1, POINTS_PER_BLOCK // len(self.kxy))
        self.operators = [SliceOperator(self.grid, part, self.kxy) for part in rotation.split(self.block)]
        self.volumes = torch.zeros(latents.shape[1] + 1, box, box, box, device=mean.device)
        self.volumes[0] = in_box(mean, box)
        self.states = States.known(latents)
        self._ascend(self.states)

    def run(self) -> list[float]:
        """Steps until the likelihood stands still; the mean log marginal likelihood before each."""
        heard: list[float] = []
        while len(heard) < MOST_STEPS and (len(heard) < 3 or heard[-1] - heard[-2] > LITTLE):
            heard.append(self.step())
        return heard

    def step(self) -> float:
        """One step; the mean log marginal likelihood before it."""
        self.states = self._ascend(None)
        return float(self.states.log_marginal.mean())

    def _blocks(self) -> Iterator[tuple[slice, SliceOperator, Complex[Tensor, "b k"], Float[Tensor, "b k"]]]:
        for i, operator in enumerate(self.operators):
            block = slice(i * self.block, (i + 1) * self.block)
            matched, weight = self.images.matched(self.rows[block], len(self.kxy))
            yield block, operator, matched * shift_phases(self.shift_px[block], self.kxy, self.images.disc.box), weight

    def _ascend(self, given: States | None) -> States:
        """Move the volumes by one step, with the states as they are given or as they are inferred first."""
        ball = raster(self.volumes, self.grid)
        r = len(self.volumes)
        sums, moment = ball.new_zeros(self.grid.n_voxels, 2 * r + 1), ball.new_zeros(r, r)
        parts = []
        for block, operator, centred, weight in self._blocks():
            columns = component_columns(operator.slices(ball))
            states = infer_states(centred, weight, columns) if given is None else given[block]
            sums += operator.backproject(expected_residual(states, centred, weight, columns).contiguous(), weight)
            moment += states.moments.sum(0)
            parts.append(states)
        moment /= len(self.rows)
        self.volumes = self.volumes + preconditioned(sums, moment, self.grid) * self.mask
        self._standardise(moment)
        return States.cat(parts)

    def _standardise(self, moment: Float[Tensor, "r r"]) -> None:
        """States to zero mean and unit covariance, and the components free of what is not structure."""
        centre = moment[0, 1:]
        factor = torch.linalg.cholesky(moment[1:, 1:] - centre[:, None] * centre)
        mean = self.volumes[0] + torch.einsum("z,zijk->ijk", centre, self.volumes[1:])
        components = torch.einsum("zy,zijk->yijk", factor, self.volumes[1:])
        self.volumes = torch.cat([mean[None], without(components, torch.cat([rigid_motions(mean), mean[None]]))])


def preconditioned(sums: Float[Tensor, "v c"], moment: Float[Tensor, "r r"], grid: BallGrid) -> Float[Tensor, "r d d d"]:
    """The step (D M)⁻¹ G as densities, from sums with the gradient G in pairs of columns and D in the last."""
    r = len(moment)
    mixed = torch.einsum("rs,vsc->vrc", torch.linalg.inv(moment), sums[:, :-1].unflatten(1, (r, 2)))
    return torch.stack([solve(torch.cat([mixed[:, j], sums[:, -1:]], 1), grid, ridge=RIDGE) for j in range(r)])


def oriented(volumes: Float[Tensor, "r d d d"], states: States) -> Float[Tensor, "r d d d"]:
    """The same model with components that are orthogonal, the strongest first, and states of unit variance.

    So that coordinates mean the same in every run: a state's direction is what moves most. The sign makes the latents' third
    moment positive.
    """
    flat = volumes[1:].flatten(1)
    turn = torch.linalg.eigh(flat @ flat.T).eigenvectors.flip(1)  # the states are standard: any rotation leaves them so
    skew = (states.mean @ turn).pow(3).mean(0)
    turn = turn * torch.where(skew < 0, -1.0, 1.0)
    return torch.cat([volumes[:1], (turn.T @ flat).view_as(volumes[1:])])
