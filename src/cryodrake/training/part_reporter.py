"""How a part of a run speaks through the whole: the same words with the part's name before them."""

from typing import Any, final

import numpy as np
from jaxtyping import Float

from cryodrake.training.events import AbstractReporter


@final
class PartReporter(AbstractReporter):
    """Passes on what a part says; the part's verdict is the part's own."""

    def __init__(self, whole: AbstractReporter, name: str):
        self.whole, self.name = whole, name

    def phase(self, name: str, total: int, words: str) -> None:
        self.whole.phase(f"{self.name} {name}", total, f"{self.name}: {words}")

    def step(self, done: int, **metrics: float) -> None:
        self.whole.step(done, **metrics)

    def stage(self, name: str, volume: Float[np.ndarray, "d d d"], pixel_size_A: float, resolution_A: float | None) -> None:
        self.whole.stage(f"{self.name} {name}", volume, pixel_size_A, resolution_A)

    def warn(self, text: str) -> None:
        self.whole.warn(f"{self.name}: {text}")

    def finish(self, converged: bool | None, verdict: str, **numbers: Any) -> None:
        pass

    def should_stop(self) -> bool:
        return self.whole.should_stop()
