"""The film of a run: its map from the first random start to the end."""

from pathlib import Path

import numpy as np
import pandas as pd

from cryodrake.analysis.figures_progress import spread, stage_frames
from cryodrake.analysis.movie import Film, MovieStyle, Step
from cryodrake.errors import InputError
from cryodrake.training.stages import load_stages

AT_END = 0.4  # of the film: the last stage


def run_frames(job: Path, style: MovieStyle, step: Step = lambda done: None) -> Film:
    """The stages one after the other, all with surfaces that enclose as much; no stage is blended with the next.

    Raises:
        InputError: the job has shown no map yet.
    """
    folder = job / "figures" / "stages"
    stages = load_stages(folder)
    if not stages:
        raise InputError("no map has appeared yet", where=folder, expected="a job that has begun")
    n = style.n_frames
    shown = spread(stages, max(1, round((1 - AT_END) * n)))
    before = n - max(1, round(AT_END * n))
    sequence = [*np.linspace(0, len(shown) - 1, before, endpoint=False).astype(int).tolist(), *[len(shown) - 1] * (n - before)]
    turns_deg = [style.view_deg[0] + style.turn_deg * i / n for i in range(n)]
    frames = []
    for frame in stage_frames(shown, sequence, turns_deg, style.size_px, style.view_deg[1]):
        frames.append(frame)
        step(len(frames))
    rows = [
        (i, shown[s].name, shown[s].resolution_A, turn % 360) for i, (s, turn) in enumerate(zip(sequence, turns_deg, strict=True))
    ]
    return Film(frames, pd.DataFrame(rows, columns=["frame", "stage", "resolution_A", "turn_deg"]))
