"""Several random starts of the bootstrap, until two agree.

Independent starts do not end on the same wrong map by chance, so agreement of two maps (after alignment over rotations, shifts
and hands) confirms both; the likelier one goes on. The first two run side by side and are compared on the way: where data are
clear they agree after a tenth of the schedule, and need no more.

Where images are faint, maps go on to improve long after the likelihood of a batch shows it. So if no two of all starts agree,
the two likeliest are continued side by side, on a finer grid, for as long as they come closer to each other. Without agreement
even then the likeliest of all goes on, and the run says so. Images of no particle end there after two starts: any particle is
likelier to be a ball than nothing, long before it has a shape.
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
from cryodrake.training.bootstrap import SCHEDULE, Bootstrap, Stage

FIRST_STARTS = 2
MOST_STARTS = 5
FIRST_COMPARED = 40  # steps to the first comparison; each later one comes after twice as many, for it takes seconds
AVERAGED_STEPS = 20
SHIFT_STEP_PX = 2.0
AGREEMENT = 0.7  # mean FSC over the shells of the maps, of starts that ran to their end
EARLY_AGREEMENT = 0.8  # the same on the way: then they may stop there
# Log marginal per image in the first FIRST_COMPARED steps: 0.3 (5000 images) to 1.6 (200) of noise alone, where a map is made of
# that noise sooner; 3.8 of the faintest particles that ended in a map (docs/log.md).
NOTHING = 2.5
# The first stage is as hot as a start's: with steps half as long, or of five times as many images, maps stay where they are.
CONTINUED = (Stage(480, 15.0, 10.0, 10.0, rate=0.3, momentum=0.8), SCHEDULE[-1])
COMPARED = 80  # steps from one comparison of those that are continued to the next
PROGRESS = 0.02  # of agreement, that two comparisons must bring


@dataclass(frozen=True, eq=False)
class Start:
    """What is kept of a start: its map in the reduced box, and its story."""

    volume: Float[Tensor, "d d d"]
    record: dict[str, Any]


@dataclass(frozen=True, eq=False)
class StartMaker:
    """What starts are made from: images, their number, shifts of at most `extent_px`, the mask's radius as a fraction of the box.

    `tell` hears (done, total, log marginal) of all steps of starts that run side by side.
    """

    images: AbstractImages
    n: int
    extent_px: float
    mask_radius: float
    tell: Callable[[int, int, float], None]

    def run(self, seeds: Sequence[int], earlier: Float[Tensor, "m d d d"]) -> tuple[list[Start], Float[Tensor, "a m2"]]:
        """Starts from random poses, until all are done or one agrees early with another or with an `earlier` map.

        Returns the starts and their agreement with earlier maps and each other (0 with themselves), m2 = m + a.
        """
        running = [Bootstrap(self.images, self.n, self._shifts_px, self.mask_radius, seed) for seed in seeds]
        compared = FIRST_COMPARED
        while True:
            self._advance(running, compared)
            same = _agreements(running, earlier)
            if all(start.done for start in running) or float(same.max()) >= EARLY_AGREEMENT:
                return [_start_of(start) for start in running], same
            compared *= 2

    def go_on(self, seeds: Sequence[int], maps: Float[Tensor, "a d d d"]) -> tuple[list[Start], Float[Tensor, "a a"]]:
        """Starts from the maps of others: until two agree early or agree no better any more, and then through the last stage."""
        running = [
            Bootstrap(
                self.images, self.n, self._shifts_px, self.mask_radius, seed, schedule=CONTINUED, volumes=volume[None].clone()
            )
            for seed, volume in zip(seeds, maps, strict=True)
        ]
        told: list[float] = []
        while not running[0].stage and not _stand_still(told):
            self._advance(running, COMPARED * (len(told) + 1))
            told.append(float(_agreements(running, maps[:0]).max()))
        for start in running:
            if not start.stage:
                start.end_stage()
        self._advance(running, running[0].total_steps)
        return [_start_of(start) for start in running], _agreements(running, maps[:0])

    @property
    def _shifts_px(self) -> Float[Tensor, "t 2"]:
        return shift_grid(self.extent_px, SHIFT_STEP_PX)

    def _advance(self, running: list[Bootstrap], steps: int) -> None:
        """Until one has made so many steps, or all are done."""
        total = sum(start.total_steps for start in running)
        while max(len(start.log_marginals) for start in running) < steps and not all(start.done for start in running):
            for start in running:
                if not start.done:
                    log_marginal = start.step()
                    self.tell(sum(len(start.log_marginals) for start in running), total, log_marginal)


def _start_of(run: Bootstrap) -> Start:
    told = torch.tensor(run.log_marginals)
    means = {"log_marginal": float(told[-AVERAGED_STEPS:].mean()), "first_log_marginal": float(told[:FIRST_COMPARED].mean())}
    record = {"seed": run.seed, **means, "steps": len(told), "agreement": 0.0}
    return Start(run.volumes[0], record)


def _stand_still(told: list[float]) -> bool:
    """Whether starts that agreed so well, one comparison after another, agree or will not."""
    return max(told, default=0.0) >= EARLY_AGREEMENT or (len(told) > 2 and max(told[-2:]) < max(told[:-2]) + PROGRESS)


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


def likeliest_two(starts: list[dict[str, Any]]) -> list[int]:
    """Which of the starts."""
    return sorted(sorted(range(len(starts)), key=lambda i: -starts[i]["log_marginal"])[:2])


def confirmed(starts: list[dict[str, Any]]) -> bool:
    """Whether the best start's map was found twice."""
    return max((start["agreement"] for start in starts), default=0.0) >= AGREEMENT


def are_of_nothing(starts: list[dict[str, Any]]) -> bool:
    """Whether their images hold hardly more than noise, so that neither more starts nor classes of them are worth their time."""
    return bool(starts) and not confirmed(starts) and all(start["first_log_marginal"] < NOTHING for start in starts)


def are_continued(starts: list[dict[str, Any]]) -> bool:
    """Whether two of them were."""
    return any(start.get("is_continued", False) for start in starts)
