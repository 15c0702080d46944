"""RELION particle files out: our poses put back into the user's own file, or a new 3.1 file.

Writing changes only what differs from what was read, row by row: a pose that is still the file's own keeps its digits,
and a file with nothing new is copied byte for byte.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cryodrake.errors import InputError
from cryodrake.io.atomic import open_atomic
from cryodrake.io.raw import RawParticles, Update
from cryodrake.io.relion import ANGLES, CONFIDENCE, CTF_NAMES, HALF_SET, PER_GROUP, SHIFTS_A, SHIFTS_PX, RelionSource
from cryodrake.io.star import cells, numbers, write_star
from cryodrake.io.star_columns import StarColumns
from cryodrake.io.table import ParticleTable, changed_rows, group_optics
from cryodrake.physics.rotations import matrix_to_euler_deg


def write_relion(path: str | Path, update: Update) -> None:
    """Write a RELION file again, of the version that it was, with what the update changes.

    Raises:
        InputError: optics that differ within one group of the file, or as `open_atomic`.
    """
    raw, rows, table = update.raw, update.rows, update.table
    source: RelionSource = raw.source
    particles = StarColumns(source.particles.iloc[rows].reset_index(drop=True))
    optics = StarColumns(source.optics if source.optics is not None else pd.DataFrame())
    if table.rotations is not None:
        changed = changed_rows(table.rotations, raw.rotations, rows)
        particles.put(ANGLES, _euler_deg(table.rotations), changed)
    if table.shifts_A is not None:
        new = table.shifts_A / update.shift_unit_A[:, None]
        particles.put(source.shift_names, new, changed_rows(new, raw.shifts, rows))
        if source.shift_names == SHIFTS_A:
            particles.drop(SHIFTS_PX)
    for name, values, old in ((HALF_SET, table.half_set, raw.half_set), (CONFIDENCE, table.confidence, raw.confidence)):
        if values is not None:
            particles.put(name, values, changed_rows(values, old, rows))
    _put_optics(particles, optics, raw, rows, table)
    for name, values in update.extra.items():
        particles.put(name, np.asarray(values))
    if not particles.touched and not optics.touched and np.array_equal(rows, np.arange(raw.n)):
        with open(source.star.path, "rb") as original, open_atomic(path, source.star.path.stat().st_size) as copy:
            shutil.copyfileobj(original, copy)
        return
    tables = {source.name: particles.table}
    source.star.write(path, tables | ({"optics": optics.table} if optics.touched else {}))


def write_new_star(
    path: str | Path,
    table: ParticleTable,
    stack_names: tuple[str, ...],
    stack_of: np.ndarray,
    index: np.ndarray,
    extra: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write a RELION 3.1 particle file from nothing but a table and the image of each row (0-based `index`)."""
    per_group = {} if table.ctf is None else {CTF_NAMES[name]: getattr(table.ctf, name) for name in PER_GROUP}
    per_group = {"rlnImagePixelSize": table.pixel_size_A, **per_group}
    if table.box is not None:
        per_group |= {"rlnImageSize": table.box, "rlnImageDimensionality": np.full(len(table), 2)}
    group = group_optics(table.optics_group, *per_group.values())
    first = np.unique(group, return_index=True)[1]
    number = np.arange(1, len(first) + 1)
    optics = StarColumns(pd.DataFrame({"rlnOpticsGroup": cells(number)}))
    optics.put("rlnOpticsGroupName", np.array([f"opticsGroup{i}" for i in number]))
    for name, values in per_group.items():
        optics.put(name, values[first])
    images = [f"{i:06d}@{stack_names[s]}" for i, s in zip((index + 1).tolist(), stack_of.tolist(), strict=True)]
    particles = StarColumns(pd.DataFrame({"rlnImageName": cells(images), "rlnOpticsGroup": cells(group + 1)}))
    columns: dict[str | tuple[str, ...], np.ndarray | None] = {}
    if table.ctf is not None:
        columns |= {CTF_NAMES[name]: getattr(table.ctf, name) for name in CTF_NAMES if name not in PER_GROUP}
    if table.rotations is not None:
        columns[ANGLES] = _euler_deg(table.rotations)
    columns |= {SHIFTS_A: table.shifts_A, HALF_SET: table.half_set, CONFIDENCE: table.confidence}
    columns |= {name: np.asarray(values) for name, values in (extra or {}).items()}
    for names, values in columns.items():
        if values is not None:
            particles.put(names, values)
    write_star(path, {"optics": optics.table, "particles": particles.table})


def _put_optics(particles: StarColumns, optics: StarColumns, raw: RawParticles, rows: np.ndarray, table: ParticleTable) -> None:
    """Put CTF values that did not come from this file, and a pixel size where it had none, in their table."""
    source: RelionSource = raw.source
    new: dict[str, np.ndarray] = {}
    if table.ctf is not None:
        for name, column in CTF_NAMES.items():
            values = getattr(table.ctf, name)
            if raw.ctf is None or not np.array_equal(values, getattr(raw.ctf, name)[rows]):
                new[column] = values
    if raw.pixel_size_A is None and source.optics is None:
        new |= {"rlnDetectorPixelSize": table.pixel_size_A, "rlnMagnification": np.full(len(table), 10000)}
    elif raw.pixel_size_A is None:
        new["rlnImagePixelSize"] = table.pixel_size_A
    group_columns = {"rlnImagePixelSize", *(CTF_NAMES[name] for name in PER_GROUP)}
    for column, values in new.items():
        if source.optics is None or column not in group_columns:
            particles.put(column, values)
            continue
        group, first = np.unique(source.group[rows], return_index=True)
        per_row = np.zeros(len(source.optics))
        if column in source.optics:
            per_row = numbers(source.optics, column, source.star.path)
        per_row[group] = values[first]
        if not np.array_equal(per_row[source.group[rows]], values):
            raise InputError(f"{column} differs within one optics group", where=source.star.path, do="split the group")
        optics.put(column, per_row)


def _euler_deg(rotations: np.ndarray) -> np.ndarray:
    return matrix_to_euler_deg(torch.from_numpy(rotations.astype(np.float64))).numpy()
