"""What is known of each particle, in our units and conventions, whatever file it came from.

Conventions (docs/conventions.md): R is RELION's Euler matrix; a shift is the (x, y) in Å that, applied to the image,
centres the particle (rlnOriginXAngst, alignments3D/shift); defocus is positive for underfocus; half sets are 1 and 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from cryodrake.errors import InputError


@dataclass(frozen=True, eq=False)
class CTFColumns:
    """Per-particle optics, float64 (n,). The pixel size is in the `ParticleTable`."""

    voltage_kV: Float[np.ndarray, " n"]
    cs_mm: Float[np.ndarray, " n"]
    amplitude_contrast: Float[np.ndarray, " n"]
    defocus_u_A: Float[np.ndarray, " n"]
    defocus_v_A: Float[np.ndarray, " n"]
    defocus_angle_deg: Float[np.ndarray, " n"]
    phase_shift_deg: Float[np.ndarray, " n"]
    bfactor_A2: Float[np.ndarray, " n"]

    def select(self, rows: np.ndarray | slice) -> "CTFColumns":
        """The same for these rows."""
        return CTFColumns(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class ParticleTable:
    """One row per particle; None where the file does not say.

    Attributes:
        pixel_size_A: of the image as it is on disk.
        optics_group: 0-based and without gaps over the whole file; groups share pixel size, box, kV, Cs and w.
        box: side of the image in pixels; None while the images are unknown.
        ctf: None means C = 1.
        rotations: R.
        shifts_A: (x, y), as stored: applied to the image it centres the particle.
        half_set: 1 or 2.
        confidence: largest posterior probability over poses, 0 to 1.
    """

    pixel_size_A: Float[np.ndarray, " n"]
    optics_group: Int[np.ndarray, " n"]
    box: Int[np.ndarray, " n"] | None = None
    ctf: CTFColumns | None = None
    rotations: Float[np.ndarray, "n 3 3"] | None = None
    shifts_A: Float[np.ndarray, "n 2"] | None = None
    half_set: Int[np.ndarray, " n"] | None = None
    confidence: Float[np.ndarray, " n"] | None = None

    def __len__(self) -> int:
        return len(self.pixel_size_A)

    def select(self, rows: np.ndarray | slice) -> "ParticleTable":
        """The same for these rows (indices, a mask or a slice), in that order."""
        selected: dict[str, Any] = {}
        for field in fields(self):
            values = getattr(self, field.name)
            selected[field.name] = values.select(rows) if isinstance(values, CTFColumns) else take(values, rows)
        return ParticleTable(**selected)


def take(values: np.ndarray | None, rows: np.ndarray | slice) -> Any:
    """values[rows], where there are values."""
    return None if values is None else values[rows]


LIMITS: dict[str, tuple[float, float, str]] = {
    "pixel_size_A": (0.05, 50.0, "a pixel size in Å, 0.05 to 50"),
    "voltage_kV": (20.0, 1500.0, "kilovolts, such as 300 (not volts)"),
    "cs_mm": (0.0, 50.0, "millimetres, such as 2.7"),
    "amplitude_contrast": (-1.0, 1.0, "a fraction, such as 0.1"),
    "defocus_u_A": (-5e5, 5e5, "Å, such as 15000"),
    "defocus_v_A": (-5e5, 5e5, "Å, such as 15000"),
    "defocus_angle_deg": (-1e4, 1e4, "degrees"),
    "phase_shift_deg": (-720.0, 720.0, "degrees"),
    "bfactor_A2": (-1e4, 1e4, "Å²"),
    "shifts_A": (-1e5, 1e5, "a shift in Å"),
    "confidence": (-np.inf, np.inf, "a number"),
}
LARGEST_DEFOCUS_IN_UM = 100.0  # no one records at 100 Å, nor at 100 µm


def check_table(table: ParticleTable, path: str | Path, names: Mapping[str, str], rows: np.ndarray) -> None:
    """Refuse numbers that no microscope gives.

    Args:
        names: what the file calls each field, for the message; fields that it lacks keep our name.
        rows: the 0-based row of the file that each row of the table is, for the message.

    Raises:
        InputError: NaN, infinite or absurd values; names the file, the first such row (1-based) and the column.
    """
    for field in ("pixel_size_A", "shifts_A", "confidence"):
        values = getattr(table, field)
        if values is not None:
            check_column(field, values, path, names, rows)
    if table.ctf is not None:
        check_ctf(table.ctf, path, names, rows)
    if table.rotations is not None:
        check_rotations(table.rotations, path, names.get("rotations", "rotation"), rows)


def check_ctf(ctf: CTFColumns, path: str | Path, names: Mapping[str, str], rows: np.ndarray) -> None:
    """As `check_table`, and recognises defoci in µm by none of them reaching 100."""
    for field in fields(CTFColumns):
        check_column(field.name, getattr(ctf, field.name), path, names, rows)
    for name in ("defocus_u_A", "defocus_v_A"):
        values = np.abs(getattr(ctf, name))
        if 0 < values.max(initial=0) < LARGEST_DEFOCUS_IN_UM:
            row = int(values.argmax())
            _refuse(names.get(name, name), values[row], path, int(rows[row]), "Å, such as 15000 (not µm)")


def check_rotations(rotations: Float[np.ndarray, "n 3 3"], path: str | Path, name: str, rows: np.ndarray) -> None:
    """As `check_table`: orthonormal within 1e-3 and right-handed."""
    wrong = no_rotations(rotations)
    if wrong.any():
        row = int(wrong.argmax())
        _refuse(name, rotations[row].round(3).tolist(), path, int(rows[row]), "a rotation (orthonormal, right-handed)")


def no_rotations(rotations: Float[np.ndarray, "n 3 3"]) -> Bool[np.ndarray, " n"]:
    """Which matrices are not orthonormal within 1e-3, or left-handed."""
    with np.errstate(invalid="ignore"):  # NaN compares false
        residual = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
        return ~((residual < 1e-3) & (np.linalg.det(rotations) > 0))


def check_column(field: str, values: np.ndarray, path: str | Path, names: Mapping[str, str], rows: np.ndarray) -> None:
    """As `check_table`, for one field of it."""
    low, high, expected = LIMITS[field]
    flat = values.reshape(len(values), -1)
    wrong = ~((flat >= low) & (flat <= high) & np.isfinite(flat))  # NaN compares false
    if wrong.any():
        row = int(wrong.any(axis=1).argmax())
        _refuse(names.get(field, field), values[row], path, int(rows[row]), expected)


def _refuse(name: str, value: object, path: str | Path, row: int, expected: str) -> None:
    raise InputError(
        f"{name} is {value}",
        where=f"{path}, particle {row + 1}",
        expected=expected,
        do="correct the column, or the program that wrote it",
    )


def group_optics(*columns: np.ndarray | None) -> Int[np.ndarray, " n"]:
    """0-based optics groups without gaps: rows with the same values in all these columns share one."""
    present = {str(i): column for i, column in enumerate(columns) if column is not None}
    groups = pd.DataFrame(present).groupby(list(present), sort=True).ngroup()
    return groups.to_numpy(dtype=np.int64)


def changed_rows(new: np.ndarray, old: np.ndarray | None, rows: np.ndarray) -> Bool[np.ndarray, " n"]:
    """Which rows of `new` differ from `old[rows]` by more than float32's rounding; all, where there was nothing."""
    if old is None:
        return np.ones(len(rows), dtype=bool)
    return ~np.isclose(new, old[rows], rtol=1e-6, atol=1e-6).reshape(len(rows), -1).all(axis=1)
