"""All figures of a run, from what its job folder holds."""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from cryodrake.analysis.figures_curves import write_fsc, write_views
from cryodrake.analysis.figures_progress import write_film, write_panel
from cryodrake.io.job import JobFolder
from cryodrake.training.stages import load_stages


def write_figures(job: JobFolder, rotations: Float[np.ndarray, "n 3 3"] | None) -> list[Path]:
    """Writes progress.png and progress.gif, fsc.png and views.png, each where there is something to show.

    Args:
        rotations: the particles' R; None where they have no poses.

    Returns:
        The files written.
    """
    written = []
    stages = load_stages(job.figures / "stages")
    if stages:
        write_panel(job.figures / "progress.png", stages)
        write_film(job.figures / "progress.gif", stages)
        written += [job.figures / "progress.png", job.figures / "progress.gif"]
    if (job.maps / "fsc.csv").exists():
        write_fsc(job.figures / "fsc.png", pd.read_csv(job.maps / "fsc.csv"))
        written.append(job.figures / "fsc.png")
    if rotations is not None and len(rotations):
        write_views(job.figures / "views.png", rotations)
        written.append(job.figures / "views.png")
    return written
