"""The components of V(k; z) at full resolution, from images whose poses and states are inferred; also without a fold's images.

The expected log likelihood is quadratic in the components: one Newton step with the Hessian D ⊗ M (see `training.subspace`) leads
from anywhere nearly to its maximum, over all images, a half set, or all images but a fold's, whichever gradients are summed.
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.source import AbstractImages
from cryodrake.inference.states import States, component_columns, expected_residual
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.slices import backproject, raster, slice_ball, symmetrise
from cryodrake.training.local_filter import apply_local, band_noise, local_weights
from cryodrake.training.refinement import FOLDS
from cryodrake.training.solvent import apply_filter, flatten_solvent
from cryodrake.training.subspace import preconditioned

POINTS_PER_BLOCK = 1 << 18


@final
@dataclass(frozen=True, eq=False)
class ComponentStep:
    """Newton steps from `start`.

    Attributes:
        start: (r d d d).
        sums: gradient (columns in pairs) and denominator (last) of each half set.
        moment: mean E[a aᵀ].
    """

    start: Float[Tensor, "r d d d"]
    sums: Float[Tensor, "2 v c"]
    moment: Float[Tensor, "r r"]
    grid: BallGrid

    def volumes(self) -> Float[Tensor, "r d d d"]:
        """From all images."""
        return self.start + preconditioned(self.sums.sum(0), self.moment, self.grid)

    def without(self, fold: Float[Tensor, "v c"]) -> Float[Tensor, "r d d d"]:
        """From all images but those that these sums are of."""
        return self.start + preconditioned(self.sums.sum(0) - fold, self.moment, self.grid)

    def noise(self, mask: Float[Tensor, "d d d"]) -> Float[Tensor, "r b"]:
        """Variance of the noise of each component of all images under the mask, in each of the local filter's bands."""
        halves = [self.start + preconditioned(sums, self.moment, self.grid) for sums in self.sums]
        pairs = (torch.stack([flatten_solvent(v, mask) for v in pair]) for pair in zip(*halves, strict=True))
        return torch.stack([band_noise(pair, mask) for pair in pairs])


def component_sums(
    images: AbstractImages,
    rows: Int64[Tensor, " n"],
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    states: States,
    ball: Float[Tensor, "v r2"],
    grid: BallGrid,
) -> Float[Tensor, "v c"]:
    """Gradient of the expected log likelihood at the components `ball`, and its denominator, of these images."""
    kxy = images.disc.kxy[: images.disc.count(grid.radius)]
    sums = ball.new_zeros(grid.n_voxels, ball.shape[1] + 1)
    step = max(1, POINTS_PER_BLOCK // len(kxy))
    for i in range(0, len(rows), step):
        block = slice(i, i + step)
        matched, weight = images.matched(rows[block], len(kxy))
        centred = matched * shift_phases(shift_px[block], kxy, images.disc.box)
        columns = component_columns(slice_ball(ball, grid, rotation[block], kxy))
        values = expected_residual(states[block], centred, weight, columns)
        sums += backproject(values, weight, grid, rotation[block], kxy)
    return symmetrise(sums, grid)


def component_step(
    images: AbstractImages,
    label: Int64[Tensor, " n"],
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    states: States,
    start: Float[Tensor, "r d d d"],
    radius: float,
) -> ComponentStep:
    """The step from `start` up to `radius`, beyond which nothing is kept; label as in `refinement.fold_labels`."""
    grid = BallGrid(start.shape[-1], radius)
    within = (torch.arange(start.shape[-1] // 2 + 1, device=start.device) <= radius).float()
    start = torch.stack([apply_filter(volume, within) for volume in start])
    ball = raster(start, grid)
    halves = []
    for h in (0, 1):
        rows = torch.nonzero(label // FOLDS == h).squeeze(1)
        halves.append(component_sums(images, rows, rotation[rows], shift_px[rows], states[rows], ball, grid))
    return ComponentStep(start, torch.stack(halves), states.moments.mean(0), grid)


def as_references(
    volumes: Float[Tensor, "r d d d"], noise: Float[Tensor, "r b"], mask: Float[Tensor, "d d d"]
) -> Float[Tensor, "r d d d"]:
    """Masked by the particle's shape and filtered by where each stands out from its noise.

    What moves is in one place: the weights keep a component there, where a filter by shells would keep its noise elsewhere.
    """
    bare = (flatten_solvent(volume, mask) for volume in volumes)
    return torch.stack([apply_local(v, local_weights(v, level)) for v, level in zip(bare, noise, strict=True)])
