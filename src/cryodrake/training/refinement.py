"""Refinement of two half sets, each against its own map: poses, maps, noise, resolution, in turn.

Each half is searched only against the map made of its own images, so their FSC is honest (Scheres & Chen 2012, Nat.
Methods 9, 853).
The radius of the next search follows the FSC. Global passes search the whole 15° grid again, so that an image in a wrong
basin gets out; local ones polish.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.inference import exhaustive, hierarchy, local
from cryodrake.inference.exhaustive import RIVAL_DEG, Candidates
from cryodrake.inference.reconstruct import accumulate, solve
from cryodrake.inference.reference import Reference
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.fourier import coeff_to_volume, volume_to_coeff
from cryodrake.physics.fsc import crossing_shell, fsc, shell_index
from cryodrake.physics.grids import all_rotations, shift_grid, spacing_deg
from cryodrake.physics.masks import sphere
from cryodrake.physics.rotations import geodesic_deg
from cryodrake.physics.slices import BallGrid

GRID_ORDER = 2
COARSE_RADIUS = 12.0  # of the exhaustive pass: finer detail than a 15° grid can follow only adds noise
KEPT = (4, 8, 16, 32)  # candidates that are subdivided, as many as the image needs
MARGIN = 12.0  # log likelihood by which a candidate of the coarse grid may be behind
INFORMATIVE = 0.95  # share of the information on orientations that a search uses
HOPELESS = 25.0  # a rival this much less likely before polishing will not win


@dataclass(frozen=True, eq=False)
class Poses:
    """Poses of n images with the probability of their basin and the error that the curvature promises."""

    rotation: Float[Tensor, "n 3 3"]
    shift_px: Float[Tensor, "n 2"]
    confidence: Float[Tensor, " n"]
    sigma_deg: Float[Tensor, " n"]

    @staticmethod
    def empty(n: int, device: torch.device) -> "Poses":
        return Poses(
            torch.zeros(n, 3, 3, device=device),
            torch.zeros(n, 2, device=device),
            torch.zeros(n, device=device),
            torch.zeros(n, device=device),
        )

    def put(self, members: Int64[Tensor, " m"], poses: "Poses") -> None:
        """Writes the poses of some images."""
        self.rotation[members], self.shift_px[members] = poses.rotation, poses.shift_px
        self.confidence[members], self.sigma_deg[members] = poses.confidence, poses.sigma_deg


def global_poses(
    images: AbstractImages,
    rows: Int64[Tensor, " n"],
    volume: Float[Tensor, "d d d"],
    radius: float,
    around_px: Float[Tensor, "n 2"],
    extent_px: float,
    step_px: float,
) -> Poses:
    """Whole grid, two subdivisions with the radius marching, then the best few polished.

    An image keeps the candidates that are within MARGIN of its best: few where the data are clear, many where they are faint.
    """
    coarse_radius = min(radius, COARSE_RADIUS)
    grid = all_rotations(GRID_ORDER, volume.device)
    lattice = shift_grid(extent_px, step_px).to(volume.device)
    coarse = Reference.build(volume, coarse_radius)
    found = exhaustive.search(images, rows, coarse, grid, around_px, lattice, KEPT[-1])
    needed = (found.score > found.score[:, :1] - MARGIN).sum(1)
    levels = [Reference.build(volume, coarse_radius + (radius - coarse_radius) * level / 2) for level in (1, 2)]
    result = Poses.empty(len(rows), rows.device)
    for fewest, most in pairwise((0, *KEPT)):
        members = torch.nonzero((needed > fewest) & (needed <= most)).squeeze(1)
        if len(members):
            result.put(members, _descend(images, rows[members], levels, found.select(members).best(most), step_px))
    return result


def _descend(images: AbstractImages, rows: Tensor, levels: list[Reference], found: Candidates, step_px: float) -> Poses:
    """Candidates of the coarse grid, cut twice and polished."""
    angle_deg = spacing_deg(GRID_ORDER)
    keep = found.score.shape[1]
    for reference in levels:
        found = hierarchy.subdivide(images, rows, reference, found, angle_deg, step_px, keep)
        angle_deg, step_px, keep = angle_deg / 2, step_px / 2, max(KEPT[0], keep // 2)
    return _polish_rivals(images, rows, levels[-1], found, angle_deg)


def _polish_rivals(images: AbstractImages, rows: Tensor, reference: Reference, found: Candidates, angle_deg: float) -> Poses:
    """The best candidate and the best one in another basin, both polished; confidence weighs one against the other."""
    apart = geodesic_deg(found.rotation[:, :1].expand_as(found.rotation), found.rotation) > RIVAL_DEG / 2
    rival_score, rival = torch.where(apart, found.score, -torch.inf).max(1)
    first = local.refine(images, rows, reference, found.rotation[:, 0], found.shift_px[:, 0])
    rotation, shift_px, score, sigma = first.rotation, first.shift_px, first.score, first.sigma_deg
    confidence = torch.ones_like(score)
    close = torch.nonzero(found.score[:, 0] - rival_score < HOPELESS).squeeze(1)
    if len(close):
        pick = rival[close]
        other = local.refine(images, rows[close], reference, found.rotation[close, pick], found.shift_px[close, pick])
        gap = (score[close] - other.score).abs()
        same = geodesic_deg(rotation[close], other.rotation) < angle_deg
        confidence[close] = torch.where(same, torch.ones_like(gap), torch.sigmoid(gap))
        won = close[other.score > score[close]]
        kept = other.score > score[close]
        rotation[won], shift_px[won], sigma[won] = other.rotation[kept], other.shift_px[kept], other.sigma_deg[kept]
    return Poses(rotation, shift_px, confidence, sigma)


def local_poses(
    images: AbstractImages,
    rows: Int64[Tensor, " n"],
    volume: Float[Tensor, "d d d"],
    radius: float,
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    confidence: Float[Tensor, " n"],
) -> Poses:
    """Polish from where the images are."""
    found = local.refine(images, rows, Reference.build(volume, radius), rotation, shift_px)
    return Poses(found.rotation, found.shift_px, confidence, found.sigma_deg)


@dataclass(frozen=True, eq=False)
class HalfMaps:
    """What the half sets agree on. raw (2 d d d) unfiltered; filtered and masked ones are the next references.

    sums (2 v 3) are the sufficient statistics on `grid`.
    """

    raw: Float[Tensor, "2 d d d"]
    references: Float[Tensor, "2 d d d"]
    fsc: Float[Tensor, " s"]
    sums: Float[Tensor, "2 v 3"]
    grid: BallGrid


def half_maps(
    images: AbstractImages,
    half: Int64[Tensor, " n"],
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    radius: float,
    particle_radius_px: float,
) -> HalfMaps:
    """Back-project each half set up to `radius`; compare under a soft sphere; filter each by its own signal-to-noise ratio."""
    box = images.disc.box
    grid = BallGrid(box, radius)
    sums = torch.stack(
        [accumulate(images, rows := torch.nonzero(half == h).squeeze(1), rotation[rows], shift_px[rows], grid) for h in (1, 2)]
    )
    raw = torch.stack([solve(s, grid) for s in sums])
    mask = solvent_mask(box, particle_radius_px, raw.device)
    flat = torch.stack([flatten_solvent(v, mask) for v in raw])
    curve = fsc(flat[0], flat[1])
    curve[math.ceil(radius) :] = 0
    filtered = torch.stack([apply_filter(v, curve.clamp(min=0)) for v in flat])
    return HalfMaps(raw, filtered, curve, sums, grid)


def solvent_mask(box: int, particle_radius_px: float, device: torch.device) -> Float[Tensor, "d d d"]:
    return sphere(box, particle_radius_px, 3.0 * box / 64, device)


def flatten_solvent(volume: Float[Tensor, "d d d"], mask: Float[Tensor, "d d d"]) -> Float[Tensor, "d d d"]:
    """The mean outside the mask, which images do not tell, set to zero, and the outside removed."""
    outside = 1 - mask
    return (volume - (volume * outside).sum() / outside.sum().clamp(min=1)) * mask


def apply_filter(volume: Float[Tensor, "d d d"], curve: Float[Tensor, " s"]) -> Float[Tensor, "d d d"]:
    """Multiply each shell by curve[shell]: with an FSC, the Wiener filter of a half map."""
    box = volume.shape[-1]
    shell = shell_index(box, volume.device).clamp(max=box // 2)
    return coeff_to_volume(volume_to_coeff(volume) * curve[shell])


def next_radius(curve: Float[Tensor, " s"], reference: Float[Tensor, "d d d"], noise: Float[Tensor, "g s"], radius: float) -> float:
    """Radius of the next search: where the FSC falls below 0.3, at most half as far again as now, and not beyond INFORMATIVE.

    A turn by ω moves the point k by |k|ω, so a shell tells about orientations in proportion to |k|²·(signal/noise)·(points). Shells
    that add little to the sum cost as much as the others.
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
    seen = crossing_shell(curve, 0.3) + 1.0
    return float(max(min(seen, radius * 1.5, box / 2, enough), 8.0))
