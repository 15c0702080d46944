"""All figures of a run, from what its job folder holds, each on its own: one that fails takes no other with it."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from cryodrake.analysis.figures_curves import write_fsc, write_views
from cryodrake.analysis.figures_progress import write_film, write_panel
from cryodrake.analysis.map_folder import is_half_map, write_map_views, write_series_views
from cryodrake.io.job import JobFolder
from cryodrake.io.particles import read_particles
from cryodrake.training.stages import load_stages

MAPS = ("consensus.mrc", "field.mrc", "half1_unfil.mrc", "half2_unfil.mrc")
Drawing = Callable[[JobFolder], list[Path]]


def draw_progress(job: JobFolder) -> list[Path]:
    """progress.{png,gif,csv}: the map over the run. Like all of these: the files written, none where there is nothing to show."""
    stages = load_stages(job.figures / "stages")
    if not stages:
        return []
    write_film(job.figures / "progress.gif", stages)
    return [*write_panel(job.figures / "progress.png", stages), job.figures / "progress.gif"]


def draw_fsc(job: JobFolder) -> list[Path]:
    """fsc.{png,csv}: the half maps' agreement; with classes, that of each."""
    own = job.maps / "fsc.csv"
    if not own.exists():
        return []
    table = pd.read_csv(own)
    of_classes = sorted(job.path.glob("classes/class_[0-9][0-9]/maps/fsc.csv")) if _has_classes(job) else []
    if of_classes:  # the job's own maps are the largest class's
        curves = {f"fsc_{path.parts[-3]}": pd.read_csv(path)["fsc"] for path in of_classes}
        table = pd.DataFrame({"frequency_inv_A": table["frequency_inv_A"]} | curves)
    return write_fsc(job.figures / "fsc.png", table)


def draw_views(job: JobFolder) -> list[Path]:
    """views.{png,csv}: where the particles were seen from; not of classes, whose poses are in several frames."""
    star = job.path / "particles.star"
    if not star.exists() or _has_classes(job):
        return []
    rotations = read_particles(star, need_images=False).table.rotations
    return write_views(job.figures / "views.png", rotations) if rotations is not None and len(rotations) else []


def draw_maps(job: JobFolder) -> list[Path]:
    """view.cxc and stills beside the job's maps."""
    return write_map_views(job.maps, MAPS)


def draw_states(job: JobFolder) -> list[Path]:
    """view.cxc and stills beside the maps of states; those of classes are structures of their own and no way to morph along."""
    folder = job.maps / "states"
    states = sorted(path for path in folder.glob("state_*.mrc") if not is_half_map(path))
    if _has_classes(job):
        return write_map_views(folder, [path.name for path in states], words="Model #1 is the map of class 1, and so on.")
    return write_series_views(folder, states) if states else []


DRAWINGS: tuple[Drawing, ...] = (draw_progress, draw_fsc, draw_views, draw_maps, draw_states)


def _has_classes(job: JobFolder) -> bool:
    return (job.path / "classes.npy").exists()
