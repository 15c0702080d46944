"""A job's results as files of RELION, cryoSPARC and cryoDRGN.

States have no column of RELION's: they become cryodrakeLatent1 …, which it keeps. In a .cs they are what its own 3D
variability calls components_mode_0/value …, after those that the file has already. Classes count from 1 in RELION, from 0
in cryoSPARC.
"""

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from cryodrake.analysis.export_particles import Results
from cryodrake.errors import InputError
from cryodrake.io.cryodrgn import write_ctf, write_indices, write_latents, write_poses
from cryodrake.io.cryosparc import CsFile, field_names


def write_star(out: Path, results: Results) -> None:
    """The target's own columns, with poses, half sets and confidences, states, and classes where wanted."""
    extra: dict[str, np.ndarray] = {}
    if results.latents is not None:
        extra |= {f"cryodrakeLatent{i + 1}": z.astype(np.float32) for i, z in enumerate(results.latents.T)}
    if results.classes is not None:
        extra["rlnClassNumber"] = results.classes + 1
    table = results.table
    results.target.write_star(out, table.rotations, table.shifts_A, table.half_set, table.confidence, extra)


def write_cs(out: Path, results: Results) -> None:
    """The target's own fields, with alignments3D, states, and classes where wanted.

    Raises:
        InputError: the target is no .cs.
    """
    extra: dict[str, np.ndarray] = {}
    first = _free_mode(results.target.raw.source)
    for i, z in enumerate(() if results.latents is None else results.latents.T, first):
        extra[f"components_mode_{i}/component"] = np.full(len(z), i, dtype=np.uint32)
        extra[f"components_mode_{i}/value"] = z.astype(np.float32)
    if results.classes is not None:
        extra["alignments3D/class"] = results.classes.astype(np.uint32)
    table = results.table
    results.target.write_cs(out, table.rotations, table.shifts_A, table.half_set, extra)


def _free_mode(source: Any) -> int:
    """The first number that no component of the user's own 3D variability has."""
    names = field_names(source.array) if isinstance(source, CsFile) else ()
    modes = {name.split("/")[0] for name in names}
    return next(i for i in count() if f"components_mode_{i}" not in modes)


def write_cryodrgn(folder: Path, results: Results) -> list[Path]:
    """pose.pkl, ind.pkl (rows of the target's file), and ctf.pkl and z.pkl where they are known, in a new folder.

    Raises:
        InputError: the folder cannot be made, or as `open_atomic`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made: {error.strerror}", where=folder) from None
    write_poses(folder / "pose.pkl", results.table)
    write_indices(folder / "ind.pkl", results.rows)
    written = [folder / "pose.pkl", folder / "ind.pkl"]
    if results.table.ctf is not None:
        write_ctf(folder / "ctf.pkl", results.table)
        written.append(folder / "ctf.pkl")
    if results.latents is not None:
        write_latents(folder / "z.pkl", results.latents)
        written.append(folder / "z.pkl")
    return written
