"""How a run tells what it does, and learns that it shall stop.

A run speaks to an `AbstractReporter` and knows nothing of screens and files. `JobReporter` keeps the job folder's
status.json, events.jsonl, log.txt and stage volumes, and passes everything on to a screen. The names of metrics with a
meaning everywhere: `particles` (images handled since the last step), `resolution_A`, `confident_share` (0 to 1) and
`mean_pose_change_deg`; a reporter shows those and keeps the others.
"""

import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import numpy as np
from jaxtyping import Float

from cryodrake.errors import JobStopped
from cryodrake.io.job import JobFolder
from cryodrake.training.stages import save_stage

SHOWN_METRICS = ("resolution_A", "confident_share", "mean_pose_change_deg")
SECONDS_BETWEEN_RECORDS = 1.0


class AbstractReporter(ABC):
    """What a run calls while it works."""

    @abstractmethod
    def phase(self, name: str, total: int, words: str) -> None:
        """A phase of `total` steps begins; `words` say to people what it does."""

    @abstractmethod
    def step(self, done: int, **metrics: float) -> None:
        """`done` of the phase's steps are behind us."""

    @abstractmethod
    def stage(self, name: str, volume: Float[np.ndarray, "d d d"], pixel_size_A: float, resolution_A: float | None) -> None:
        """The map as it is now (z, y, x). The same name again replaces the earlier map."""

    @abstractmethod
    def warn(self, text: str) -> None:
        """Something the user should know; the run goes on."""

    @abstractmethod
    def finish(self, converged: bool | None, verdict: str, **numbers: Any) -> None:
        """The run is over: whether it converged (None: there was nothing to converge), how it went in words."""

    @abstractmethod
    def should_stop(self) -> bool:
        """Whether to save a checkpoint and raise `JobStopped`. Asked wherever the run can be resumed from."""


def stop_if_asked(reporter: AbstractReporter, phase: str) -> None:
    """Raises JobStopped where that was asked for: what is lost is the work since the last checkpoint."""
    if reporter.should_stop():
        raise JobStopped(f"stopped in phase {phase}")


class StopRequest:
    """A wish to stop: by SIGINT, by SIGTERM, or because the time is up. A second signal does not wait."""

    def __init__(self, max_minutes: float | None = None):
        self._deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        self.reason: str | None = None

    def __call__(self) -> bool:
        if self.reason is None and self._deadline is not None and time.monotonic() > self._deadline:
            self.reason = "the time is up (--max-minutes)"
        return self.reason is not None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catches the two signals within; outside a process's main thread, which Python gives them to, does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._heard) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _heard(self, number: int, frame: object) -> None:
        if self.reason is not None:
            raise KeyboardInterrupt
        self.reason = f"stopped by {signal.Signals(number).name}"


@final
class QuietReporter(AbstractReporter):
    """Says nothing and keeps everything, for tests and for runs inside other programs.

    Args:
        stop_after: ask to stop at this many-th question; None: never.
    """

    def __init__(self, stop_after: int | None = None):
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._questions_left = stop_after

    def phase(self, name: str, total: int, words: str) -> None:
        self.events.append(("phase", {"name": name, "total": total, "words": words}))

    def step(self, done: int, **metrics: float) -> None:
        self.events.append(("step", {"done": done} | metrics))

    def stage(self, name: str, volume: Float[np.ndarray, "d d d"], pixel_size_A: float, resolution_A: float | None) -> None:
        self.events.append(("stage", {"name": name, "volume": volume, "resolution_A": resolution_A}))

    def warn(self, text: str) -> None:
        self.events.append(("warning", {"text": text}))

    def finish(self, converged: bool | None, verdict: str, **numbers: Any) -> None:
        self.events.append(("verdict", {"converged": converged, "verdict": verdict} | numbers))

    def should_stop(self) -> bool:
        if self._questions_left is None:
            return False
        self._questions_left -= 1
        return self._questions_left < 0


@final
class JobReporter(AbstractReporter):
    """Keeps a job's records and passes everything on to a screen.

    Steps are recorded once a second at most, and the last of a phase always.
    """

    def __init__(self, job: JobFolder, stop: StopRequest, screen: AbstractReporter):
        self.job, self.screen, self._stop = job, screen, stop
        self._total, self._phase_began, self._recorded = 0, 0.0, 0.0

    def phase(self, name: str, total: int, words: str) -> None:
        self._total, self._phase_began, self._recorded = total, time.monotonic(), 0.0
        self.job.log(f"{name}: {words}")
        self.job.event("phase", name=name, total=total, words=words)
        self.job.write_status(phase=name, progress=0.0, eta_s=None)
        self.screen.phase(name, total, words)

    def step(self, done: int, **metrics: float) -> None:
        self.screen.step(done, **metrics)
        now = time.monotonic()
        if done < self._total and now - self._recorded < SECONDS_BETWEEN_RECORDS:
            return
        self._recorded = now
        eta_s = (now - self._phase_began) * (self._total - done) / done if done > 0 else None
        self.job.event("step", done=done, **metrics)
        shown = {name: metrics[name] for name in SHOWN_METRICS if name in metrics}
        self.job.write_status(progress=done / self._total if self._total else None, eta_s=eta_s, **shown)

    def stage(self, name: str, volume: Float[np.ndarray, "d d d"], pixel_size_A: float, resolution_A: float | None) -> None:
        save_stage(self.job.figures / "stages", name, volume, pixel_size_A, resolution_A)
        self.job.event("stage", name=name, resolution_A=resolution_A)
        self.screen.stage(name, volume, pixel_size_A, resolution_A)

    def warn(self, text: str) -> None:
        self.job.log(f"warning: {text}")
        self.job.event("warning", text=text)
        if text not in self.job.status["warnings"]:  # said again after a resume
            self.job.write_status(warnings=[*self.job.status["warnings"], text])
        self.screen.warn(text)

    def finish(self, converged: bool | None, verdict: str, **numbers: Any) -> None:
        """Records the verdict; the state becomes "finished" only when the command has written all its files."""
        self.job.log(verdict)
        self.job.event("verdict", converged=converged, verdict=verdict, **numbers)
        shown = {name: numbers[name] for name in SHOWN_METRICS if name in numbers}
        self.job.write_status(converged=converged, verdict=verdict, progress=1.0, eta_s=0.0, **shown)
        self.screen.finish(converged, verdict, **numbers)

    def should_stop(self) -> bool:
        return self._stop() or self.screen.should_stop()
