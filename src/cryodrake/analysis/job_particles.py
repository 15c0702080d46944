"""A job's particles: the file that it wrote of them, and which rows of the user's own file they are."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from cryodrake.errors import InputError
from cryodrake.io.particles import ParticleFile, read_particles
from cryodrake.io.rows import read_rows
from cryodrake.io.toml import load_toml


def job_options(job: Path) -> dict[str, Any]:
    """The options in JOB/job.toml, as its text has them.

    Raises:
        InputError: there is no such job.
    """
    options = load_toml(job / "job.toml")[1].get("options", {})
    return options if isinstance(options, dict) else {}


def read_job_particles(job: Path, suffix: str = ".star", need_images: bool = False) -> ParticleFile:
    """JOB/particles.star, or the .cs beside it, in true Å: with the job's own --apix, and stacks where the job found them.

    Raises:
        InputError: the job is not finished or did not begin with a .cs, or as `read_particles`.
    """
    source = job / f"particles{suffix}"
    if not source.exists():
        expected = "a finished job; a .cs only comes from a job that began with one"
        raise InputError("no such file", where=source, expected=expected)
    apix = job_options(job).get("apix")
    return read_particles(source, datadir=datadir(job), pixel_size_A=apix, need_images=need_images)


def input_rows(job: Path, n: int) -> Int[np.ndarray, " n"]:
    """Which row (from 0) of the file that the job began with each of its n particles is: all in order, but for --ind.

    Raises:
        InputError: the job's ind.pkl is gone, or no longer the one it was run with.
    """
    ind = job_options(job).get("ind")
    if ind is None:
        return np.arange(n)
    path, expected = Path(ind), f"the selection of {n:,} particles that the job was run with"
    if not path.exists():
        raise InputError("is gone", where=path, expected=expected, do="put it back, or save a .star, which needs no row numbers")
    kept = read_rows(path)
    if len(kept) != n:
        raise InputError(f"holds {len(kept):,} rows", where=path, expected=expected)
    return kept


def datadir(job: Path) -> Path | None:
    """Where the job's stacks are: paths in its particles.star are those of the file it began with."""
    options = job_options(job)
    if "datadir" in options:
        return Path(options["datadir"])
    return Path(options["particles"]).parent if "particles" in options else None
