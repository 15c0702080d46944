"""Chosen particles of a job as a file: the user's own .star or .cs without the others, or a list of row numbers."""

from pathlib import Path

import numpy as np
from jaxtyping import Int

from cryodrake.analysis.job_particles import datadir, input_rows, read_job_particles
from cryodrake.analysis.stack_paths import where_stacks_are
from cryodrake.errors import InputError
from cryodrake.io.rows import read_rows, write_rows

SELECTION_SUFFIXES = (".star", ".cs", ".txt", ".pkl")


def save_selection(job: Path, rows: Int[np.ndarray, " m"], out: Path) -> str | None:
    """Write these particles (rows of JOB/particles.star, from 0), in this order, by the suffix of `out`.

    .star and .cs are the user's own file with the job's poses, of the chosen particles only. .txt (a number a line) and
    .pkl (cryoDRGN's ind.pkl) hold their rows, from 0, in the file that the job began with: what its --ind takes.

    Returns:
        What to say of the paths of its stacks, as `where_stacks_are`.

    Raises:
        InputError: none or unknown rows, another suffix, the file is there already, or the job cannot make that kind.
    """
    if out.suffix not in SELECTION_SUFFIXES:
        raise InputError(f"no format {out.suffix!r}", where=out, expected=", ".join(SELECTION_SUFFIXES))
    if out.exists():
        raise InputError("the file is there already", where=out, do="choose another name, or remove it")
    particles = read_job_particles(job, ".cs" if out.suffix == ".cs" else ".star")
    check_selection(rows, len(particles), out)
    if out.suffix == ".star":
        particles.select(rows).write_star(out)
    elif out.suffix == ".cs":
        particles.select(rows).write_cs(out)
    else:
        write_rows(out, input_rows(job, len(particles))[rows])
    return where_stacks_are(particles.raw.stack_names, out, particles.path, datadir(job))


def read_selection(job: Path, path: Path, n: int) -> Int[np.ndarray, " m"]:
    """The rows of JOB/particles.star, of n, that a file of `save_selection` (.txt or .pkl) chooses.

    Raises:
        InputError: as `read_rows`; rows that the job does not have.
    """
    of_input = input_rows(job, n)
    chosen = read_rows(path, n if np.array_equal(of_input, np.arange(n)) else None)
    order = np.argsort(of_input)
    place = order[np.searchsorted(of_input, chosen, sorter=order).clip(max=n - 1)]
    strange = of_input[place] != chosen
    if strange.any():
        what = f"chooses row {chosen[strange][0]}, which the job did not use"
        raise InputError(what, where=path, expected="rows of the file that the job began with, of those in its --ind")
    check_selection(place, n, path)
    return place


def check_selection(rows: Int[np.ndarray, " m"], n: int, where: object) -> None:
    """Raises InputError where no rows, rows twice, or rows beyond 0 to n - 1 are chosen."""
    if len(rows) == 0:
        raise InputError("no particles are chosen", where=where, expected="at least one")
    if rows.min() < 0 or rows.max() >= n:
        raise InputError(f"rows {rows.min()} to {rows.max()} are chosen", where=where, expected=f"0 to {n - 1}")
    if len(np.unique(rows)) < len(rows):
        raise InputError("particles are chosen twice", where=where, expected="each at most once")
