"""CTF and poses given beside a particle file, which replace its own: cryoDRGN's `.pkl`, or another particle file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cryodrake.errors import InputError
from cryodrake.io.cryodrgn import read_ctf, read_poses
from cryodrake.io.dispatch import read_raw
from cryodrake.io.table import CTFColumns, ParticleTable, take


def replacing_ctf(path: Path, rows: np.ndarray, n: int, box: np.ndarray | None) -> tuple[CTFColumns, np.ndarray | None]:
    """The CTF of each kept row, and the pixel size that goes with it."""
    if path.suffix == ".pkl":
        loaded = read_ctf(path)
        kept = _kept(len(loaded.box), rows, n, path)
        extent_A = loaded.pixel_size_A[kept] * loaded.box[kept]  # what scaling the images leaves as it is
        return loaded.ctf.select(kept), loaded.pixel_size_A[kept] if box is None else extent_A / box
    raw = read_raw(path, None)
    if raw.ctf is None:
        raise InputError("has no CTF", where=path, expected="a ctf.pkl, or a .star or .cs with defoci")
    kept = _kept(raw.n, rows, n, path)
    return raw.ctf.select(kept), take(raw.pixel_size_A, kept)


def with_poses(table: ParticleTable, poses: str | Path | Sequence[str | Path], rows: np.ndarray, n: int) -> ParticleTable:
    """The table with the poses and shifts of another file; shifts are zero where that has none."""
    paths = [Path(poses)] if isinstance(poses, (str, Path)) else [Path(path) for path in poses]
    if paths[0].suffix == ".pkl":
        loaded = read_poses(*paths)
        rotations, shifts, kept = loaded.rotations, loaded.shifts, _kept(len(loaded.rotations), rows, n, paths[0])
        if shifts is not None and table.box is None and not loaded.in_pixels:
            raise InputError("gives shifts as fractions of a box that is not known", where=paths[0])
        unit_A = table.pixel_size_A if loaded.in_pixels or table.box is None else table.pixel_size_A * table.box
    else:
        raw = read_raw(paths[0], None, with_ctf=False)
        if raw.rotations is None:
            raise InputError("has no poses", where=paths[0], expected="a pose.pkl, or a .star or .cs with angles")
        rotations, shifts, kept = raw.rotations, raw.shifts, _kept(raw.n, rows, n, paths[0])
        unit_A = table.pixel_size_A if raw.shift_unit_A is None else raw.shift_unit_A[kept]
    shifts = np.zeros((len(rotations), 2)) if shifts is None else shifts
    return replace(table, rotations=rotations[kept], shifts_A=shifts[kept] * unit_A[:, None])


def _kept(length: int, rows: np.ndarray, n: int, path: Path) -> np.ndarray:
    """Which rows of a side file go with the kept particles: it has one row per particle, or per kept one."""
    if length == n:
        return rows
    if length == len(rows):
        return np.arange(length)
    raise InputError(
        f"has {length} rows", where=path, expected=f"{n}, one per particle", do="give the file made for these particles"
    )
