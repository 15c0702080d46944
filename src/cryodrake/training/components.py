"""The components of V(k; z) at full resolution, from images whose poses and states are inferred; also without a fold's images.

The expected log likelihood is quadratic in the components: one Newton step with the Hessian D ⊗ M (see `training.subspace`) leads
from anywhere nearly to its maximum, over all images, a half set, or all images but a fold's, whichever gradients are summed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.reconstruct import solve
from cryodrake.inference.source import AbstractImages
from cryodrake.inference.states import States, component_columns, expected_residual
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.slices import backproject, raster, slice_ball, symmetrise
from cryodrake.training.local_filter import band_noise, filter_locally
from cryodrake.training.refinement import FOLDS
from cryodrake.training.solvent import apply_filter, flatten_solvent
from cryodrake.training.subspace import RIDGE

POINTS_PER_BLOCK = 1 << 20
NOTHING = 1e-4  # of the largest entry in a row of M⁻¹, which is the identity but for rounding where states are standard


@final
@dataclass(frozen=True, eq=False)
class ComponentStep:
    """A Newton step from `start`.

    Attributes:
        start: (r d d d), nothing beyond the grid's radius. volumes: where the step leads, from all images.
        sums: of all images, as `component_sums` makes them.
        moment: mean E[a aᵀ].
        noise: variance of the noise of each component of all images, in each of the local filter's bands.
    """

    start: Float[Tensor, "r d d d"]
    volumes: Float[Tensor, "r d d d"]
    sums: Float[Tensor, "r v 3"]
    moment: Float[Tensor, "r r"]
    noise: Float[Tensor, "r b"]
    grid: BallGrid

    def without(self, fold: Float[Tensor, "r v 3"]) -> Float[Tensor, "r d d d"]:
        """From all images but those that these sums are of."""
        found = steps(self.sums, self.moment, self.grid, fold)
        return torch.stack([v + change for v, change in zip(self.start, found, strict=True)])


def steps(
    sums: Float[Tensor, "r v 3"], moment: Float[Tensor, "r r"], grid: BallGrid, fold: Float[Tensor, "r v 3"] | None = None
) -> Iterator[Float[Tensor, "d d d"]]:
    """(D M)⁻¹ G as densities, component by component, of these sums without those of a fold."""
    for row in torch.linalg.inv(moment):
        mixed = torch.zeros_like(sums[0])
        for s in torch.nonzero(row.abs() > NOTHING * row.abs().max()).flatten().tolist():
            mixed += row[s] * (sums[s] if fold is None else sums[s] - fold[s])
        mixed[:, 2] = sums[0, :, 2] if fold is None else sums[0, :, 2] - fold[0, :, 2]  # the denominator, once
        yield solve(symmetrise(mixed, grid), grid, ridge=RIDGE)


def component_sums(
    images: AbstractImages,
    rows: Int64[Tensor, " n"],
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    states: States,
    ball: Float[Tensor, "v r2"],
    grid: BallGrid,
    sums: Float[Tensor, "r v 3"] | None = None,
) -> Float[Tensor, "r v 3"]:
    """Gradient (re, im) of the expected log likelihood at the components `ball`, and its denominator, of these images.

    They are added to `sums`, which is returned, or to zeros; mates on the plane kx = 0 are left to `steps`. Component by
    component: their sums are large, and each added to while it is in the cache.
    """
    kxy = images.disc.kxy[: images.disc.count(grid.radius)]
    if sums is None:
        sums = ball.new_zeros(ball.shape[1] // 2, grid.n_voxels, 3)
    step = max(1, POINTS_PER_BLOCK // len(kxy))
    for i in range(0, len(rows), step):
        block = slice(i, i + step)
        matched, weight = images.matched(rows[block], len(kxy))
        centred = matched * shift_phases(shift_px[block], kxy, images.disc.box)
        columns = component_columns(slice_ball(ball, grid, rotation[block], kxy))
        values = expected_residual(states[block], centred, weight, columns)
        for own, onto in zip(values.split(2, dim=2), sums, strict=True):
            backproject(own.contiguous(), weight, grid, rotation[block], kxy, onto=onto)
    return sums


def component_step(
    images: AbstractImages,
    label: Int64[Tensor, " n"],
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    states: States,
    start: Float[Tensor, "r d d d"],
    radius: float,
    mask: Float[Tensor, "d d d"],
) -> ComponentStep:
    """The step from `start` up to `radius`, beyond which nothing is kept.

    The sums of one half set and of all images are there one after the other, never side by side: they are large. The other
    half set's map is what, with this one's, has the map of all for its mean.

    Args:
        label: as in `refinement.fold_labels`.
        mask: of the particle, in which the half sets tell the noise.
    """
    grid = BallGrid(start.shape[-1], radius)
    within = (torch.arange(start.shape[-1] // 2 + 1, device=start.device) <= radius).float()
    start = torch.stack([apply_filter(volume, within) for volume in start])
    moment = states.moments.mean(0)
    ball = raster(start, grid)
    first, second = (torch.nonzero(label // FOLDS == h).squeeze(1) for h in (0, 1))
    sums = component_sums(images, first, rotation[first], shift_px[first], states[first], ball, grid)
    half = list(steps(sums, moment, grid))
    sums = component_sums(images, second, rotation[second], shift_px[second], states[second], ball, grid, sums)
    del ball
    volumes, noise = start.clone(), []
    for volume, change, change_of_half in zip(volumes, steps(sums, moment, grid), half, strict=True):
        of_half = flatten_solvent(volume + change_of_half, mask)
        of_all = flatten_solvent(volume.add_(change), mask)
        noise.append(band_noise(torch.stack([of_half, 2 * of_all - of_half]), mask))
    return ComponentStep(start, volumes, sums, moment, torch.stack(noise), grid)


def as_references(
    volumes: Float[Tensor, "r d d d"], noise: Float[Tensor, "r b"], mask: Float[Tensor, "d d d"]
) -> Float[Tensor, "r d d d"]:
    """Masked by the particle's shape and filtered by where each stands out from its noise.

    What moves is in one place: the weights keep a component there, where a filter by shells would keep its noise elsewhere.
    """
    return torch.stack([filter_locally(flatten_solvent(v, mask), level) for v, level in zip(volumes, noise, strict=True)])
