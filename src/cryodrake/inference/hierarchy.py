"""Coarse to fine: each kept pose is cut into 8 rotations and 4 shifts, level by level, on nested grids.

A level halves the rotation and shift spacing; radius marches along. Children of an image's own candidates are sliced for that image
alone, so the products are batched: (shifts × k) by (k × rotations) per image. cryoDRGN2 (Zhong et al. 2021, §3.2) does the
same with four levels from 15° to 0.94°.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.inference.exhaustive import Candidates, join
from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.reference import AbstractReference
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.rotations import axis_angle_to_matrix

POINTS_PER_BLOCK = 1 << 17  # slice points held at a time


def rotation_offsets(spacing_deg: float) -> Float[Tensor, "8 3 3"]:
    """Left factors that cut a cell of `spacing_deg` in eight: ± a quarter of the spacing about each axis of the image frame."""
    quarter = torch.deg2rad(torch.tensor(spacing_deg)) / 4
    signs = torch.tensor([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
    return axis_angle_to_matrix(signs * quarter)


def shift_offsets(step_px: float) -> Float[Tensor, "4 2"]:
    """Offsets that cut a square cell of `step_px` in four."""
    return torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]) * step_px / 4


def subdivide(
    images: AbstractImages,
    rows: Int64[Tensor, " n"],
    reference: AbstractReference,
    candidates: Candidates,
    spacing_deg: float,
    step_px: float,
    keep: int,
) -> Candidates:
    """Cuts every candidate's cell of spacing_deg and step_px, scores the children at the reference's radius, keeps the best."""
    device = candidates.rotation.device
    turn, move = rotation_offsets(spacing_deg).to(device), shift_offsets(step_px).to(device)
    rotation = turn @ candidates.rotation[:, :, None]
    return score_children(images, rows, reference, rotation, candidates.shift_px, move, keep)


def score_children(
    images: AbstractImages,
    rows: Int64[Tensor, " n"],
    reference: AbstractReference,
    rotation: Float[Tensor, "n c 8 3 3"],
    centre_px: Float[Tensor, "n c 2"],
    move_px: Float[Tensor, "4 2"],
    keep: int,
) -> Candidates:
    """The `keep` best of these rotations, the children of c candidates of each image, each with its best shift.

    Args:
        centre_px: shifts of the candidates; their children's are centre_px + move_px.
    """
    kxy = images.disc.kxy[: images.disc.count(reference.radius)]
    step = max(1, POINTS_PER_BLOCK // (8 * rotation.shape[1] * len(kxy)))
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
    rotation: Float[Tensor, "b c 8 3 3"],
    centre: Float[Tensor, "b c 2"],
    move: Float[Tensor, "4 2"],
    keep: int,
) -> Candidates:
    b, c = rotation.shape[:2]
    slices = reference.slices(rotation.reshape(-1, 3, 3), kxy).reshape(b, c, 8, -1)
    box = images.disc.box
    moved = (matched[:, None] * shift_phases(centre, kxy, box))[:, :, None] * shift_phases(move, kxy, box)
    cross = torch.view_as_real(moved).flatten(3) @ slices.transpose(2, 3)  # (b c 4 8)
    power = (slices.unflatten(3, (-1, 2)).square().sum(-1) @ weight[:, None, :, None]).squeeze(-1)  # (b c 8)
    score = 2 * cross - power[:, :, None]
    best, at_shift = score.max(2)  # over the shifts of each rotation: (b c 8)
    shift = centre[:, :, None] + move
    chosen_shift = shift.gather(2, at_shift[..., None].expand(-1, -1, -1, 2)).flatten(1, 2)
    return Candidates(best.flatten(1), rotation.flatten(1, 2), chosen_shift).best(keep)
