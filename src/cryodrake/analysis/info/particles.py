"""What any particle file is examined for: numbers that no microscope gives, images twice, stacks that do not fit."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from cryodrake.analysis.info.report import Problem, Report, row_words
from cryodrake.errors import InputError
from cryodrake.io.mrc import MrcStack
from cryodrake.io.raw import RawParticles
from cryodrake.io.stacks import find_stack, stack_places
from cryodrake.io.table import LARGEST_DEFOCUS_IN_UM, LIMITS, CTFColumns, no_rotations


def examine_particles(
    report: Report, raw: RawParticles, path: Path, datadir: Path | None, rows: Int[np.ndarray, " n"] | None = None
) -> None:
    """Adds what the numbers and the stacks of a particle file say.

    Args:
        rows: which row of the file each particle is, from 0; None: all in order.
    """
    rows = np.arange(raw.n) if rows is None else rows
    report.notes += raw.notes
    _say_numbers(report, raw)
    _note_repeated_images(report, raw, rows)
    found = Report(report.kind)
    _check_numbers(found, raw)
    _check_images(found, raw, path, datadir)
    report.facts += found.facts
    report.notes += found.notes
    report.problems += [replace(problem, rows=rows[problem.rows]) for problem in found.problems]
    report.healthy = found.healthy


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
            values = values[np.isfinite(values)]
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
    """Matrices (n, 3, 3) that are none."""
    report.add(f"{says} is no rotation", no_rotations(rotations), unit)


def _note_repeated_images(report: Report, raw: RawParticles, rows: Int[np.ndarray, " n"]) -> None:
    repeated = pd.DataFrame({"stack": raw.stack_of, "index": raw.index}).duplicated(keep=False).to_numpy()
    if repeated.any():
        words = f"{int(repeated.sum()):,} rows name an image that another row has too, as after symmetry expansion"
        report.notes.append(f"{words}: particle {row_words(rows[repeated])}")


def _check_images(report: Report, raw: RawParticles, path: Path, datadir: Path | None) -> None:
    """A stack that is not found is wrong where others are; where none is, they are not here."""
    missing: dict[str, Int[np.ndarray, " b"]] = {}
    ends = np.bincount(raw.stack_of, minlength=len(raw.stack_names)).cumsum()
    by_stack = np.split(np.argsort(raw.stack_of, kind="stable"), ends[:-1])
    for name, mine in zip(raw.stack_names, by_stack, strict=True):
        try:
            place = find_stack(name, path, datadir)
        except InputError:
            missing[name] = mine
            continue
        try:
            _check_stack(report, raw, MrcStack(place), mine)
        except InputError as error:
            report.add_rows(str(error).replace("\n  ", "; "), mine)
    found = len(raw.stack_names) - len(missing)
    report.facts.append(f"stacks found: {found:,} of {len(raw.stack_names):,}")
    if found:
        for name, mine in missing.items():
            report.add_rows(f"the image stack {name} is not there", mine)
    elif missing:
        first = next(iter(missing))
        places = ", ".join(map(str, stack_places(first, path, datadir)))
        report.notes.append(f"no image stack is found: say where they are with --datadir; {first} was looked for as {places}")
        report.healthy = "the numbers are healthy; images not examined"


def _check_stack(report: Report, raw: RawParticles, stack: MrcStack, mine: Int[np.ndarray, " b"]) -> None:
    """Of the particles `mine` (rows), which are those of this stack."""
    n, rows, columns = stack.shape
    if rows != columns or columns % 2:
        report.add_rows(f"{stack.path} has images of {columns} × {rows} pixels, not square and even", mine)
    index = raw.index[mine]
    report.add_rows(f"{stack.path} has only {n:,} images", mine[(index >= n) | (index < 0)])
    if raw.box is not None:
        says = f"the box is not the {columns} px of {stack.path}: is the pixel size right?"
        report.add_rows(says, mine[raw.box[mine] != columns])


def _range(values: np.ndarray) -> str:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return "unknown"
    low, high = (f"{value:.4g}" for value in (finite.min(), finite.max()))
    return low if low == high else f"{low} to {high}"
