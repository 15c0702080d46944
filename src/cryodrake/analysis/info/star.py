"""STAR files: first as text, so that every bad cell is found and not only the first, then as particles."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from cryodrake.analysis.info.particles import examine_particles
from cryodrake.analysis.info.report import Report
from cryodrake.errors import InputError
from cryodrake.io.relion import ANGLES, CONFIDENCE, CTF_NAMES, HALF_SET, IMAGE, SHIFTS_A, SHIFTS_PX, relion_particles
from cryodrake.io.star import StarFile, read_star, strings

GROUP = "rlnOpticsGroup"
JUDGED = (  # with their limits, by `examine_particles`
    *SHIFTS_A, *SHIFTS_PX, *CTF_NAMES.values(), CONFIDENCE, "rlnImagePixelSize", "rlnDetectorPixelSize", "rlnMagnification",
)  # fmt: skip
FINITE = (*ANGLES, HALF_SET, GROUP, "rlnImageSize", "rlnCoordinateX", "rlnCoordinateY", "rlnClassNumber")


@dataclass(frozen=True, eq=False)
class _Table:
    """Those rows of a block that have as many cells as it has columns.

    Attributes:
        rows: which of the block's rows they are, from 0.
        unit: what a row is called.
    """

    cells: pd.DataFrame
    rows: Int[np.ndarray, " n"]
    unit: str

    def __contains__(self, column: str) -> bool:
        return column in self.cells

    def numbers(self, column: str) -> pd.Series:
        """NaN where a cell is none."""
        return pd.to_numeric(self.cells[column], errors="coerce")


def examine_star(path: Path, datadir: Path | None) -> Report:
    """Any STAR file; one with rlnImageName as particles."""
    report = Report("STAR file")
    try:
        star = read_star(path)
        name = star.block_with(IMAGE)
        units = {block: "particle" if block == name else f"row of data_{block}" for block in star.blocks}
        tables = {block: _table(report, star, block, unit) for block, unit in units.items()}
    except InputError as error:
        return report.refuse(error)
    if name is None:
        facts = [f"data_{block}: {len(t.rows):,} rows of {', '.join(t.cells)}" for block, t in tables.items() if t is not None]
        report.facts += facts
        report.notes.append(f"no particles: no table has {IMAGE}")
        return report
    report.kind = "STAR file of particles, RELION " + ("3.1 or later" if "optics" in tables else "3.0 or earlier")
    particles, optics = tables[name], tables.get("optics")
    if particles is None or ("optics" in tables and optics is None):
        return report
    if IMAGE not in particles:
        return report.refuse(InputError(f"the list of columns of data_{name} ends before {IMAGE}"))
    good = _check_cells(report, particles) & _check_image_names(report, particles)
    good_optics = None
    if optics is not None:
        known = _check_cells(report, optics)
        good &= _check_versions(report, particles, optics, known)
        good_optics = optics.cells[known]
    n, rows = int(star.cell_counts(name)[1].size), particles.rows[good]
    if n and not len(rows):
        report.notes.append("numbers and images were not examined: correct these problems first")
        return report
    if n > len(rows):
        report.notes.append(f"left out of the rest are {n - len(rows):,} of {n:,} particles, which cannot be read as a whole")
    try:
        raw = relion_particles(star, name, particles.cells[good], good_optics)
        examine_particles(report, raw, path, datadir, rows)
    except InputError as error:
        report.refuse(error)
    return report


def _table(report: Report, star: StarFile, block: str, unit: str) -> _Table | None:
    """Of the rows of the right length, and a problem for each of another; None, and a problem, where there is no table."""
    try:
        table = star.table(block)
        return _Table(table, np.arange(len(table)), unit)
    except InputError as error:
        columns, cells = star.cell_counts(block)
        rows = np.flatnonzero(cells == columns)
        whole = star.with_rows(block, rows).table(block)
        if len(rows) == len(cells) or len(whole) != len(rows):
            report.refuse(error)
            return None
    report.add(f"data_{block} has fewer cells than its {columns} columns", cells < columns, "row")
    report.add(f"data_{block} has more cells than its {columns} columns", cells > columns, "row")
    return _Table(whole, rows, unit)


def _check_cells(report: Report, table: _Table) -> Bool[np.ndarray, " n"]:
    """Which rows can be read as numbers."""
    good = np.ones(len(table.rows), dtype=bool)
    for name in (name for name in (*JUDGED, *FINITE) if name in table):
        values = table.numbers(name)
        is_number = (values.notna() | table.cells[name].str.lower().str.fullmatch(r"[+-]?nan")).to_numpy(dtype=bool)
        report.add_rows(f"{name} is no number", table.rows[~is_number], table.unit)
        good &= is_number
        if name in FINITE:
            is_finite = np.isfinite(values.to_numpy(dtype=np.float64))
            report.add_rows(f"{name} is no finite number", table.rows[is_number & ~is_finite], table.unit)
            good &= is_finite
    return good


def _check_image_names(report: Report, table: _Table) -> Bool[np.ndarray, " n"]:
    """Which rows name an image."""
    parts = pd.Series(strings(table.cells, IMAGE), dtype=object).str.split("@", n=1)
    number, stack = parts.str[0], parts.str[-1].str.removesuffix(":mrcs")
    has_number = (parts.str.len() == 2).to_numpy(dtype=bool)
    is_counted = number.str.fullmatch(r"0*[1-9]\d{0,17}").to_numpy(dtype=bool) | ~has_number
    good = is_counted & (stack != "").to_numpy(dtype=bool)
    report.add_rows(f"{IMAGE} is not an image and its stack, such as 000001@a.mrcs", table.rows[~good], table.unit)
    return good


def _check_versions(
    report: Report, particles: _Table, optics: _Table, good_optics: Bool[np.ndarray, " groups"]
) -> Bool[np.ndarray, " n"]:
    """What RELION 3.1 and later read otherwise than meant; which particles are in a good group.

    Of two groups of one number the second is taken out of the good ones.
    """
    if SHIFTS_PX[0] in particles and SHIFTS_A[0] not in particles:
        report.add_rows(f"{SHIFTS_PX[0]} beside data_optics, which RELION reads as no shifts", particles.rows, particles.unit)
    if GROUP not in particles or GROUP not in optics:
        return np.full(len(particles.rows), len(good_optics) > 0 and bool(good_optics.all()))
    group, known = particles.numbers(GROUP), optics.numbers(GROUP)
    is_known, is_number = group.isin(known).to_numpy(), np.isfinite(group.to_numpy(dtype=np.float64))
    report.add_rows(f"{GROUP} is not in data_optics", particles.rows[~is_known & is_number], particles.unit)
    is_second = known.duplicated().to_numpy() & np.isfinite(known.to_numpy(dtype=np.float64))
    report.add_rows(f"{GROUP} is there twice", optics.rows[is_second], optics.unit)
    good_optics &= ~is_second
    return group.isin(known[good_optics]).to_numpy()
