"""Several random starts of the bootstrap; the best by marginal likelihood goes on.

Starts are run until the best one is confirmed by another that found the same likelihood, or the limit is reached: two independent
starts do not end on the same wrong map by chance.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.inference.source import AbstractImages
from cryodrake.physics.grids import shift_grid
from cryodrake.training.bootstrap import Bootstrap, BootstrapSettings

MOST_STARTS = 6
AVERAGED_STEPS = 30
SAME_LIKELIHOOD = 0.04  # relative difference of two starts' gains that counts as the same


def settings_for(n: int) -> BootstrapSettings:
    """The schedule for n images."""
    return BootstrapSettings(order=1, first_radius=6.0, last_radius=8.0, steps=120, batch=min(300, n))


def run_start(
    images: AbstractImages, n: int, extent_px: float, mask_radius: float, seed: int, tell: Callable[[int, float], None]
) -> tuple[Float[Tensor, "d d d"], dict[str, Any]]:
    """One start to its end: its map in the reduced box, and what to remember of it."""
    settings = settings_for(n)
    start = Bootstrap(images, n, settings, shift_grid(extent_px, 2.5), mask_radius, seed)
    log_marginals = []
    while not start.done:
        log_marginals.append(start.step())
        tell(start.done_steps, log_marginals[-1])
    tail = torch.tensor(log_marginals[-AVERAGED_STEPS:])
    return start.volume(), {
        "seed": seed,
        "log_marginal": float(tail.mean()),
        "standard_error": float(tail.std()) / len(tail) ** 0.5,
    }


def confirmed(starts: list[dict[str, Any]]) -> bool:
    """Whether a second start reached the best one's likelihood within their standard errors or 4 % of its gain over the worst."""
    if len(starts) < 2:
        return False
    best, second = sorted((s["log_marginal"] for s in starts), reverse=True)[:2]
    error = 2 * max(s["standard_error"] for s in starts)
    return best - second < max(error, SAME_LIKELIHOOD * abs(best))
