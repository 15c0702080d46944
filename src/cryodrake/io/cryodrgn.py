"""cryoDRGN's pickles: poses, CTF, indices and latents, in and out.

A pickle can run any program, so reading admits numpy arrays, tuples, lists and numbers and refuses all else. Their R is
ours. Their shifts are ours as a fraction of the box, or in pixels in the files of `abinit` 4.x (any |t| > 1).
ctf.pkl: box, Å/px, defocus U Å, V Å, angle °, kV, Cs mm, amplitude contrast, phase shift °, and sometimes B in Å².
File formats: the cryoDRGN user guide, https://ez-lab.gitbook.io/cryodrgn.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float, Int

from cryodrake.errors import InputError
from cryodrake.io.atomic import write_bytes_atomic
from cryodrake.io.table import CTFColumns, ParticleTable, check_ctf, check_rotations

CTF_ORDER = (
    "defocus_u_A",
    "defocus_v_A",
    "defocus_angle_deg",
    "voltage_kV",
    "cs_mm",
    "amplitude_contrast",
    "phase_shift_deg",
    "bfactor_A2",
)
NAMES = {name: f"column {number} ({name})" for number, name in enumerate(CTF_ORDER, 3)}
HARMLESS = {
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


@dataclass(frozen=True, eq=False)
class CryodrgnPoses:
    """R, and the shifts (x, y), in pixels or as a fraction of the box; None where there are none."""

    rotations: Float[np.ndarray, "n 3 3"]
    shifts: Float[np.ndarray, "n 2"] | None
    in_pixels: bool


@dataclass(frozen=True, eq=False)
class CryodrgnCTF:
    """The box and pixel size for which ctf.pkl was made (their product is the images' extent), and the CTF."""

    box: Float[np.ndarray, " n"]
    pixel_size_A: Float[np.ndarray, " n"]
    ctf: CTFColumns


def load_pickles(path: str | Path) -> list[Any]:
    """The objects of a file of one or more pickles, back to back.

    Raises:
        InputError: unreadable, or anything in it but numpy arrays, tuples, lists and numbers.
    """
    objects = []
    try:
        with open(path, "rb") as file:
            while file.peek(1):
                objects.append(_Unpickler(file, path).load())
        for loaded in objects:
            _refuse_objects(loaded, path)
    except InputError:
        raise
    except Exception as error:  # what a damaged pickle raises is anybody's guess
        raise InputError(f"is no readable pickle: {error}", where=path) from error
    if not objects:
        raise InputError("is empty", where=path, expected="a pickle")
    return objects


def read_poses(*paths: str | Path) -> CryodrgnPoses:
    """Read pose.pkl: (R, t), (R,), a bare R, or R and t in two files.

    Raises:
        InputError: as `load_pickles`; wrong shapes; matrices that are no rotations.
    """
    parts: list[Any] = []
    for path in paths:
        loaded = load_pickles(path)[0]
        parts += list(loaded) if isinstance(loaded, (tuple, list)) else [loaded]
    where = ", ".join(str(path) for path in paths)
    arrays = [_array(part, where) for part in parts]
    shapes = [array.shape for array in arrays]
    n = len(arrays[0]) if arrays and arrays[0].ndim else 0
    if not shapes or shapes not in ([(n, 3, 3)], [(n, 3, 3), (n, 2)]):
        raise InputError(f"holds arrays of the shapes {shapes}", where=where, expected="rotations (N, 3, 3) and shifts (N, 2)")
    check_rotations(arrays[0], where, "rotation", np.arange(n))
    shifts = arrays[1] if len(arrays) == 2 else None
    if shifts is not None and not np.isfinite(shifts).all():
        row = int((~np.isfinite(shifts)).any(axis=1).argmax())
        raise InputError(f"shift is {shifts[row]}", where=f"{where}, particle {row + 1}", expected="two numbers")
    return CryodrgnPoses(arrays[0], shifts, shifts is not None and bool((np.abs(shifts) > 1).any()))


def read_ctf(path: str | Path) -> CryodrgnCTF:
    """Read ctf.pkl, of 9 columns, or 10 with a B-factor.

    Raises:
        InputError: as `load_pickles`; another shape; absurd numbers.
    """
    columns = _array(load_pickles(path)[0], path)
    if columns.ndim != 2 or columns.shape[1] not in (9, 10):
        raise InputError(f"holds an array of shape {columns.shape}", where=path, expected="(N, 9) or (N, 10)")
    if columns.shape[1] == 9:
        columns = np.column_stack([columns, np.zeros(len(columns))])
    ctf = CTFColumns(**dict(zip(CTF_ORDER, columns[:, 2:].T, strict=True)))
    check_ctf(ctf, path, NAMES, np.arange(len(columns)))
    return CryodrgnCTF(columns[:, 0], columns[:, 1], ctf)


def read_indices(path: str | Path, n: int | None) -> Int[np.ndarray, " b"]:
    """Read ind.pkl, the 0-based rows to keep of n (or a mask of n); None where n is not known.

    Raises:
        InputError: as `load_pickles` and `check_indices`.
    """
    return check_indices(np.asarray(load_pickles(path)[0]), path, n)


def check_indices(kept: np.ndarray, path: str | Path, n: int | None) -> Int[np.ndarray, " b"]:
    """Row numbers, or a mask, as row numbers.

    Raises:
        InputError: not integers; outside 0 to n - 1.
    """
    if kept.dtype == bool and kept.shape == ((n,) if n is not None else (len(kept),)):
        kept = np.flatnonzero(kept)
    if kept.ndim != 1 or kept.dtype.kind not in "iu" or len(kept) == 0:
        raise InputError(f"holds {kept.dtype} of shape {kept.shape}", where=path, expected="a list of row numbers")
    if kept.min() < 0 or (n is not None and kept.max() >= n):
        raise InputError(
            f"keeps rows {kept.min()} to {kept.max()}",
            where=path,
            expected="row numbers from 0" if n is None else f"0 to {n - 1}, as there are {n} particles",
            do="give the particle file that the selection was made for",
        )
    return kept.astype(np.int64)


def read_latents(path: str | Path) -> tuple[Float[np.ndarray, "n z"], Float[np.ndarray, "n z"] | None]:
    """Read z.pkl: the latents, and their log-variances where the file has them (two pickles back to back).

    Raises:
        InputError: as `load_pickles`, or another shape.
    """
    arrays = [_array(part, path) for part in load_pickles(path)]
    if len(arrays) > 2 or any(a.ndim != 2 or a.shape != arrays[0].shape for a in arrays):
        raise InputError(f"holds arrays of the shapes {[a.shape for a in arrays]}", where=path, expected="(N, zdim)")
    return arrays[0], arrays[1] if len(arrays) == 2 else None


def write_poses(path: str | Path, table: ParticleTable) -> None:
    """Write pose.pkl: float32 R and shifts, as exact fractions of the box. The table has rotations and boxes."""
    if table.rotations is None or table.box is None:
        raise ValueError("no rotations, or no box, to write")
    shifts_A = np.zeros((len(table), 2)) if table.shifts_A is None else table.shifts_A
    fraction = shifts_A / (table.box * table.pixel_size_A)[:, None]
    _write(path, (table.rotations.astype(np.float32), fraction.astype(np.float32)))


def write_ctf(path: str | Path, table: ParticleTable) -> None:
    """Write ctf.pkl: float32 (N, 9), or (N, 10) where there are B-factors. The table has a CTF and boxes."""
    if table.ctf is None or table.box is None:
        raise ValueError("no CTF, or no box, to write")
    columns = [table.box, table.pixel_size_A, *(getattr(table.ctf, name) for name in CTF_ORDER)]
    if not table.ctf.bfactor_A2.any():
        columns.pop()
    _write(path, np.column_stack(columns).astype(np.float32))


def write_latents(path: str | Path, latents: Float[np.ndarray, "n z"]) -> None:
    """Write z.pkl: float32."""
    _write(path, latents.astype(np.float32))


def write_indices(path: str | Path, rows: Int[np.ndarray, " b"]) -> None:
    """Write ind.pkl: 0-based rows, int64."""
    _write(path, rows.astype(np.int64))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, path: str | Path):
        super().__init__(file, encoding="latin1")  # arrays pickled by Python 2
        self._path = path

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) == ("_codecs", "encode"):  # how protocol 2 spells bytes
            return lambda text, _: text.encode("latin1")
        if (module, name) in HARMLESS:
            return super().find_class(module, name)
        raise InputError(
            f"holds {module}.{name}, which could run a program",
            where=self._path,
            expected="only numpy arrays, tuples, lists and numbers",
            do="do not use a file from a source that you do not trust; otherwise save plain numpy arrays",
        )

    def persistent_load(self, _: Any) -> NoReturn:
        raise InputError("holds references to other files", where=self._path, expected="only numpy arrays")


def _refuse_objects(loaded: Any, path: str | Path) -> None:
    """Strings, dicts and arrays of objects need no import, so `find_class` does not see them."""
    if isinstance(loaded, (tuple, list)):
        for part in loaded:
            _refuse_objects(part, path)
        return
    is_numeric = isinstance(loaded, (int, float, np.generic, np.ndarray)) and np.asarray(loaded).dtype.kind in "biuf"
    if not is_numeric:
        raise InputError(f"holds a {type(loaded).__name__}", where=path, expected="only arrays of numbers")


def _array(loaded: Any, where: str | Path) -> np.ndarray:
    try:
        return np.asarray(loaded, dtype=np.float64)
    except ValueError as error:
        raise InputError(f"holds no array: {error}", where=where) from error


def _write(path: str | Path, value: Any) -> None:
    write_bytes_atomic(path, pickle.dumps(value, protocol=4))
