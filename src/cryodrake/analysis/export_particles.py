"""What a job found of its particles, put into the file of its own particles or into another, such as the full-size one's.

The hand of an ab initio map is arbitrary. Flipping mirrors it, z to -z about the centre: with M = diag(1, 1, -1) the
map's value at x becomes that at M x, each R becomes M R M, and shifts stay, so the projections do not change.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from cryodrake.analysis.export_config import ExportConfig
from cryodrake.analysis.job_particles import datadir, input_rows, job_options, read_job_particles
from cryodrake.analysis.job_states import check_rows, read_array, read_classes, read_latents
from cryodrake.analysis.row_matching import matching_rows
from cryodrake.analysis.selection import read_selection
from cryodrake.errors import InputError
from cryodrake.io.particles import ParticleFile, read_particles
from cryodrake.io.table import ParticleTable, take

MIRROR = np.diag([1.0, 1.0, -1.0])


@dataclass(frozen=True, eq=False)
class Results:
    """A job's results for n particles, and where they go.

    Attributes:
        target: these particles, as the file that receives the results has them.
        table: the target's table with the job's rotations, shifts, half sets and confidences.
        rows: which row of the target's file each is; of the job's input where the target is the job's own file.
        latents, classes: None where there are none, or none are wanted.
        words: how the rows were found.
    """

    target: ParticleFile
    table: ParticleTable
    rows: Int[np.ndarray, " n"]
    latents: Float[np.ndarray, "n z"] | None
    classes: Int[np.ndarray, " n"] | None
    words: str = ""


def job_results(config: ExportConfig) -> Results:
    """Read the job, and put its results beside the particles of the target: --onto's, or the job's own .cs or .star.

    Raises:
        InputError: the job is not finished, has no poses, or its particles are not in the other file.
    """
    job, suffix = config.job, config.out.suffix
    ours = read_job_particles(job, ".cs" if suffix == ".cs" and config.onto is None else ".star")
    n = len(ours)
    if ours.table.rotations is None:
        raise InputError("the particles have no poses", where=ours.path, expected="a finished job")
    latents, classes = read_latents(job), _classes(job) if config.classes else None
    for name, values in (("latents.npy", latents), ("classes", classes)):
        if values is not None:
            check_rows(job, name, len(values), n)
    place, words = np.arange(n), ""  # of each of ours in the target
    if config.onto is None:
        target = _own(config, ours)
        rows = input_rows(job, n) if suffix == "" else place
    else:
        target = _other(config)
        named = read_job_particles(job, ".cs") if _has_uids(config) else ours
        kept = partial(input_rows, job, n) if "ind" in job_options(job) else None
        place, words = matching_rows(named, target, kept)
        rows = place
    chosen = np.argsort(place, kind="stable") if config.ind is None else read_selection(job, config.ind, n)
    target = target.select(place[chosen])
    found = ours.table.select(chosen)
    poses: dict[str, Any] = {name: getattr(found, name) for name in ("rotations", "shifts_A", "half_set", "confidence")}
    if config.flip:
        poses["rotations"] = flipped(poses["rotations"])
    table = replace(target.table, **{name: values for name, values in poses.items() if values is not None})
    return Results(target, table, rows[chosen], take(latents, chosen), take(classes, chosen), words)


def flipped(rotations: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n 3 3"]:
    """The rotations under which the mirrored map has the same projections: M R M."""
    return MIRROR @ rotations @ MIRROR


def _own(config: ExportConfig, ours: ParticleFile) -> ParticleFile:
    """The job's own file. Its images are asked where it says no size, or one that --apix puts in doubt."""
    apix = job_options(config.job).get("apix")
    if not _needs_box(config) or (ours.table.box is not None and apix is None):
        return ours
    return read_particles(ours.path, datadir=config.datadir or datadir(config.job), pixel_size_A=apix)


def _other(config: ExportConfig) -> ParticleFile:
    """The file that --onto names; its images are asked likewise."""
    assert config.onto is not None
    found = read_particles(config.onto, pixel_size_A=config.apix, need_images=False)
    if not _needs_box(config) or (found.table.box is not None and config.apix is None):
        return found
    return read_particles(config.onto, datadir=config.datadir, pixel_size_A=config.apix)


def _needs_box(config: ExportConfig) -> bool:
    """cryoDRGN's shifts are fractions of it."""
    return config.out.suffix in ("", ".pkl")


def _has_uids(config: ExportConfig) -> bool:
    is_cs = config.onto is not None and config.onto.suffix.lower() == ".cs"
    return is_cs and (config.job / "particles.cs").exists()


def _classes(job: Path) -> Int[np.ndarray, " n"]:
    """Of the job, or else the clusters of `analyze`; from 0."""
    classes = read_classes(job)
    if classes is None:
        classes = read_array(job / "analysis" / "labels.npy")
    if classes is None:
        raise InputError("has no classes", where=job, do=f"make clusters of its states: cryodrake analyze {job}")
    return classes.astype(np.int64)
