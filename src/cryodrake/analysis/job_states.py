"""What a job says about each particle's state: latents.npy, groups.npy and classes.npy, read with care."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from cryodrake.errors import InputError
from cryodrake.io.npy import read_npy


def read_latents(job: Path) -> Float[np.ndarray, "n z"] | None:
    """JOB/latents.npy as float64, row i the particle i of the input; None where the job has none.

    Raises:
        InputError: not a table of finite numbers.
    """
    path = job / "latents.npy"
    latents = read_array(path, "a table of numbers (n, zdim)")
    if latents is None:
        return None
    if latents.ndim != 2 or 0 in latents.shape or latents.dtype.kind not in "fiu":
        raise InputError(f"holds {latents.dtype} of shape {latents.shape}", where=path, expected="numbers (n, zdim)")
    finite = np.isfinite(latents).all(axis=1)
    if not finite.all():
        raise InputError("values that are not finite", where=f"{path}, row {int((~finite).argmax())}")
    return latents.astype(np.float64)


def require_latents(job: Path) -> Float[np.ndarray, "n z"]:
    """As `read_latents`, of a job that must have them.

    Raises:
        InputError: it has none, or as `read_latents`.
    """
    latents = read_latents(job)
    if latents is None:
        what = "this job has no states; it was run with --zdim 0, or is not finished"
        raise InputError(what, where=job, expected="latents.npy", do="run it with --zdim 4, for example")
    return latents


def require_latents_of_one_model(job: Path) -> Float[np.ndarray, "n z"]:
    """As `require_latents`, where one field is to make maps of all of them.

    Raises:
        InputError: the job holds classes, whose states do not compare; or as `require_latents`.
    """
    if holds_classes(job):
        first = job / "classes" / "class_01"
        raise InputError("this job holds classes, each with states of its own", where=job, do=f"give a class's job: {first}")
    return require_latents(job)


def read_classes(job: Path) -> Int[np.ndarray, " n"] | None:
    """JOB/classes.npy, 0-based; None where the job has none.

    Raises:
        InputError: not whole numbers from 0.
    """
    return _read_numbers(job / "classes.npy")


def read_groups(job: Path) -> Int[np.ndarray, " n"] | None:
    """JOB/groups.npy, separate groups of states, 0-based; None where the job has none.

    Raises:
        InputError: not whole numbers from 0.
    """
    return _read_numbers(job / "groups.npy")


def _read_numbers(path: Path) -> Int[np.ndarray, " n"] | None:
    found = read_array(path, "whole numbers (n,)")
    if found is None:
        return None
    if found.ndim != 1 or found.dtype.kind not in "iu" or (len(found) and found.min() < 0):
        raise InputError(f"holds {found.dtype} of shape {found.shape}", where=path, expected="whole numbers (n,), from 0")
    return found.astype(np.int64)


def read_array(path: Path, expected: str = "numbers") -> np.ndarray | None:
    """A .npy file; None where there is none.

    Raises:
        InputError: it is damaged or holds Python objects.
    """
    if not path.exists():
        return None
    return read_npy(path, expected)


def holds_classes(job: Path) -> bool:
    """Whether this is the whole of a job with --classes, each of which has a frame, for poses and latents, and a job of its own."""
    return (job / "classes").is_dir()


def check_rows(job: Path, name: str, rows: int, expected: int) -> None:
    """Raises InputError where a file has not one row a particle."""
    if rows != expected:
        raise InputError(f"has {rows:,} rows", where=job / name, expected=f"one for each of the {expected:,} particles")
