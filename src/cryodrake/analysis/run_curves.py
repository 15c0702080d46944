"""A run's numbers over its time, from events.jsonl."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

CURVES = {"resolution_A": "resolution (Å)", "mean_pose_change_deg": "pose change (°)", "confident_share": "confident share"}


@dataclass(frozen=True, eq=False)
class Curve:
    """A number over time, in minutes since the run began (a pause before a resume is not cut out)."""

    minutes: Float[np.ndarray, " m"]
    values: Float[np.ndarray, " m"]


def run_curves(events: Sequence[dict[str, Any]]) -> dict[str, Curve]:
    """Those of `CURVES` that the run has told."""
    found = {}
    began = events[0]["time"] if events else 0.0
    for name in CURVES:
        points = [(e["time"] - began, e[name]) for e in events if isinstance(e.get(name), int | float)]
        if points:
            seconds, values = np.array(points, dtype=np.float64).T
            found[name] = Curve(seconds / 60, values)
    return found


def phases(events: Sequence[dict[str, Any]]) -> list[tuple[float, str, str]]:
    """(minutes since the run began, name, what it does) of each phase."""
    began = events[0]["time"] if events else 0.0
    return [((e["time"] - began) / 60, e["name"], e["words"]) for e in events if e.get("event") == "phase"]


def seconds_taken(events: Sequence[dict[str, Any]]) -> float:
    """From the first event to the last."""
    return float(events[-1]["time"] - events[0]["time"]) if events else 0.0
