"""Exhaustive search: every rotation of a grid against every image and shift, by matrix products, in bounded memory.

Cost: N·T·Q·k floating-point operations (k half-disc points; the grid holds its own half turns, see `physics.turns`), plus some
passes over the scores. Memory: `block_bytes` for products (more on a card, see `physics.blocks`), plus the slices of one chunk of
rotations.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.inference.likelihood import ImageRows, SliceColumns, product_dtype, score_blocks, shift_phases, top_candidates
from cryodrake.inference.reference import AbstractReference
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.blocks import at_once
from cryodrake.physics.turns import TURNS, MirrorPairs, turned

BYTES_PER_SCORE = 4  # of the product, in float32 at most; scores proper are made a few images at a time
ROTATIONS_PER_CHUNK = 8192


@final
@dataclass(frozen=True, eq=False)
class Candidates:
    """The likeliest poses of each image, best first: log likelihood (with priors), rotation, shift in px as stored."""

    score: Float[Tensor, "n c"]
    rotation: Float[Tensor, "n c 3 3"]
    shift_px: Float[Tensor, "n c 2"]

    def best(self, keep: int) -> "Candidates":
        """The `keep` best of each image."""
        value, index = self.score.topk(min(keep, self.score.shape[1]), dim=1)
        return Candidates(
            value,
            self.rotation.gather(1, index[..., None, None].expand(-1, -1, 3, 3)),
            self.shift_px.gather(1, index[..., None].expand(-1, -1, 2)),
        )


def images_per_block(n_shifts: int, n_rotations: int, block_bytes: int) -> int:
    return max(1, block_bytes // (BYTES_PER_SCORE * n_shifts * min(n_rotations, ROTATIONS_PER_CHUNK)))


def search(
    images: AbstractImages,
    rows: Int64[Tensor, " n"],
    reference: AbstractReference,
    base: Float[Tensor, "m 3 3"],
    around_px: Float[Tensor, "n 2"],
    lattice_px: Float[Tensor, "t 2"],
    keep: int,
    block_bytes: int = 1 << 26,
) -> Candidates:
    """The `keep` likeliest rotations of each image, each with its likeliest shift.

    Args:
        rows: which images.
        base: these and their half turns, `turned(base)`, are the grid, with a flat prior.
        around_px, lattice_px: an image's candidate shifts are around_px[image] + lattice_px, with a flat prior.
    """
    kxy = images.disc.kxy[: images.disc.count(reference.radius)]
    pairs = MirrorPairs.of(kxy)
    n_q, t = len(TURNS) * len(base), len(lattice_px)
    step = images_per_block(t, n_q, at_once(block_bytes, kxy.device))
    box = images.disc.box
    lattice = shift_phases(lattice_px, kxy, box)[None]
    dtype = product_dtype(kxy.device)
    found: Candidates | None = None
    for part in base.split(max(1, ROTATIONS_PER_CHUNK // len(TURNS))):
        chunk = turned(part)
        prior = torch.full((len(chunk),), -math.log(n_q), device=kxy.device)
        columns = SliceColumns.build(reference.slices(part, kxy), pairs, dtype, prior)
        parts = []
        for b0 in range(0, len(rows), step):
            matched, weight = images.matched(rows[b0 : b0 + step], len(kxy))
            around = around_px[b0 : b0 + step]
            centred = matched * shift_phases(around, kxy, box)
            for block, scores in score_blocks(ImageRows.build(centred, weight, lattice), columns):
                value, shift, rotation = top_candidates(scores, keep)
                parts.append(Candidates(value, chunk[rotation], around[block, None] + lattice_px[shift]))
        here = join(parts)
        found = here if found is None else _merge(found, here, keep)
    assert found is not None
    return found


def join(parts: list[Candidates]) -> Candidates:
    """Blocks of images, one after another."""
    return Candidates(
        torch.cat([p.score for p in parts]), torch.cat([p.rotation for p in parts]), torch.cat([p.shift_px for p in parts])
    )


def _merge(a: Candidates, b: Candidates, keep: int) -> Candidates:
    """The best of two chunks of rotations, for the same images."""
    return Candidates(
        torch.cat([a.score, b.score], dim=1), torch.cat([a.rotation, b.rotation], dim=1), torch.cat([a.shift_px, b.shift_px], dim=1)
    ).best(keep)
