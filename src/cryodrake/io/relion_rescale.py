"""A RELION particle file for images of another size: pixel size, box and shifts in pixels follow, all else stays.

What RELION keeps in Å (defoci, shifts since 3.1) or in pixels of the micrograph (coordinates) does not change.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from cryodrake.errors import InputError
from cryodrake.io.particles import ParticleFile
from cryodrake.io.relion import IMAGE, ORIGINAL_IMAGE, SHIFTS_A, SHIFTS_PX, RelionSource
from cryodrake.io.star import cells, numbers
from cryodrake.io.star_columns import StarColumns
from cryodrake.io.table import changed_rows


def rescaled_tables(
    particles: ParticleFile, stack_name: str, box: int, pixel_size_A: Float[np.ndarray, " n"]
) -> dict[str, pd.DataFrame]:
    """The tables of the user's own file that change (for `StarFile.write`), for one new stack in the order of the particles.

    rlnImageOriginalName, where the file has none yet, says which image each was made from.

    Args:
        stack_name: as the file is to spell it.
        box: of the new images.
        pixel_size_A: (n,) of the new images.

    Raises:
        InputError: one optics group has images of several pixel sizes.
    """
    source: RelionSource = particles.raw.source
    table = StarColumns(source.particles.iloc[particles.rows].reset_index(drop=True))
    if ORIGINAL_IMAGE not in table.table:
        table.table = table.table.assign(**{ORIGINAL_IMAGE: table.table[IMAGE]})
    table.put(IMAGE, np.array([f"{i + 1:06d}@{stack_name}" for i in range(len(particles))], dtype=object))
    if particles.table.shifts_A is not None:
        unit_A = np.ones(len(particles)) if source.shift_names == SHIFTS_A else pixel_size_A
        new = particles.table.shifts_A / unit_A[:, None]
        table.put(source.shift_names, new, changed_rows(new, particles.raw.shifts, particles.rows))
        if source.shift_names == SHIFTS_A:
            table.drop(SHIFTS_PX)
    tables = {source.name: table}
    if source.optics is None:
        _put_in_particles(table, box, pixel_size_A, source.star.path)
    else:
        tables["optics"] = _optics(source, particles.rows, box, pixel_size_A)
        table.drop(("rlnImagePixelSize", "rlnImageSize"))  # the optics table's, which RELION reads
    return {name: columns.table for name, columns in tables.items()}


def _put_in_particles(table: StarColumns, box: int, pixel_size_A: np.ndarray, path: Path) -> None:
    """Before 3.1: 10⁴ · rlnDetectorPixelSize / rlnMagnification, of which the first follows."""
    if "rlnImagePixelSize" in table.table:
        table.put("rlnImagePixelSize", pixel_size_A)
    if "rlnMagnification" not in table.table:
        table.put("rlnMagnification", np.full(len(pixel_size_A), 10000.0))
    magnification = numbers(table.table, "rlnMagnification", path)
    table.put("rlnDetectorPixelSize", pixel_size_A * magnification / 1e4)
    if "rlnImageSize" in table.table:
        table.put("rlnImageSize", np.full(len(pixel_size_A), box))


def _optics(source: RelionSource, rows: np.ndarray, box: int, pixel_size_A: np.ndarray) -> StarColumns:
    optics = StarColumns(source.optics if source.optics is not None else pd.DataFrame())
    group, first = np.unique(source.group[rows], return_index=True)
    size_A = np.full(len(optics.table), pixel_size_A[0])  # groups that no particle is in
    size_A[group] = pixel_size_A[first]
    if not np.array_equal(size_A[source.group[rows]], pixel_size_A):
        raise InputError("one optics group has images of several sizes", where=source.star.path, do="split the group")
    optics.put("rlnImagePixelSize", size_A)
    optics.put("rlnImageSize", np.full(len(size_A), box))
    if "rlnImageDimensionality" not in optics.table:
        optics.table = optics.table.assign(rlnImageDimensionality=cells(np.full(len(size_A), 2)))
    return optics
