"""Several random starts of the bootstrap, until two agree.

Independent starts do not end on the same wrong map by chance, so agreement of two maps (after alignment over rotations, shifts
and hands) confirms both; the likelier one goes on. The first two run side by side and are compared on the way: where data are
clear they agree after a tenth of the schedule, and need no more. Without agreement the likeliest of all goes on, and the run
says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.inference.alignment import align, move, within_ball
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.fsc import fsc
from cryodrake.physics.grids import shift_grid
from cryodrake.training.bootstrap import Bootstrap

FIRST_STARTS = 2
MOST_STARTS = 5
FIRST_COMPARED = 40  # steps to the first comparison; each later one comes after twice as many, for it takes seconds
AVERAGED_STEPS = 20
SHIFT_STEP_PX = 2.0
AGREEMENT = 0.7  # mean FSC over the shells of the maps, of starts that ran to their end
EARLY_AGREEMENT = 0.8  # the same on the way: then they may stop there


@dataclass(frozen=True, eq=False)
class Start:
    """What is kept of a start: its map in the reduced box, and its story."""

    volume: Float[Tensor, "d d d"]
    record: dict[str, Any]


def run_starts(
    images: AbstractImages,
    n: int,
    extent_px: float,
    mask_radius: float,
    seeds: Sequence[int],
    earlier: Float[Tensor, "m d d d"],
    tell: Callable[[int, int, float], None],
) -> tuple[list[Start], Float[Tensor, "a m2"]]:
    """Starts side by side, until all are done or one agrees early with another or with an `earlier` map.

    `tell` hears (done, total, log marginal) of all steps. Returns the starts and their agreement with earlier maps and each other
    (0 with themselves), m2 = m + a.
    """
    lattice = shift_grid(extent_px, SHIFT_STEP_PX)
    running = [Bootstrap(images, n, lattice, mask_radius, seed) for seed in seeds]
    total = sum(start.total_steps for start in running)
    heard: list[list[float]] = [[] for _ in seeds]
    compared = FIRST_COMPARED
    while True:
        while len(max(heard, key=len)) < compared and not all(start.done for start in running):
            for start, log_marginals in zip(running, heard, strict=True):
                if not start.done:
                    log_marginals.append(start.step())
                    tell(sum(map(len, heard)), total, log_marginals[-1])
        same = _agreements(running, earlier)
        if all(start.done for start in running) or float(same.max()) >= EARLY_AGREEMENT:
            break
        compared *= 2
    starts = []
    for start, log_marginals, seed in zip(running, heard, seeds, strict=True):
        tail = torch.tensor(log_marginals[-AVERAGED_STEPS:])
        record = {"seed": seed, "log_marginal": float(tail.mean()), "steps": len(log_marginals), "agreement": 0.0}
        starts.append(Start(start.volumes[0], record))
    return starts, same


def _agreements(running: list[Bootstrap], earlier: Float[Tensor, "m d d d"]) -> Float[Tensor, "a m2"]:
    volumes = [*earlier, *(start.volumes[0] for start in running)]
    same = torch.zeros(len(running), len(volumes))
    for i, start in enumerate(running):
        for j in range(len(earlier) + i):
            same[i, j] = agreement(volumes[j], start.volumes[0], start.radius)
            if j >= len(earlier):
                same[j - len(earlier), len(earlier) + i] = same[i, j]
    return same


def agreement(a: Float[Tensor, "d d d"], b: Float[Tensor, "d d d"], radius: float) -> float:
    """Mean FSC of two starts' maps, aligned, over the shells within `radius` but the last."""
    a, b = a.cpu(), b.cpu()
    return float(fsc(within_ball(a), move(b, align(a, b)))[1 : int(radius)].mean())


def confirmed(starts: list[dict[str, Any]]) -> bool:
    """Whether the best start's map was found twice."""
    return max((start["agreement"] for start in starts), default=0.0) >= AGREEMENT
