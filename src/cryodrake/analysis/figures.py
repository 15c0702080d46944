"""All figures of a run, from what its job folder holds."""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from cryodrake.analysis.figures_curves import write_fsc, write_views
from cryodrake.analysis.figures_progress import write_film, write_panel
from cryodrake.analysis.map_folder import is_half_map, write_map_views, write_series_views
from cryodrake.io.job import JobFolder
from cryodrake.training.stages import load_stages

MAPS = ("consensus.mrc", "field.mrc", "half1_unfil.mrc", "half2_unfil.mrc")


def write_figures(job: JobFolder, rotations: Float[np.ndarray, "n 3 3"] | None) -> list[Path]:
    """Writes progress.{png,gif,csv}, fsc.{png,csv} and views.{png,csv}, each where there is something to show.

    Args:
        rotations: the particles' R; None where they have no poses.

    Returns:
        The files written.
    """
    written = []
    stages = load_stages(job.figures / "stages")
    if stages:
        written += write_panel(job.figures / "progress.png", stages)
        write_film(job.figures / "progress.gif", stages)
        written.append(job.figures / "progress.gif")
    if (job.maps / "fsc.csv").exists():
        written += write_fsc(job.figures / "fsc.png", pd.read_csv(job.maps / "fsc.csv"))
    if rotations is not None and len(rotations):
        written += write_views(job.figures / "views.png", rotations)
    return written


def write_views_of_maps(job: JobFolder) -> None:
    """view.cxc and stills beside the job's maps and beside those of its states."""
    write_map_views(job.maps, MAPS)
    states = sorted(path for path in (job.maps / "states").glob("state_*.mrc") if not is_half_map(path))
    if states:
        write_series_views(job.maps / "states", states)
