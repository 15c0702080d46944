"""cryoDRGN's pickles: which of its files it is, by shape, and whether its numbers can be."""

from pathlib import Path
from typing import Any

import numpy as np

from cryodrake.analysis.info.particles import check_limits, check_rotations
from cryodrake.analysis.info.report import Problem, Report
from cryodrake.errors import InputError
from cryodrake.io.cryodrgn import CTF_ORDER, NAMES, load_pickles

CTF_WIDTHS = (9, 10)


def examine_pickle(path: Path) -> Report:
    """Poses, CTF, rows or latents; anything that could run a program is refused unread."""
    report = Report("pickle")
    try:
        objects = load_pickles(path)
    except InputError as error:
        return report.refuse(error)
    try:
        arrays = [np.asarray(part) for part in (objects[0] if isinstance(objects[0], tuple) else objects)]
    except ValueError as error:
        return report.refuse(InputError(f"holds no array: {error}", where=path))
    shapes = [array.shape for array in arrays]
    first = arrays[0] if arrays else np.empty(0)
    if first.ndim == 3 and first.shape[1:] == (3, 3) and all(a.shape == (len(first), 2) for a in arrays[1:]):
        _examine_poses(report, arrays)
    elif len(arrays) == 1 and first.ndim == 2 and first.shape[1] in CTF_WIDTHS and _has_boxes(first):
        _examine_ctf(report, first.astype(np.float64))
    elif len(arrays) == 1 and first.ndim == 1 and first.dtype.kind in "biu":
        _examine_rows(report, first)
    elif len(arrays) <= 2 and first.ndim == 2 and first.dtype.kind == "f" and shapes.count(first.shape) == len(arrays):
        _examine_latents(report, arrays)
    else:
        report.kind = f"pickle of arrays of the shapes {shapes}"
        report.notes.append("none of cryoDRGN's files that we know")
    return report


def _has_boxes(columns: np.ndarray) -> bool:
    """Whether the first column is a CTF's: latents have 9 or 10 columns too, but hardly whole numbers."""
    return bool(((columns[:, 0] > 0) & (columns[:, 0] % 1 == 0)).mean() > 0.5)


def _examine_poses(report: Report, arrays: list[Any]) -> None:
    rotations = arrays[0].astype(np.float64)
    report.kind = "cryoDRGN's poses"
    report.facts.append(f"{len(rotations):,} rotations")
    check_rotations(report, rotations, "rotation")
    for shifts in arrays[1:]:
        report.add("shift is no finite number", ~np.isfinite(shifts).all(axis=1))
        largest = float(np.abs(shifts[np.isfinite(shifts)]).max(initial=0))
        report.facts.append(f"shifts up to {largest:.3g}, " + ("in pixels" if largest > 1 else "as a fraction of the box"))


def _examine_ctf(report: Report, columns: np.ndarray) -> None:
    report.kind = "cryoDRGN's CTF"
    report.facts.append(f"{len(columns):,} particles; box {columns[0, 0]:g} px at {columns[0, 1]:.4g} Å (first particle)")
    report.add("column 1 (box) is not an even number of pixels", ~((columns[:, 0] > 0) & (columns[:, 0] % 2 == 0)))
    check_limits(report, "pixel_size_A", columns[:, 1], "column 2 (pixel_size_A)")
    for name, values in zip(CTF_ORDER, columns.T[2:], strict=False):
        check_limits(report, name, values, NAMES[name])


def _examine_rows(report: Report, rows: np.ndarray) -> None:
    if rows.dtype == bool:
        report.kind = "mask of chosen rows"
        report.facts.append(f"{int(rows.sum()):,} of {len(rows):,}")
        return
    report.kind = "chosen rows"
    check_row_numbers(report, rows)


def check_row_numbers(report: Report, rows: np.ndarray) -> None:
    """Rows from 0: how many, and which entries are below 0 or there already."""
    report.facts.append(f"{len(rows):,} rows" + (f", {rows.min():,} to {rows.max():,}" if len(rows) else ""))
    report.add("row number is below 0", rows < 0, "entry")
    first = np.zeros(len(rows), dtype=bool)
    first[np.unique(rows, return_index=True)[1]] = True
    report.add("row number is there already", ~first, "entry")


def _examine_latents(report: Report, arrays: list[np.ndarray]) -> None:
    report.kind = "cryoDRGN's latents" + (" and their log variances" if len(arrays) == 2 else "")
    report.facts.append(f"{len(arrays[0]):,} particles, {arrays[0].shape[1]} dimensions")
    width, first = arrays[0].shape[1], arrays[0][:, 0]
    if len(arrays) == 1 and width in CTF_WIDTHS and len(first) and (first % 1 == 0).mean() > 0.5:
        report.kind = f"pickle of {len(first):,} × {width} numbers, cryoDRGN's latents or a damaged CTF"
        report.problems.append(Problem(f"{width} columns as of a CTF, the first whole numbers as its box would be, and no box"))
    for array in arrays:
        report.add("values that are not finite", ~np.isfinite(array).all(axis=1))
