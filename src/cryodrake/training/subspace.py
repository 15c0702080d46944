"""A linear model of the structures, V(k; z) = B_0 + Σ_j z_j B_j, learned from images whose poses are roughly known.

Probabilistic principal components by expectation maximisation (Tipping & Bishop 1999, J. R. Stat. Soc. B 61, 611) on voxels, as a
preconditioned ascent: the M step's system (one r × r matrix per voxel) is, where states are independent of views and CTFs,
D(v)·M with D = Σ Tᵀw and M = ⟨E[a aᵀ]⟩. Dividing the exact gradient by it leaves the fixed point where it is and costs r
back-projections instead of r². After each step the states' distribution is made standard again by moving its covariance into the
components (parameter-expanded EM, Liu, Rubin & Wu 1998, Biometrika 85, 755): plain EM grows faint components very slowly.

Components of many voxels learned from few images are mostly noise, and such a model makes new images less likely than no states at
all, even where it has found what moves. `localise` takes away, after each step, what does not stand out from noise where it is
(`training.joint_filter`): a normal prior for the components at each place and scale, learned from the components there.

Kept out of the components: rigid motions of the mean, which are errors of poses, and the mean itself, which is a scale.
"""

from collections.abc import Iterator
from dataclasses import replace
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
from cryodrake.physics.blocks import at_once
from cryodrake.physics.fourier import resample_volume
from cryodrake.physics.slice_operator import SliceOperator
from cryodrake.physics.slices import raster
from cryodrake.training.joint_filter import filter_jointly, thirds
from cryodrake.training.tangents import rigid_motions, without

MOST_STEPS = 15
LEAST_STEPS = 3
LITTLE = 0.05  # log likelihood per image and step that is no progress
POINTS_PER_BLOCK = 1 << 16
RIDGE = 0.1  # of the shells' mean denominator
SHARPNESS = 8.0  # of the filter: by so many times components must exceed noise
MILDER = (5.0, 6.0, 7.0)  # of its first steps: what moves little stands out when some noise has gone


@final
class SubspaceFit:
    """EM over a fixed set of images and poses. Memory: ~140 bytes a slice point.

    Attributes:
        volumes: (r d d d) the mean and the components, in a box that is cropped to the radius.
        mask: (d d d) where the structure is.
        sharpness: with which components are filtered after each step; None where they are free.
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
        self.block = max(1, at_once(POINTS_PER_BLOCK, self.kxy.device) // len(self.kxy))
        self.operators = [SliceOperator(self.grid, part, self.kxy) for part in rotation.split(self.block)]
        self.volumes = torch.zeros(latents.shape[1] + 1, box, box, box, device=mean.device)
        self.volumes[0] = in_box(mean, box)
        self.states = States.known(latents)
        self.windows = thirds(box, radius, mean.device)
        self.sharpness: float | None = None
        self._ascend(self.states)

    def run(self) -> list[float]:
        """Steps until the likelihood stands still; the mean log marginal likelihood before each."""
        heard: list[float] = []
        while len(heard) < MOST_STEPS and (len(heard) < LEAST_STEPS or abs(heard[-1] - heard[-2]) > LITTLE):
            heard.append(self.step())
        return heard

    def localise(self) -> list[float]:
        """`run`, with components that are nothing where they do not stand out from noise: from now on.

        The likelihoods are those of its last steps, all with the same filter.
        """
        for self.sharpness in MILDER:
            self.step()
        self.sharpness = SHARPNESS
        return self.run()

    def step(self, states: States | None = None) -> float:
        """One step, in these states of the images where they are known otherwise; the mean log marginal likelihood before it."""
        self.states = self._ascend(states)
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
        if self.sharpness is not None:
            self.volumes[1:] = filter_jointly(self.volumes[1:], self.windows, self.mask, self.sharpness)
        self._standardise(moment)
        return States.cat(parts)

    def _standardise(self, moment: Float[Tensor, "r r"]) -> None:
        """States to zero mean and unit covariance, and the components free of what is pose or scale."""
        mean, *components = _in_standard_states(self.volumes, *_centre_and_factor(moment))
        what_is_not_structure = torch.cat([rigid_motions(mean), mean[None]])
        self.volumes = torch.cat([mean[None], without(torch.stack(components), what_is_not_structure)])


def preconditioned(sums: Float[Tensor, "v c"], moment: Float[Tensor, "r r"], grid: BallGrid) -> Float[Tensor, "r d d d"]:
    """The step (D M)⁻¹ G as densities, from sums with the gradient G in pairs of columns and D in the last."""
    r = len(moment)
    mixed = torch.einsum("rs,vsc->vrc", torch.linalg.inv(moment), sums[:, :-1].unflatten(1, (r, 2)))
    return torch.stack([solve(torch.cat([mixed[:, j], sums[:, -1:]], 1), grid, ridge=RIDGE) for j in range(r)])


def _centre_and_factor(moment: Float[Tensor, "r r"]) -> tuple[Float[Tensor, " z"], Float[Tensor, "z z"]]:
    """Mean c and a square root L of the covariance of states with these mean products of (1, z)."""
    centre = moment[0, 1:]
    return centre, torch.linalg.cholesky(moment[1:, 1:] - centre[:, None] * centre)


def _in_standard_states(
    volumes: Float[Tensor, "r d d d"], centre: Float[Tensor, " z"], factor: Float[Tensor, "z z"]
) -> Float[Tensor, "r d d d"]:
    """The model as a function of L⁻¹(z - c)."""
    mean = volumes[0] + torch.einsum("z,zijk->ijk", centre, volumes[1:])
    return torch.cat([mean[None], torch.einsum("zy,zijk->yijk", factor, volumes[1:])])


def canonical(volumes: Float[Tensor, "r d d d"], states: States) -> tuple[Float[Tensor, "r d d d"], States]:
    """The same model and states in coordinates of zero mean and unit second moment, components orthogonal, the strongest first.

    So that coordinates mean the same in every run: a state's direction is what moves most. The sign makes the latents' third
    moment positive.
    """
    centre, factor = _centre_and_factor(states.moments.mean(0))
    z = torch.linalg.solve_triangular(factor, (states.mean - centre).T, upper=False).T
    flat = _in_standard_states(volumes, centre, factor)[1:].flatten(1)
    turn = torch.linalg.eigh(flat @ flat.T).eigenvectors.flip(1)  # the states are standard: any rotation leaves them so
    turn = turn * torch.where((z @ turn).pow(3).mean(0) < 0, -1.0, 1.0)
    factor = factor @ turn
    return _in_standard_states(volumes, centre, factor), replace(
        states, mean=z @ turn, precision=factor.T @ states.precision @ factor
    )
