"""Which images are searched for all poses again, and on what grid."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from cryodrake.inference.source import AbstractImages
from cryodrake.training.refinement import Grid, search_radius, thoroughness
from cryodrake.training.state import RunState

SURE = 0.9
SURPRISING = -2.0  # standard deviations: an image that holds so much less of the map than others do is searched again
MANY_MISFITS = 0.03  # of the images, beyond as many as hold surprisingly much of it: runs on one structure stay below 0.02
TWO_KINDS = 0.45  # bimodality: of images of one structure 0.32 to 0.35, as of a normal distribution; of a flat one 0.56
MOVED_DEG = 15.0  # a pose that a search finds this far off was in a wrong basin
ROWS_PER_PROGRESS = 2500


def misfits(surprise: Float[Tensor, " n"]) -> Int64[Tensor, " m"]:
    """Images that hold surprisingly little of the map, where there are MANY_MISFITS; none where chance explains them."""
    rows = torch.nonzero(surprise < SURPRISING).squeeze(1)
    by_chance = int((surprise > -SURPRISING).sum())
    return rows if len(rows) - by_chance >= MANY_MISFITS * len(surprise) else rows[:0]


def are_two_kinds(surprise: Float[Tensor, " n"]) -> bool:
    """Whether images fall into two kinds by how much of the map they hold.

    A map of two structures at once fits one of them better. By Sarle's coefficient, (skewness² + 1)/kurtosis (Pfister
    et al. 2013, Front. Psychol. 4, 700).
    """
    held = surprise.clamp(2 * SURPRISING, -2 * SURPRISING).double()  # a few far off would hide the rest
    m2, m3, m4 = ((held - held.mean()).pow(power).mean() for power in (2, 3, 4))
    return bool(m3.square() + m2.pow(3) > TWO_KINDS * m4 * m2)


def is_sure(state: RunState, rows: Int64[Tensor, " m"]) -> Bool[Tensor, " m"]:
    """Which of these images need no search of all poses: none competes, and the image holds as much of the map as others do."""
    return (state.confidence[rows] > SURE) & (state.surprise[rows] > SURPRISING)


def grid(
    images: AbstractImages, state: RunState, volume: Float[Tensor, "d d d"], radius: float, share: float, cost: float, seed: int
) -> Grid:
    """Of this iteration's searches, finer where only a small share of the images is searched: they are the difficult ones.

    Args:
        radius: up to which the images hold anything of the map.
        share: of all images, that are searched.
        cost: that a finer search may have, in searches of all images.
    """
    everyone = torch.arange(len(state.half), device=volume.device)
    coarse = search_radius(images, everyone, volume, radius)
    generator = torch.Generator().manual_seed(seed * 1000 + 500 + state.iteration)
    return Grid.draw(min(radius, coarse * thoroughness(share, cost)), images.disc.box, generator, volume.device)
