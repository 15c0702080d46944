"""Scores of rotations that are each image's own: the children of the poses that a coarser level has kept.

They are sliced for that image alone (Zhong et al. 2021, §3.2), and the shifts about a candidate are the same for all: one product
of (images and rotations × k) by (k × shifts).
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.inference.exhaustive import Candidates, join
from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.reference import AbstractReference
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.blocks import at_once

POINTS_PER_BLOCK = 1 << 17  # slice points held at a time


def score_children(
    images: AbstractImages,
    rows: Int64[Tensor, " n"],
    reference: AbstractReference,
    rotation: Float[Tensor, "n c m 3 3"],
    centre_px: Float[Tensor, "n c 2"],
    move_px: Float[Tensor, "t 2"],
    keep: int,
) -> Candidates:
    """The `keep` best of these rotations, m children of each of an image's c candidates, each with its best shift.

    Args:
        centre_px: shifts of the candidates; their children's are centre_px + move_px.
    """
    kxy = images.disc.kxy[: images.disc.count(reference.radius)]
    step = max(1, at_once(POINTS_PER_BLOCK, kxy.device) // (rotation.shape[1] * rotation.shape[2] * len(kxy)))
    parts = []
    for b0 in range(0, len(rows), step):
        block = slice(b0, b0 + step)
        matched, weight = images.matched(rows[block], len(kxy))
        parts.append(_score_block(images, matched, weight, reference, kxy, rotation[block], centre_px[block], move_px, keep))
    return join(parts)


def _score_block(
    images: AbstractImages,
    matched: Tensor,
    weight: Tensor,
    reference: AbstractReference,
    kxy: Tensor,
    rotation: Float[Tensor, "b c m 3 3"],
    centre: Float[Tensor, "b c 2"],
    move: Float[Tensor, "t 2"],
    keep: int,
) -> Candidates:
    b, c, m = rotation.shape[:3]
    slices = reference.slices(rotation.reshape(-1, 3, 3), kxy).reshape(b, c, m, -1)
    box = images.disc.box
    centred = matched[:, None] * shift_phases(centre, kxy, box)
    pairs = torch.view_as_complex(slices.unflatten(3, (-1, 2))).conj() * centred[:, :, None]  # (b c m k)
    phases = torch.view_as_real(shift_phases(-move, kxy, box)).flatten(1)  # Re (p q) = p · q*, as pairs
    cross = torch.view_as_real(pairs).flatten(3) @ phases.T  # (b c m t)
    power = (slices.unflatten(3, (-1, 2)).square().sum(-1) @ weight[:, None, :, None]).squeeze(-1)  # (b c m)
    best, at_shift = (2 * cross - power[..., None]).max(3)  # over the shifts of each rotation: (b c m)
    shift = centre[:, :, None] + move
    chosen_shift = shift.gather(2, at_shift[..., None].expand(-1, -1, -1, 2)).flatten(1, 2)
    return Candidates(best.flatten(1), rotation.flatten(1, 2), chosen_shift).best(keep)
