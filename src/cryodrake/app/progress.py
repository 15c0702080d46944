"""A run on the screen: a live line with rich on a terminal, short plain lines when piped. Everything goes to stderr."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import numpy as np
from jaxtyping import Float
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from cryodrake.training.events import AbstractReporter

SECONDS_BETWEEN_LINES = 15.0


class PhaseClock:
    """What is behind us of a phase, in words."""

    def __init__(self, total: int, words: str):
        self.total, self.words = total, words
        self.began, self.particles = time.monotonic(), 0.0
        self.metrics: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def step(self, metrics: dict[str, float]) -> None:
        self.particles += metrics.get("particles", 0)
        self.metrics |= metrics

    def metric_words(self) -> str:
        """Such as `4,512 particles/s · 12.3 Å · 81 % confident · poses moved 2.1°`; what is not known is left out."""
        parts = []
        if self.particles:
            parts.append(f"{self.particles / max(self.seconds, 1e-3):,.0f} particles/s")
        if "resolution_A" in self.metrics:
            parts.append(f"{self.metrics['resolution_A']:.1f} Å")
        if "confident_share" in self.metrics:
            parts.append(f"{100 * self.metrics['confident_share']:.0f} % confident")
        if "mean_pose_change_deg" in self.metrics:
            parts.append(f"poses moved {self.metrics['mean_pose_change_deg']:.1f}°")
        return " · ".join(parts)

    def closing_words(self) -> str:
        return " · ".join(filter(None, [f"{self.words}: {self.seconds:.0f} s", self.metric_words()]))


@contextmanager
def open_screen() -> Iterator[AbstractReporter]:
    """The screen that fits stderr. Screens never ask to stop."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield PlainScreen(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.percentage:>3.0f} %"))
    rest = (TimeRemainingColumn(compact=True), TextColumn("{task.fields[metrics]}"))
    with Progress(*columns, *rest, console=console, transient=True) as progress:
        yield RichScreen(progress)


@final
class PlainScreen(AbstractReporter):
    """A line at a phase's beginning and end, and one every 15 s."""

    def __init__(self, console: Console):
        self._console, self._clock, self._said = console, PhaseClock(0, ""), 0.0
        self._began, self._is_closed = time.monotonic(), False

    def _line(self, text: str) -> None:
        self._said = time.monotonic()
        self._console.print(f"[{self._said - self._began:5.0f} s] {text}", markup=False, highlight=False, soft_wrap=True)

    def phase(self, name: str, total: int, words: str) -> None:
        self._clock, self._is_closed = PhaseClock(total, words), False
        self._line(words)

    def step(self, done: int, **metrics: float) -> None:
        self._clock.step(metrics)
        if done >= self._clock.total:
            if not self._is_closed:
                self._line(self._clock.closing_words())
            self._is_closed = True
        elif time.monotonic() - self._said > SECONDS_BETWEEN_LINES:
            left = self._clock.seconds * (self._clock.total - done) / max(done, 1)
            self._line(f"{100 * done / self._clock.total:.0f} %, {left:.0f} s left · {self._clock.metric_words()}")

    def stage(self, name: str, volume: Float[np.ndarray, "d d d"], pixel_size_A: float, resolution_A: float | None) -> None:
        """Stages are figures, not text."""

    def warn(self, text: str) -> None:
        self._line(f"warning: {text}")

    def finish(self, converged: bool | None, verdict: str, **numbers: Any) -> None:
        self._line(verdict)

    def should_stop(self) -> bool:
        return False


@final
class RichScreen(AbstractReporter):
    """The phase at work as a live line; finished phases, warnings and the verdict above it."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self._task: TaskID | None = None
        self._clock = PhaseClock(0, "")

    def _line(self, text: str, style: str = "") -> None:
        self._progress.console.print(Text(text, style))  # a style given to print would colour the live line too

    def _close_phase(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
            self._progress.refresh()
            self._line(f"✓ {self._clock.closing_words()}", "dim")

    def phase(self, name: str, total: int, words: str) -> None:
        self._close_phase()
        self._clock = PhaseClock(total, words)
        self._task = self._progress.add_task(words, total=total, metrics="")

    def step(self, done: int, **metrics: float) -> None:
        self._clock.step(metrics)
        if self._task is not None:
            self._progress.update(self._task, completed=done, metrics=self._clock.metric_words())

    def stage(self, name: str, volume: Float[np.ndarray, "d d d"], pixel_size_A: float, resolution_A: float | None) -> None:
        """Stages are figures, not text."""

    def warn(self, text: str) -> None:
        self._line(f"warning: {text}", "yellow")

    def finish(self, converged: bool | None, verdict: str, **numbers: Any) -> None:
        self._close_phase()
        self._line(verdict, "bold yellow" if converged is False else "bold")

    def should_stop(self) -> bool:
        return False
