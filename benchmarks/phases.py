"""Where a run's seconds went: its phases, from events.jsonl; one that a run repeats counts once, with its median."""

import re
import statistics
from collections import defaultdict
from itertools import pairwise

from cryodrake.io.job import JobFolder


def seconds_by_phase(job: JobFolder) -> dict[str, float]:
    """By the phases' names without their numbers; passes of refinement by what they searched."""
    events = [event for event in job.events() if event["event"] in ("phase", "verdict")]
    taken: dict[str, list[float]] = defaultdict(list)
    for event, following in pairwise(events):
        kind = re.findall(r"(.*?)\s*\d*$", event.get("name", ""))[0]
        kind = kind.replace("refine", "global pass" if "searching all" in event.get("words", "") else "local pass")
        taken[kind].append(following["time"] - event["time"])
    return {kind: statistics.median(seconds) for kind, seconds in taken.items()}


def running_seconds(job: JobFolder) -> float:
    """From the first phase to the verdict: the rest of a command is starting and drawing."""
    times = [event["time"] for event in job.events() if event["event"] in ("phase", "verdict")]
    return times[-1] - times[0]
