"""The published search: all of a coarse grid, then the eight best rotations cut into eight children each, level by level.

Shifts are the first lattice at half its size about each candidate's, then at a quarter, and so on. Nothing of the image's present
pose is used. Hard choices: what a coarse level drops stays dropped.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.inference import exhaustive
from cryodrake.inference.exhaustive import Candidates
from cryodrake.inference.hierarchy import score_children
from cryodrake.inference.reference import AbstractReference
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.grids import base_rotations, index_of, nearest_children, rotations_of, spacing_deg, square_shifts
from cryodrake.physics.rotations import geodesic_deg
from cryodrake.training.cryodrgn2.schedule import Schedule


def search_poses(
    images: AbstractImages,
    rows: Int64[Tensor, " n"],
    reference_to: Callable[[float], AbstractReference],
    radii: list[float],
    schedule: Schedule,
) -> Candidates:
    """The `schedule.keep` best poses of each image at the last level, best first.

    Args:
        reference_to: the map's slices up to a radius, cycles per box.
        radii: of the levels, the first grid's first.
    """
    device, box, order = rows.device, images.disc.box, schedule.grid_order
    extent_px = schedule.shift_extent * box
    moves_px = square_shifts(extent_px, schedule.shifts_a_side).to(device)
    grid, nowhere = base_rotations(order, device), torch.zeros(len(rows), 2, device=device)
    found = exhaustive.search(images, rows, reference_to(radii[0]), grid, nowhere, moves_px, schedule.keep)
    for radius in radii[1:]:
        rotation, order, moves_px = children_of(order, found.rotation), order + 1, moves_px / 2
        found = score_children(images, rows, reference_to(radius), rotation, found.shift_px, moves_px, schedule.keep)
    return found


def children_of(order: int, rotation: Float[Tensor, "n c 3 3"]) -> Float[Tensor, "n c 8 3 3"]:
    """The eight nearest of the finer grid within the cells that hold these rotations of the grid of `order`."""
    n, c = rotation.shape[:2]
    kids = nearest_children(order, index_of(order, rotation).flatten())
    return rotations_of(order + 1, kids.flatten()).view(n, c, 8, 3, 3)


def share_of_best(found: Candidates, schedule: Schedule) -> Float[Tensor, " n"]:
    """Likelihood of the best pose and of those within a cell of the first grid of it, over that of all that were kept.

    Noise is taken to be white, of the images' own variance: no more than a hint.
    """
    probability = found.score.softmax(1)
    best = found.rotation[:, :1].expand_as(found.rotation)
    near = geodesic_deg(best, found.rotation) < spacing_deg(schedule.grid_order)
    return (probability * near).sum(1)
