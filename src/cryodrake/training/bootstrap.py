"""From random poses to a low-resolution map: over-relaxed stochastic EM with momentum and exhaustive scoring.

Each step scores a batch of images against every rotation of a grid and every shift, softly, at the true noise level.
With P the posterior, the gradient of the marginal likelihood on the slices is PᵀY' - (Pᵀw)V; back-projected and divided by
EM's own denominator it is EM's step, and

    velocity ← m·velocity + r·step,    map ← map + velocity

goes r/(1-m) ≈ 1.5 times as far. Plain EM is not stuck on faint data, it is slow: its slow modes shrink by the share of
the information that the poses hide (docs/log.md). Shifts become certain long before rotations do, so after its first visit
an image keeps only its likeliest few. The only shrinkage is a small ridge: a Wiener term estimated from the map itself has
a fixed point at zero.

With several classes the posterior runs over (class, rotation, shift), and each class's map follows its own share of it
(`training.mixture`). The prior is flat but in balanced stages, where it is moved until each class takes the same share: else
the class that is the first to look like something takes all images.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.inference.exhaustive import images_per_block
from cryodrake.inference.likelihood import (
    ImageRows,
    Posterior,
    SliceColumns,
    expected_sums,
    posterior_of,
    product_dtype,
    shift_phases,
)
from cryodrake.inference.reconstruct import solve
from cryodrake.inference.reference import box_for_radius
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.blocks import at_once
from cryodrake.physics.grids import ring_base
from cryodrake.physics.masks import sphere
from cryodrake.physics.rotations import random_rotations
from cryodrake.physics.slice_operator import SliceOperator
from cryodrake.physics.slices import backproject, raster, symmetrise
from cryodrake.physics.turns import TURNS, MirrorPairs

DENOMINATOR_RATE = 0.1  # of its running average
SHIFT_MEMORY = 0.8
LEAST_SHARE = 0.01  # of a class that took nothing, for its logarithm
BLOCK_BYTES = 1 << 25


@dataclass(frozen=True)
class Stage:
    """A part of a start's schedule, with its own grid."""

    steps: int
    spacing_deg: float
    first_radius: float
    last_radius: float
    """Fourier radius in cycles per box, marched linearly over the first half."""
    rate: float
    momentum: float
    patience: int = 0
    """Ends early when two windows of this many steps in a row bring no more likelihood; 0: never."""
    is_whole: bool = False
    """Whether a step takes all images, not a batch; its denominator is then its own. With rate 1 and no momentum: plain EM."""
    is_balanced: bool = False
    """Whether classes are made to take the same share."""

    def radius(self, step: int) -> float:
        ramp = min(1.0, step / (0.54 * self.steps))
        return float(round(self.first_radius + ramp * (self.last_radius - self.first_radius)))


SCHEDULE = (
    Stage(20, 20.0, 8.0, 8.0, rate=0.4, momentum=0.0),
    Stage(260, 20.0, 8.0, 10.0, rate=0.3, momentum=0.8, patience=30),
    Stage(40, 15.0, 10.0, 10.0, rate=0.2, momentum=0.5),
)
BATCH = 300
KEPT_SHIFTS = 8


@final
class Bootstrap:
    """One start: `step()` until `done`; `volumes` (c d d d) are the classes' maps in a box reduced to the largest radius.

    class_probability (n c) is each image's posterior when it was last visited, zeros before; best_rotation and best_shift its
    likeliest nodes of the grids, in the likeliest class, when it was last visited in a whole step.
    """

    def __init__(
        self,
        images: AbstractImages,
        n: int,
        shifts_px: Float[Tensor, "t 2"],
        mask_radius: float,
        seed: int,
        schedule: tuple[Stage, ...] = SCHEDULE,
        classes: int = 1,
        volumes: Float[Tensor, "c d d d"] | None = None,
    ):
        """
        Args:
            mask_radius: of the particle, as a fraction of the box.
            volumes: the classes' maps to begin with, in the reduced box; None: of random poses.
        """
        disc = images.disc
        device = disc.kxy.device
        self.images, self.schedule, self.shifts_px = images, schedule, shifts_px.to(device)
        self.seed, self.generator = seed, torch.Generator().manual_seed(seed)
        radius = min(max(stage.last_radius for stage in schedule), disc.box / 2)
        box = box_for_radius(radius, disc.box)
        self.grid = BallGrid(box, radius)
        self.mask = sphere(box, mask_radius * box, 1.0, device)
        self.kxy = disc.kxy[: disc.count(radius)]
        self.phases = shift_phases(self.shifts_px, self.kxy, disc.box)
        self.shift_probability = torch.zeros(n, len(shifts_px), device=device)
        self.class_probability = torch.zeros(n, classes, device=device)
        self.class_log_prior = torch.zeros(classes, device=device)
        self.best_rotation, self.best_shift = torch.zeros(2, n, dtype=torch.int64, device=device)
        self.queue = torch.empty(0, dtype=torch.int64)
        self.stage, self.stage_step = 0, 0
        self.log_marginals: list[float] = []
        self._kept: tuple[tuple[float, int], SliceOperator, MirrorPairs] | None = None
        self.denominator: Float[Tensor, "c v"] | None
        if volumes is None:
            sums = torch.stack([self._random_sums(min(schedule[0].first_radius, radius)) for _ in range(classes)]) / classes
            self.denominator, self.volumes = sums[..., 2], self._step_of(sums)
        else:
            self.denominator, self.volumes = None, volumes
        self.velocity = torch.zeros_like(self.volumes)

    @property
    def done(self) -> bool:
        return self.stage >= len(self.schedule)

    @property
    def total_steps(self) -> int:
        return sum(stage.steps for stage in self.schedule)

    @property
    def radius(self) -> float:
        """Of the next step, or of the last one when done."""
        stage, step = (self.schedule[-1], self.schedule[-1].steps) if self.done else (self.schedule[self.stage], self.stage_step)
        return min(stage.radius(step), self.grid.radius)

    def step(self) -> float:
        """One batch; returns its mean log marginal likelihood per image."""
        stage = self.schedule[self.stage]
        batch = torch.arange(len(self.class_probability), device=self.kxy.device) if stage.is_whole else self._next_batch()
        sums, log_marginal = self._gradient(batch, stage.spacing_deg, self.radius)
        if stage.is_whole or self.denominator is None:
            self.denominator = sums[..., 2]
        else:
            self.denominator = (1 - DENOMINATOR_RATE) * self.denominator + DENOMINATOR_RATE * sums[..., 2]
        ascent = self._step_of(torch.cat([sums[..., :2], self.denominator[..., None]], dim=-1))
        self.velocity = stage.momentum * self.velocity + stage.rate * ascent
        self.volumes = self.volumes + self.velocity
        self.log_marginals.append(log_marginal)
        self.stage_step += 1
        if self.stage_step >= stage.steps or self._stands_still(stage):
            self.end_stage()
        return log_marginal

    def end_stage(self) -> None:
        """Go on to the next stage of the schedule."""
        self.stage, self.stage_step = self.stage + 1, 0

    def _stands_still(self, stage: Stage) -> bool:
        """Whether the likelihood of the last two windows exceeds that of the window before by less than its error."""
        w = stage.patience
        if not w or self.stage_step < 4 * w or stage.radius(self.stage_step) < stage.last_radius:
            return False
        windows = torch.tensor(self.log_marginals[-3 * w :]).view(3, w)
        error = float(windows.std(dim=1).mean()) / w**0.5
        means = windows.mean(dim=1)
        return bool(means[1:].max() < means[0] + error)

    def _step_of(self, sums: Float[Tensor, "c v 3"]) -> Float[Tensor, "c d d d"]:
        """Sums to masked densities whose surroundings are zero."""
        volumes = torch.stack([solve(of_class, self.grid) for of_class in sums])
        surroundings = volumes[:, self.mask < 0.01].mean(1)
        return (volumes - surroundings[:, None, None, None]) * self.mask

    def _next_batch(self) -> Int64[Tensor, " b"]:
        """Shuffled passes over the images, without replacement within a pass."""
        n = self.shift_probability.shape[0]
        while len(self.queue) < min(BATCH, n):
            self.queue = torch.cat([self.queue, torch.randperm(n, generator=self.generator)])
        batch, self.queue = self.queue[:BATCH], self.queue[BATCH:]
        return batch.to(self.shifts_px.device)

    def _random_sums(self, radius: float) -> Float[Tensor, "v 3"]:
        """Sums per image of one batch at random poses."""
        rows = self._next_batch()
        k = self.images.disc.count(radius)
        matched, weight = self.images.matched(rows, k)
        shift = torch.randint(len(self.shifts_px), (len(rows),), generator=self.generator).to(rows.device)
        rotations = random_rotations(len(rows), self.generator).to(rows.device)
        values = torch.view_as_real(matched * self.phases[shift, :k])
        return symmetrise(backproject(values, weight, self.grid, rotations, self.kxy[:k]), self.grid) / len(rows)

    def _views(self, spacing_deg: float, k: int) -> tuple[SliceOperator, MirrorPairs]:
        """The slicing of the grid in use, and the pairs of its points, kept until grid or radius change."""
        if self._kept is None or self._kept[0] != (spacing_deg, k):
            base, kxy = ring_base(spacing_deg, self.kxy.device), self.kxy[:k]
            self._kept = ((spacing_deg, k), SliceOperator(self.grid, base, kxy), MirrorPairs.of(kxy))
        return self._kept[1:]

    def _gradient(self, rows: Int64[Tensor, " b"], spacing_deg: float, radius: float) -> tuple[Float[Tensor, "c v 3"], float]:
        """Back-projected PᵀY' - (Pᵀw)V and Pᵀw of each class, per image, and the mean log marginal."""
        k = self.images.disc.count(radius)
        dtype = product_dtype(rows.device)
        views, pairs = self._views(spacing_deg, k)
        slices = torch.cat([views.slices(raster(volume, self.grid)) for volume in self.volumes])
        n_q = len(TURNS) * len(slices)
        log_prior = self.class_log_prior.repeat_interleave(views.n_rotations).repeat(len(TURNS)) - math.log(n_q)
        columns = SliceColumns.build(slices, pairs, dtype, log_prior)
        numerator, denominator = torch.zeros_like(slices), slices.new_zeros(slices.shape[:2])
        total = 0.0
        visited = self.shift_probability[rows].sum(1) > 0
        for group, first in ((rows[visited], False), (rows[~visited], True)):
            t = len(self.shifts_px) if first else min(KEPT_SHIFTS, len(self.shifts_px))
            for block in group.split(images_per_block(t, n_q, at_once(BLOCK_BYTES, rows.device))) if len(group) else ():
                matched, weight = self.images.matched(block, k)
                which = self._shift_candidates(block, t)
                images = ImageRows.build(matched, weight, self.phases[which, :k])
                posterior = posterior_of(images, columns)
                block_numerator, block_denominator = expected_sums(posterior, images, pairs)
                numerator += block_numerator
                denominator += block_denominator
                total += float(posterior.log_marginal.sum())
                self._remember(block, which, posterior, first)
                if self.schedule[self.stage].is_whole:
                    shift, best = posterior.best()
                    turn, view = best // len(slices), best % views.n_rotations
                    self.best_rotation[block] = turn * views.n_rotations + view
                    self.best_shift[block] = which.gather(1, shift[:, None])[:, 0]
        if self.schedule[self.stage].is_balanced:
            self._balance(self.class_probability[rows].mean(0))
        numerator -= denominator[..., None] * slices
        by_class = zip(numerator.split(views.n_rotations), denominator.split(views.n_rotations), strict=True)
        return torch.stack([views.backproject(*sums) for sums in by_class]) / len(rows), total / len(rows)

    def _balance(self, share: Float[Tensor, " c"]) -> None:
        """Moves the prior towards classes that took less than theirs; a likelihood may stand tens of units against it."""
        moved = self.class_log_prior - torch.log(len(share) * share + LEAST_SHARE)
        self.class_log_prior = moved - moved.mean()

    def _shift_candidates(self, block: Int64[Tensor, " b"], t: int) -> Int64[Tensor, "b t"]:
        """The t likeliest shifts of each image."""
        return self.shift_probability[block].topk(t, dim=1).indices

    def _remember(self, block: Int64[Tensor, " b"], which: Int64[Tensor, "b t"], posterior: Posterior, first: bool) -> None:
        of_turns = posterior.probability.unflatten(2, (len(TURNS), len(self.volumes), -1))
        by_class = of_turns.sum((2, 4), dtype=torch.float32)  # (b t c)
        self.class_probability[block] = by_class.sum(1)
        marginal = by_class.sum(2)
        memory = 0.0 if first else SHIFT_MEMORY
        known = memory * self.shift_probability[block]
        self.shift_probability[block] = known.scatter_add_(1, which, (1 - memory) * marginal)
