"""A run's numbers over its time, from events.jsonl."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

OF_CLASS = re.compile(r"class (\d{2,}) ")  # as the phases of a class's job begin in the records of the whole (`PartReporter`)
CURVES = {"resolution_A": "resolution (Å)", "mean_pose_change_deg": "pose change (°)", "confident_share": "confident share"}


@dataclass(frozen=True, eq=False)
class Curve:
    """A number over time, in minutes since the run began (a pause before a resume is not cut out)."""

    minutes: Float[np.ndarray, " m"]
    values: Float[np.ndarray, " m"]


def run_curves(events: Sequence[dict[str, Any]], name: str) -> dict[str, dict[str, Curve]]:
    """Those of `CURVES` that the run has told, under its name; those of its classes apart, as "NAME, class 1" and so on."""
    points: dict[str, dict[str, list[tuple[float, float]]]] = {}
    began = events[0]["time"] if events else 0.0
    whose = name
    for event in events:
        if event.get("event") == "phase":
            of_class = OF_CLASS.match(str(event["name"]))
            whose = f"{name}, class {int(of_class[1])}" if of_class else name
        for curve in CURVES:
            if isinstance(event.get(curve), int | float):
                points.setdefault(whose, {}).setdefault(curve, []).append(((event["time"] - began) / 60, event[curve]))
    return {
        whose: {curve: Curve(*np.array(told[curve], dtype=np.float64).T) for curve in CURVES if curve in told}
        for whose, told in points.items()
    }


def phases(events: Sequence[dict[str, Any]]) -> list[tuple[float, str, str]]:
    """(minutes since the run began, name, what it does) of each phase."""
    began = events[0]["time"] if events else 0.0
    return [((e["time"] - began) / 60, e["name"], e["words"]) for e in events if e.get("event") == "phase"]


def seconds_taken(events: Sequence[dict[str, Any]]) -> float:
    """From the first event to the last."""
    return float(events[-1]["time"] - events[0]["time"]) if events else 0.0
