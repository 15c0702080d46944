"""Several random starts of the bootstrap, until two agree.

Independent starts do not end on the same wrong map by chance, so agreement of two maps (after alignment over rotations, shifts and
hands) confirms both; the likelier one goes on. Without agreement the likeliest of all goes on, and the run says so.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.inference.alignment import align, move, within_ball
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.fsc import fsc
from cryodrake.physics.grids import shift_grid
from cryodrake.training.bootstrap import Bootstrap

MOST_STARTS = 5
AVERAGED_STEPS = 30
SHIFT_STEP_PX = 2.0
AGREEMENT = 0.7  # mean FSC over the shells of the start's map


def run_start(
    images: AbstractImages, n: int, extent_px: float, mask_radius: float, seed: int, tell: Callable[[int, int, float], None]
) -> tuple[Float[Tensor, "d d d"], dict[str, Any]]:
    """One start to its end: its map in the reduced box, and what to remember of it. `tell` hears (done, total, log marginal)."""
    start = Bootstrap(images, n, shift_grid(extent_px, SHIFT_STEP_PX), mask_radius, seed)
    log_marginals = []
    while not start.done:
        log_marginals.append(start.step())
        tell(len(log_marginals), start.total_steps, log_marginals[-1])
    tail = torch.tensor(log_marginals[-AVERAGED_STEPS:])
    return start.volume, {"seed": seed, "log_marginal": float(tail.mean()), "steps": len(log_marginals), "agreement": 0.0}


def agreement(a: Float[Tensor, "d d d"], b: Float[Tensor, "d d d"]) -> float:
    """Mean FSC of two starts' maps, aligned, over all their shells but the last."""
    a, b = a.cpu(), b.cpu()
    return float(fsc(within_ball(a), move(b, align(a, b)))[1:-1].mean())


def confirmed(starts: list[dict[str, Any]]) -> bool:
    """Whether the best start's map was found twice."""
    return max((start["agreement"] for start in starts), default=0.0) >= AGREEMENT
