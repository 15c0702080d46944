"""Which row of one particle file is which particle of another: how results return to the original, full-size stack."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Int

from cryodrake.errors import InputError
from cryodrake.io.cryosparc import CsFile, field_names
from cryodrake.io.particles import ParticleFile
from cryodrake.io.relion import IMAGE, ORIGINAL_IMAGE, RelionSource
from cryodrake.io.star import numbers, strings

PICKED = ("rlnMicrographName", "rlnCoordinateX", "rlnCoordinateY")
COORDINATE_DIGITS = 2  # of a pixel: no two particles are nearer, and programs write six or more
SAME_DEFOCUS_A = 1.0


def matching_rows(
    ours: ParticleFile, other: ParticleFile, input_rows: Callable[[], Int[np.ndarray, " n"]] | None
) -> tuple[Int[np.ndarray, " n"], str]:
    """The row (from 0) of `other` that each of our particles is, and how it was found out.

    Tried in turn: cryoSPARC's uid; the same image; the image that ours was made from; the place on the micrograph; files of
    one length, row by row, if defoci do not differ; the rows that the job used, if defoci are the same. Of several names that
    are there, the first under which defoci do not differ: two stacks of one name in two folders hold different images.

    Args:
        input_rows: the row of the job's input that each of our particles is; asked when all else fails. None: as ours.

    Raises:
        InputError: the particles cannot be found in the other file, or as `input_rows`.
    """
    differ: list[tuple[np.ndarray, str]] = []
    for words, mine, theirs in _keys(ours, other):
        places = _find(mine, theirs)
        if places is not None and _same_defocus(ours, other, places, if_unknown=True):
            return places, words
        if places is not None:
            differ.append((places, f"{words}, although defoci differ"))
    if differ:  # as after a refinement of the CTF
        return differ[0]
    n = len(ours)
    if len(other) == n and _same_defocus(ours, other, np.arange(n), if_unknown=True):
        return np.arange(n), "row by row"
    if len(other) > n and input_rows is not None:
        rows = input_rows()
        if rows.max() < len(other) and _same_defocus(ours, other, rows, if_unknown=False):
            return rows, "by the rows that the job used"
    raise InputError(
        f"its {len(other):,} particles cannot be matched with the job's {n:,}",
        where=other.path,
        expected="the same uids, images or places on micrographs, or as many rows with the same defoci",
        do="give the file that the job's particles were made from",
    )


def _keys(ours: ParticleFile, other: ParticleFile) -> list[tuple[str, pd.Index, pd.Index]]:
    """What both files have to tell particles by, the surest first."""
    mine, theirs = _names_of(ours), _names_of(other)
    pairs = [("uid", "uid", "uid"), ("image", IMAGE, IMAGE), ("original image", ORIGINAL_IMAGE, IMAGE)]
    pairs += [("place on the micrograph", "place", "place")]
    return [(f"by {words}", mine[a], theirs[b]) for words, a, b in pairs if a in mine and b in theirs]


def _names_of(particles: ParticleFile) -> dict[str, pd.Index]:
    source, rows = particles.raw.source, particles.rows
    if isinstance(source, CsFile):
        uid = source.array["uid"] if "uid" in field_names(source.array) else None
        return {} if uid is None else {"uid": pd.Index(uid[rows])}
    if not isinstance(source, RelionSource):
        return {}
    table = source.particles
    found = {
        name: pd.Index(np.array(strings(table, name), dtype=object)[rows]) for name in (IMAGE, ORIGINAL_IMAGE) if name in table
    }
    if set(PICKED) <= set(table.columns):
        micrographs = np.array(strings(table, PICKED[0]), dtype=object)
        x, y = (numbers(table, name, particles.path).round(COORDINATE_DIGITS) for name in PICKED[1:])
        found["place"] = pd.Index(pd.MultiIndex.from_arrays([micrographs, x, y])[rows])
    return found


def _find(mine: pd.Index, theirs: pd.Index) -> np.ndarray | None:
    """None where a name stands for several particles, or one of ours is not there."""
    if not (mine.is_unique and theirs.is_unique):
        return None
    places = theirs.get_indexer(mine)
    return None if (places < 0).any() else places.astype(np.int64)


def _same_defocus(ours: ParticleFile, other: ParticleFile, rows: np.ndarray, if_unknown: bool) -> bool:
    mine, theirs = ours.table.ctf, other.table.ctf
    if mine is None or theirs is None:
        return if_unknown
    return bool((np.abs(mine.defocus_u_A - theirs.defocus_u_A[rows]) < SAME_DEFOCUS_A).all())
