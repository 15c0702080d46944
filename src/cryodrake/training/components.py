"""The components of V(k; z) at full resolution, from images whose poses and states are inferred; also without a fold's images.

The expected log likelihood is quadratic in the components: one Newton step with the Hessian D ⊗ M (see `training.subspace`) leads
from anywhere nearly to its maximum, over all images, a half set, or all images but a fold's, whichever gradients are summed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import BFloat16, Float, Int64
from torch import Tensor

from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.reconstruct import solve
from cryodrake.inference.source import AbstractImages
from cryodrake.inference.states import States, component_columns, expected_residual
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.blocks import at_once
from cryodrake.physics.slices import backproject, raster, slice_ball, symmetrise
from cryodrake.training.joint_filter import band_covariance, filter_jointly
from cryodrake.training.local_filter import bands, filter_locally
from cryodrake.training.refinement import FOLDS
from cryodrake.training.solvent import apply_filter, flatten_solvent
from cryodrake.training.subspace import RIDGE

POINTS_PER_BLOCK = 1 << 18
SHARPNESS = 3.0  # of the filter
NOTHING = 1e-4  # of the largest entry in a row of M⁻¹, which is the identity but for rounding where states are standard


@final
@dataclass(frozen=True, eq=False)
class FoldGradients:
    """The sums of each fold, of both half sets, from which a step with or without a fold is made.

    They are large. So only what slices reach is kept, not the corners of the half ball's box, and gradients in half precision: its
    error, a few thousandths, is far below their noise.

    Attributes:
        reached: voxels of the grid.
        gradient, weight: there.
    """

    grid: BallGrid
    reached: Int64[Tensor, " w"]
    gradient: BFloat16[Tensor, "f r w 2"]
    weight: Float[Tensor, "f w"]

    @classmethod
    def nothing(cls, r: int, grid: BallGrid, device: torch.device) -> "FoldGradients":
        """Of no images yet."""
        reached = torch.nonzero(grid.lengths(device) <= grid.radius + 3**0.5 / grid.oversampling).squeeze(1)
        gradient = torch.zeros(FOLDS, r, len(reached), 2, dtype=torch.bfloat16, device=device)
        return cls(grid, reached, gradient, torch.zeros(FOLDS, len(reached), device=device))

    def add(self, fold: int, sums: Float[Tensor, "r v 3"]) -> None:
        """Of further images of a fold, as `component_sums` makes them."""
        for kept, own in zip(self.gradient[fold], sums, strict=True):
            kept += own[self.reached, :2]
        self.weight[fold] += sums[0, self.reached, 2]

    def steps(self, moment: Float[Tensor, "r r"], but: int | None = None) -> Iterator[Float[Tensor, "d d d"]]:
        """(D M)⁻¹ G as densities, component by component, of all folds or all but one."""
        folds = [fold for fold in range(FOLDS) if fold != but]
        mixed = torch.zeros(len(self.reached), 3, device=self.weight.device)
        mixed[:, 2] = self.weight[folds].sum(0)
        for row in torch.linalg.inv(moment):
            mixed[:, :2] = 0
            for s in torch.nonzero(row.abs() > NOTHING * row.abs().max()).flatten().tolist():
                for fold in folds:
                    mixed[:, :2].add_(self.gradient[fold, s], alpha=float(row[s]))
            ball = torch.zeros(self.grid.n_voxels, 3, device=mixed.device).index_copy_(0, self.reached, mixed)
            yield solve(symmetrise(ball, self.grid), self.grid, ridge=RIDGE)


@final
@dataclass(frozen=True, eq=False)
class ComponentStep:
    """A Newton step from `start`.

    Attributes:
        start: (r d d d), nothing beyond the grid's radius. volumes: where the step leads, from all images.
        folds: what it is made of.
        moment: mean E[a aᵀ].
        noise: covariance of the noise of the components of all images, in each of the local filter's bands. Not of the mean:
            both half sets' steps begin at one mean, and keep some of its noise.
    """

    start: Float[Tensor, "r d d d"]
    volumes: Float[Tensor, "r d d d"]
    folds: FoldGradients
    moment: Float[Tensor, "r r"]
    noise: Float[Tensor, "b z z"]

    def without(self, fold: int) -> Float[Tensor, "r d d d"]:
        """From all images but those of a fold, of both half sets."""
        found = self.folds.steps(self.moment, fold)
        return torch.stack([v + change for v, change in zip(self.start, found, strict=True)])


def component_sums(
    images: AbstractImages,
    rows: Int64[Tensor, " n"],
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    states: States,
    ball: Float[Tensor, "v r2"],
    grid: BallGrid,
) -> Float[Tensor, "r v 3"]:
    """Gradient (re, im) of the expected log likelihood at the components `ball`, and its denominator, of these images.

    Mates on the plane kx = 0 are left to `FoldGradients.steps`. Component by component: their sums are large, and each added to
    while it is in the cache.
    """
    kxy = images.disc.kxy[: images.disc.count(grid.radius)]
    sums = ball.new_zeros(ball.shape[1] // 2, grid.n_voxels, 3)
    step = max(1, at_once(POINTS_PER_BLOCK, kxy.device) // len(kxy))
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

    One half set's map is made when its folds are summed, before the other's are added to them. The map of all is the mean of both
    half sets', so what one differs from it by is half of their difference, and as noisy as the map of all.

    Args:
        label: as in `refinement.fold_labels`.
        mask: of the particle, in which the half sets tell the noise.
    """
    grid = BallGrid(start.shape[-1], radius)
    within = (torch.arange(start.shape[-1] // 2 + 1, device=start.device) <= radius).float()
    start = torch.stack([apply_filter(volume, within) for volume in start])
    moment = states.moments.mean(0)
    ball, folds, half = raster(start, grid), FoldGradients.nothing(len(start), grid, start.device), []
    for number in range(2 * FOLDS):
        rows = torch.nonzero(label == number).squeeze(1)
        folds.add(number % FOLDS, component_sums(images, rows, rotation[rows], shift_px[rows], states[rows], ball, grid))
        if number == FOLDS - 1:
            half = [volume + change for volume, change in zip(start, folds.steps(moment), strict=True)]
    del ball
    volumes = torch.stack([volume + change for volume, change in zip(start, folds.steps(moment), strict=True)])
    apart = torch.stack([flatten_solvent(one - both, mask) for one, both in zip(half[1:], volumes[1:], strict=True)])
    return ComponentStep(start, volumes, folds, moment, band_covariance(apart, mask))


def as_references(
    volumes: Float[Tensor, "r d d d"], mean_noise: Float[Tensor, " b"], noise: Float[Tensor, "b z z"], mask: Float[Tensor, "d d d"]
) -> Float[Tensor, "r d d d"]:
    """Masked by the particle's shape and filtered by where each stands out from its noise.

    What moves is in one place: the weights keep components there, where a filter by shells would keep their noise elsewhere.

    Args:
        mean_noise, noise: variance of the mean's, and covariance of the components', in each of the local filter's bands.
    """
    flat = torch.stack([flatten_solvent(volume, mask) for volume in volumes])
    windows = bands(mask.shape[-1], mask.device)
    return torch.cat([filter_locally(flat[0], mean_noise)[None], filter_jointly(flat[1:], windows, mask, SHARPNESS, noise)])
