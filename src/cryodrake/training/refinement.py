"""Refinement of two half sets, each against its own map: poses, maps, noise, resolution, in turn.

Each half is searched only against the map made of its own images, so their FSC is honest (Scheres & Chen 2012, Nat.
Methods 9, 853). Nor does an image see itself: each half is cut into folds, and the images of a fold are searched against the map of
the half's others. An image's own noise, in the map at the image's present pose, would otherwise hold it there: at 64 px and
2500 images to a half by some 30 units of log likelihood, more than what tells basins apart in faint data (docs/log.md).
The radius of the next search follows the FSC. Global passes search all orientations again, so that an image in a wrong
basin gets out; local ones polish.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.inference import exhaustive, local
from cryodrake.inference.basins import Basins, Poses
from cryodrake.inference.reconstruct import accumulate, solve
from cryodrake.inference.reference import Reference
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.fourier import volume_to_coeff
from cryodrake.physics.fsc import crossing_shell, fsc, shell_index
from cryodrake.physics.grids import ring_base, shift_grid
from cryodrake.physics.rotations import random_rotations
from cryodrake.training.local_filter import apply_local, band_noise, local_weights
from cryodrake.training.solvent import apply_filter, flatten_solvent, fsc_of_part, particle_mask, solvent_mask

FOLDS = 4
COARSEST_RADIUS = (9.0, 14.0)  # least and most of the exhaustive pass: its cost grows with the fifth power
ENOUGH = 75.0  # log likelihood of an image's signal that tells basins apart
THOROUGH = 1.4  # how much finer than that it may be where it is for a few images
COARSEST_DEG = 15.0
STEP_AT_EDGE = 2.4  # cycles per box between neighbouring views at the search's radius
SHIFT_EXTENT = 0.1  # of the box: the largest shift that is searched
NEAR_EXTENT = 0.065  # of the box: the same about a shift that is known, if it is right
SHIFT_STEP = 1 / 32  # of the box
KEPT = 64  # rotations of the grid that an image's basins are chosen from
BASINS = 12
APART = 1.3  # basins lie at least this many grid spacings from each other
MARGIN, MARGIN_SHARE = 6.0, 0.4  # a basin may seem this much, and this share of the best one's score, worse than it is
COARSE_ITERATIONS = 3
HOPELESS = 8.0  # log likelihood by which a basin that has been climbed may be behind before finer detail is looked at
GREATEST_STEP = 2.0  # factor by which the radius may grow from one pass to the next
INFORMATIVE = 0.95  # share of the information on orientations that a search uses


def search_radius(images: AbstractImages, rows: Int64[Tensor, " n"], volume: Float[Tensor, "d d d"], radius: float) -> float:
    """The smallest radius up to which an image of this map holds ENOUGH signal, in log likelihood, to tell basins apart."""
    highest = min(radius, COARSEST_RADIUS[1])
    reference = Reference.build(volume, highest)
    kxy = images.disc.kxy[: images.disc.count(highest)]
    some = rows[:: max(1, len(rows) // 100)]
    views = ring_base(60.0, volume.device)
    power = reference.slices(views, kxy).square().sum(-1).mean(0)
    signal = (images.matched(some, len(kxy))[1].mean(0) * power).cumsum(0)
    enough = int((signal < ENOUGH).sum())
    return highest if enough >= len(kxy) else max(float(kxy[enough].norm().ceil()), min(highest, COARSEST_RADIUS[0]))


def thoroughness(share: float, cost: float) -> float:
    """Factor on the search radius when a share of the images is searched: up to `cost` times that of searching all of them.

    Cost goes with the fifth power of the radius: rotations with the third, points with the second.
    """
    return min(max((cost / max(share, 1e-9)) ** 0.2, 1.0), THOROUGH)


@dataclass(frozen=True, eq=False)
class Grid:
    """Candidate poses of an exhaustive search, with a random offset: what falls between its nodes once will not do so twice.

    base, with its half turns, holds the rotations; wide_px all shifts, near_px those about a known one.
    """

    radius: float
    spacing_deg: float
    base: Float[Tensor, "m 3 3"]
    wide_px: Float[Tensor, "t 2"]
    near_px: Float[Tensor, "t2 2"]

    @classmethod
    def draw(cls, radius: float, box: int, generator: torch.Generator, device: torch.device) -> "Grid":
        spacing = min(COARSEST_DEG, math.degrees(STEP_AT_EDGE / radius))
        turn = random_rotations(1, generator)[0].to(device)
        step = SHIFT_STEP * box
        offset = (torch.rand(2, generator=generator) - 0.5) * step
        wide, near = ((shift_grid(extent * box, step) + offset).to(device) for extent in (SHIFT_EXTENT, NEAR_EXTENT))
        return cls(radius, spacing, ring_base(spacing, device) @ turn, wide, near)


def global_poses(
    images: AbstractImages,
    rows: Int64[Tensor, " n"],
    volume: Float[Tensor, "d d d"],
    radius: float,
    grid: Grid,
    known: tuple[Float[Tensor, "n 3 3"], Float[Tensor, "n 2"]] | None,
    near: bool,
    operators: Float[Tensor, "o 3 3"],
) -> Poses:
    """Every node of a grid; the few basins that may be the best climbed at the grid's radius; those still in doubt at `radius`.

    Args:
        known: rotations and shifts that compete with what is found.
        near: whether only shifts about the known ones are searched.
        operators: see `Basins.settled`.
    """
    coarse = Reference.build(volume, grid.radius)
    around = known[1] if near and known is not None else torch.zeros(len(rows), 2, device=volume.device)
    found = exhaustive.search(images, rows, coarse, grid.base, around, grid.near_px if near else grid.wide_px, KEPT)
    margin = MARGIN + MARGIN_SHARE * found.score[:, 0].clamp(min=0)
    basins = Basins.of(found, APART * grid.spacing_deg, BASINS, margin)
    if known is not None:
        basins = basins.joined(*known)
    basins = basins.polished(images, rows, coarse, COARSE_ITERATIONS)
    if radius > grid.radius:
        fine = Reference.build(volume, radius)
        for iterations in (1, local.ITERATIONS):  # most basins need no second look
            basins = basins.distinct(grid.spacing_deg / 2, HOPELESS).polished(images, rows, fine, iterations)
    return basins.settled(grid.spacing_deg, operators)


def local_poses(
    images: AbstractImages,
    rows: Int64[Tensor, " n"],
    volume: Float[Tensor, "d d d"],
    radius: float,
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
) -> local.Poses:
    """Polish from where the images are."""
    return local.refine(images, rows, Reference.build(volume, radius), rotation, shift_px)


@dataclass(frozen=True, eq=False)
class HalfMaps:
    """What the half sets agree on.

    Attributes:
        raw: unfiltered.
        fsc: under the sphere.
        inside: FSC of what is inside the particle's mask, reckoned from `fsc`.
        particle: that mask.
        sums: sufficient statistics on `grid`.
    """

    raw: Float[Tensor, "2 d d d"]
    fsc: Float[Tensor, " s"]
    inside: Float[Tensor, " s"]
    particle: Float[Tensor, "d d d"]
    sums: Float[Tensor, "2 v 3"]
    grid: BallGrid

    @classmethod
    def of(cls, sums: Float[Tensor, "2 v 3"], grid: BallGrid, particle_radius_px: float) -> "HalfMaps":
        """From the half sets' sums; under a soft sphere of `particle_radius_px`."""
        raw = torch.stack([solve(total, grid) for total in sums])
        return cls(raw, *_agreement(raw, grid.radius, particle_radius_px), sums, grid)

    @property
    def joint_fsc(self) -> Float[Tensor, " s"]:
        """What the map of both half sets has in common with the truth, squared: 2F/(1 + F) (Rosenthal & Henderson 2003)."""
        return 2 * self.inside / (1 + self.inside)

    @cached_property
    def joint_weights(self) -> Float[Tensor, "b d d d"]:
        """Share of the signal in the map of both half sets, where it is and in each band of shells."""
        bare = torch.stack([flatten_solvent(volume, self.particle) for volume in self.raw])
        return local_weights(bare.mean(0), band_noise(bare, self.particle))


def fold_labels(half: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """Half set (from 0) × FOLDS + fold: the images of each half are dealt to its folds in turn."""
    label = (half - 1) * FOLDS
    for h in (1, 2):
        members = half == h
        label[members] += torch.arange(int(members.sum()), device=half.device) % FOLDS
    return label


@dataclass(frozen=True, eq=False)
class FoldSums:
    """Back-projected sums of each fold of each half set, all that maps are made from: 2·FOLDS of them, the first half's first."""

    parts: list[Float[Tensor, "v 3"]]
    grid: BallGrid

    def of_halves(self) -> Float[Tensor, "2 v 3"]:
        """Of either half set."""
        halves = self.parts[0].new_zeros(2, *self.parts[0].shape)
        for i, part in enumerate(self.parts):
            halves[i // FOLDS] += part
        return halves


def fold_sums(
    images: AbstractImages,
    label: Int64[Tensor, " n"],
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    radius: float,
) -> FoldSums:
    """Back-project each fold up to `radius`, cycles per box; `fold_labels`, or -1 for images that are left out."""
    grid = BallGrid(images.disc.box, radius)
    members = (torch.nonzero(label == number).squeeze(1) for number in range(2 * FOLDS))
    return FoldSums([accumulate(images, rows, rotation[rows], shift_px[rows], grid) for rows in members], grid)


def half_maps(
    images: AbstractImages,
    half: Int64[Tensor, " n"],
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    radius: float,
    particle_radius_px: float,
) -> HalfMaps:
    """The maps of half sets 1 and 2 up to `radius`, cycles per box."""
    grid = BallGrid(images.disc.box, radius)
    members = (torch.nonzero(half == h).squeeze(1) for h in (1, 2))
    sums = torch.stack([accumulate(images, rows, rotation[rows], shift_px[rows], grid) for rows in members])
    return HalfMaps.of(sums, grid, particle_radius_px)


def half_references(sums: FoldSums, halves: HalfMaps) -> Float[Tensor, "2 f d d d"]:
    """Maps of each half set, each without the images of one fold: masked by the particle's shape, filtered by `halves.inside`."""
    # One difference at a time: they are large.
    maps = [apply_filter(_in_shape(halves.sums[i // FOLDS] - part, halves), halves.inside) for i, part in enumerate(sums.parts)]
    return torch.stack(maps).unflatten(0, (2, FOLDS))


def joint_reference(halves: HalfMaps, part: Float[Tensor, "v 3"]) -> Float[Tensor, "d d d"]:
    """Map of both half sets together, without the images that `part` is the sum of: for their last polish.

    It has less than half the noise of `half_references`, and is filtered by where signal is, which only both half sets together
    tell; poses found with it no longer make independent half maps.
    """
    return apply_local(_in_shape(halves.sums.sum(0) - part, halves), halves.joint_weights)


def _in_shape(sums: Float[Tensor, "v 3"], halves: HalfMaps) -> Float[Tensor, "d d d"]:
    return flatten_solvent(solve(sums, halves.grid), halves.particle)


def _agreement(
    raw: Float[Tensor, "2 d d d"], radius: float, particle_radius_px: float
) -> tuple[Float[Tensor, " s"], Float[Tensor, " s"], Float[Tensor, "d d d"]]:
    """FSC under the sphere and inside the particle, and the particle's mask."""
    sphere = solvent_mask(raw.shape[-1], particle_radius_px, raw.device)
    curve = fsc(*(flatten_solvent(v, sphere) for v in raw))
    curve[math.ceil(radius) :] = 0
    particle = particle_mask(raw, curve, sphere)
    return curve, fsc_of_part(curve, float(particle.sum() / sphere.sum())), particle


def seen_radius(curve: Float[Tensor, " s"]) -> float:
    """Radius up to which the half maps say anything: where their FSC falls below 0.3."""
    return min(crossing_shell(curve, 0.3) + 1.0, float(len(curve) - 1))


def next_radius(curve: Float[Tensor, " s"], reference: Float[Tensor, "d d d"], noise: Float[Tensor, "g s"], radius: float) -> float:
    """Radius of the next search: `seen_radius`, at most GREATEST_STEP times as far as now.

    And not beyond INFORMATIVE: a turn by ω moves the point k by |k|ω, so a shell tells about orientations in proportion to
    |k|²·(signal/noise)·(points). Shells that add little to the sum cost as much as the others.
    """
    box = reference.shape[-1]
    power = volume_to_coeff(reference).abs().square().flatten()
    shell = shell_index(box, reference.device).flatten()
    keep = shell <= box // 2
    count = torch.bincount(shell[keep])
    mean_power = torch.zeros(len(count), device=power.device).index_add_(0, shell[keep], power[keep]) / count
    k = torch.arange(box // 2 + 1, device=power.device, dtype=torch.float32)
    information = (k**3 * mean_power / noise.mean(0)).cumsum(0)
    enough = int((information < INFORMATIVE * information[-1]).sum()) + 1.0
    return float(max(min(seen_radius(curve), radius * GREATEST_STEP, enough), 8.0))
