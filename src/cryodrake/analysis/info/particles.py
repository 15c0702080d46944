"""What any particle file is examined for: numbers that no microscope gives, images twice, stacks that do not fit."""

from dataclasses import fields
from pathlib import Path

import numpy as np

from cryodrake.analysis.info.report import Problem, Report
from cryodrake.errors import InputError
from cryodrake.io.mrc import MrcStack
from cryodrake.io.raw import RawParticles
from cryodrake.io.stacks import find_stack
from cryodrake.io.table import LARGEST_DEFOCUS_IN_UM, LIMITS, CTFColumns


def examine_particles(report: Report, raw: RawParticles, path: Path, datadir: Path | None) -> None:
    """Adds what the numbers and the stacks of a particle file say."""
    report.notes += raw.notes
    _say_numbers(report, raw)
    _check_numbers(report, raw)
    _check_images(report, raw, path, datadir)


def _say_numbers(report: Report, raw: RawParticles) -> None:
    facts = report.facts
    facts.append(f"{raw.n:,} particles, stacks: {len(raw.stack_names):,}")
    if raw.pixel_size_A is None:
        report.notes.append("no pixel size in the file: give it with --apix")
    else:
        facts.append(f"pixel size {_range(raw.pixel_size_A)} Å")
    if raw.box is not None:
        facts.append(f"box {_range(raw.box)} px")
    if raw.ctf is not None:
        defocus_um = (raw.ctf.defocus_u_A + raw.ctf.defocus_v_A) / 2e4
        facts.append(
            f"CTF: {_range(raw.ctf.voltage_kV)} kV, Cs {_range(raw.ctf.cs_mm)} mm, "
            f"amplitude contrast {_range(raw.ctf.amplitude_contrast)}, defocus {_range(defocus_um)} µm"
        )
    facts.append("no poses" if raw.rotations is None else "poses" + ("" if raw.shifts is not None else ", no shifts"))
    if raw.half_set is not None:
        facts.append(f"half sets of {int((raw.half_set == 1).sum()):,} and {int((raw.half_set == 2).sum()):,}")


def _check_numbers(report: Report, raw: RawParticles) -> None:
    columns = {"pixel_size_A": raw.pixel_size_A, "shifts_A": raw.shifts, "confidence": raw.confidence}
    if raw.ctf is not None:
        columns |= {field.name: getattr(raw.ctf, field.name) for field in fields(CTFColumns)}
    for name, values in columns.items():
        if values is not None:
            check_limits(report, name, values, raw.names.get(name, name))
    if raw.ctf is not None:
        for name in ("defocus_u_A", "defocus_v_A"):
            values = np.abs(getattr(raw.ctf, name))
            if 0 < values.max(initial=0) < LARGEST_DEFOCUS_IN_UM:
                report.problems.append(Problem(f"{raw.names.get(name, name)} is nowhere above {values.max():g}; is it in µm?"))
    if raw.rotations is not None:
        check_rotations(report, raw.rotations, raw.names.get("rotations", "rotation"))


def check_limits(report: Report, name: str, values: np.ndarray, says: str, unit: str = "particle") -> None:
    """Values (n,) or (n, 2) of a field of the particle table that are not finite, or beyond what there is."""
    low, high, expected = LIMITS[name]
    flat = values.reshape(len(values), -1)
    finite = np.isfinite(flat)
    report.add(f"{says} is no finite number", (~finite).any(axis=1), unit)
    report.add(f"{says} is not {expected}", ((flat < low) | (flat > high)).any(axis=1) & finite.all(axis=1), unit)


def check_rotations(report: Report, rotations: np.ndarray, says: str, unit: str = "particle") -> None:
    """Matrices (n, 3, 3) that are not orthonormal within 1e-3, or left-handed."""
    residual = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    report.add(f"{says} is no rotation", ~((residual < 1e-3) & (np.linalg.det(rotations) > 0)), unit)


def _check_images(report: Report, raw: RawParticles, path: Path, datadir: Path | None) -> None:
    pairs = np.stack([raw.stack_of, raw.index], axis=1)
    repeated = raw.n - len(np.unique(pairs, axis=0))
    if repeated:
        report.notes.append(f"{repeated:,} rows name an image that another row has too, as after symmetry expansion")
    found = 0
    for i, name in enumerate(raw.stack_names):
        try:
            place = find_stack(name, path, datadir)
        except InputError:
            continue
        found += 1
        mine = raw.stack_of == i
        try:
            _check_stack(report, raw, MrcStack(place), mine)
        except InputError as error:
            report.add(str(error).replace("\n  ", "; "), mine)
    report.facts.append(f"stacks found: {found:,} of {len(raw.stack_names):,}")
    if found < len(raw.stack_names):
        report.notes.append("stacks that are not found cannot be examined: say where they are with --datadir")


def _check_stack(report: Report, raw: RawParticles, stack: MrcStack, mine: np.ndarray) -> None:
    n, rows, columns = stack.shape
    if rows != columns or columns % 2:
        report.add(f"{stack.path} has images of {columns} × {rows} pixels, not square and even", mine)
    report.add(f"{stack.path} has only {n:,} images", mine & ((raw.index >= n) | (raw.index < 0)))
    if raw.box is not None:
        report.add(f"the box is not the {columns} px of {stack.path}: is the pixel size right?", mine & (raw.box != columns))


def _range(values: np.ndarray) -> str:
    low, high = (f"{value:.4g}" for value in (np.nanmin(values), np.nanmax(values)))
    return low if low == high else f"{low} to {high}"
