"""From random poses to a low-resolution map: stochastic EM with exhaustive scoring.

Each step takes a batch of images, scores every rotation of a fixed grid and every shift against the current map, and moves running
averages of the M step's numerator and denominator towards the batch's posterior-weighted back-projection. Assignments are soft
at the true noise level. Shifts become certain long before rotations do, so from its second visit on an image keeps only its
likeliest few. Capped below by a small ridge only: a Wiener term estimated from the map itself has a fixed point at zero.
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
from cryodrake.physics.grids import all_rotations
from cryodrake.physics.masks import sphere
from cryodrake.physics.rotations import random_rotations
from cryodrake.physics.slice_operator import SliceOperator
from cryodrake.physics.slices import BallGrid, backproject, raster, symmetrise


@dataclass(frozen=True)
class BootstrapSettings:
    """One start's schedule."""

    order: int
    """Rotation grid (1: 30°, 2: 15°)."""
    first_radius: float
    last_radius: float
    """Fourier radius in cycles per box, marched linearly over the first 0.7 of the steps."""
    steps: int
    batch: int
    kept_shifts: int = 6
    """Shifts kept per image after its first visit."""

    def radius(self, step: int) -> float:
        ramp = min(1.0, step / (0.7 * self.steps))
        return self.first_radius + ramp * (self.last_radius - self.first_radius)

    def rate(self, step: int) -> float:
        """Weight of a batch in the running averages."""
        return 0.5 if step < 5 else 0.3 if step < 20 else 0.2


@final
class Bootstrap:
    """One start. `step()` until `done`, then `volume()`; the state is `sums`, `shift_probability`, the generator and a counter."""

    def __init__(
        self,
        images: AbstractImages,
        n: int,
        settings: BootstrapSettings,
        shifts_px: Float[Tensor, "t 2"],
        mask_radius: float,
        seed: int,
    ):
        """mask_radius: of the particle, as a fraction of the box."""
        disc = images.disc
        device = disc.kxy.device
        self.images, self.settings, self.shifts_px = images, settings, shifts_px.to(device)
        self.generator = torch.Generator().manual_seed(seed)
        box = box_for_radius(settings.last_radius, disc.box)
        self.grid = BallGrid(box, settings.last_radius)
        self.mask = sphere(box, mask_radius * box, 1.0, device)
        self.rotations = all_rotations(settings.order, device)
        self.kxy = disc.kxy[: disc.count(settings.last_radius)]
        self.phases = shift_phases(self.shifts_px, self.kxy, disc.box)
        self.operator = SliceOperator(self.grid, self.rotations, self.kxy)
        self.shift_probability = torch.zeros(n, len(shifts_px), device=device)
        self.queue = torch.empty(0, dtype=torch.int64)
        self.done_steps = 0
        self.sums = self._random_start()

    @property
    def done(self) -> bool:
        return self.done_steps >= self.settings.steps

    def volume(self) -> Float[Tensor, "d d d"]:
        """The map in the reduced box, its surroundings at zero, masked."""
        volume = solve(self.sums, self.grid)
        outside = volume[self.mask < 0.01]
        return (volume - outside.mean()) * self.mask

    def step(self) -> float:
        """One batch; returns its mean log marginal likelihood per image."""
        radius, rate = self.settings.radius(self.done_steps), self.settings.rate(self.done_steps)
        sums, log_marginal = self._expectation(self._next_batch(), radius)
        self.sums = (1 - rate) * self.sums + rate * sums
        self.done_steps += 1
        return log_marginal

    def _next_batch(self) -> Int64[Tensor, " b"]:
        """Shuffled passes over the images, without replacement within a pass."""
        n = self.shift_probability.shape[0]
        while len(self.queue) < min(self.settings.batch, n):
            self.queue = torch.cat([self.queue, torch.randperm(n, generator=self.generator)])
        batch, self.queue = self.queue[: self.settings.batch], self.queue[self.settings.batch :]
        return batch.to(self.shifts_px.device)

    def _random_start(self) -> Float[Tensor, "v 3"]:
        """Sums of one batch at random poses."""
        rows = self._next_batch()
        device = rows.device
        matched, weight = self.images.matched(rows, len(self.kxy))
        shift = self.shifts_px[torch.randint(len(self.shifts_px), (len(rows),), generator=self.generator).to(device)]
        images = ImageRows.build(matched, weight, shift_phases(shift, self.kxy, self.images.disc.box)[:, None])
        rotations = random_rotations(len(rows), self.generator).to(device)
        values = images.rows.view(len(rows), -1, 2)
        return symmetrise(backproject(values, weight, self.grid, rotations, self.kxy), self.grid) / len(rows)

    def _expectation(self, rows: Int64[Tensor, " b"], radius: float) -> tuple[Float[Tensor, "v 3"], float]:
        """Posterior-weighted sums of a batch, per image, and the mean log marginal."""
        k = self.images.disc.count(radius)
        dtype = product_dtype(rows.device)
        slices = self.operator.slices(raster(self.volume(), self.grid))
        columns = SliceColumns.build(slices[:, :k], dtype)
        numerator = slices.new_zeros(*slices.shape)
        denominator = slices.new_zeros(*slices.shape[:2])
        total = 0.0
        visited = self.shift_probability[rows].sum(1) > 0
        for group in (rows[visited], rows[~visited]):
            step = images_per_block(len(self.shifts_px), len(self.rotations), 1 << 27)
            for block in group.split(step) if len(group) else ():
                matched, weight = self.images.matched(block, k)
                which = self._shift_candidates(block)
                prior = torch.full(which.shape, -math.log(len(self.shifts_px)), device=rows.device)
                images = ImageRows.build(matched, weight, self.phases[which, :k], prior)
                posterior = posterior_of(images, columns)
                add_numerator, add_denominator = expected_sums(posterior, images)
                numerator[:, :k] += add_numerator
                denominator[:, :k] += add_denominator
                total += float(posterior.log_marginal.sum())
                self._remember_shifts(block, which, posterior)
        sums = self.operator.backproject(numerator, denominator) / len(rows)
        return sums, total / len(rows)

    def _shift_candidates(self, block: Int64[Tensor, " b"]) -> Int64[Tensor, "b t"]:
        """All shifts at an image's first visit, its likeliest ones later."""
        known = self.shift_probability[block]
        if bool(known[0].sum() == 0):
            return torch.arange(len(self.shifts_px), device=block.device).expand(len(block), -1)
        return known.topk(min(self.settings.kept_shifts, known.shape[1]), dim=1).indices

    def _remember_shifts(self, block: Int64[Tensor, " b"], which: Int64[Tensor, "b t"], posterior: Posterior) -> None:
        marginal = posterior.probability.float().sum(2)
        if which.shape[1] == len(self.shifts_px):
            self.shift_probability[block] = marginal
        else:
            self.shift_probability[block] = (0.7 * self.shift_probability[block]).scatter_add_(1, which, 0.3 * marginal)
