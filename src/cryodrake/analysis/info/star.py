"""STAR files: first as text, so that every bad cell is found and not only the first, then as particles."""

from pathlib import Path

import numpy as np
import pandas as pd

from cryodrake.analysis.info.particles import examine_particles
from cryodrake.analysis.info.report import Report
from cryodrake.errors import InputError
from cryodrake.io.relion import ANGLES, CONFIDENCE, CTF_NAMES, HALF_SET, IMAGE, SHIFTS_A, SHIFTS_PX, read_relion
from cryodrake.io.star import StarFile, read_star, strings

GROUP = "rlnOpticsGroup"
NUMERIC = (
    *ANGLES, *SHIFTS_A, *SHIFTS_PX, *CTF_NAMES.values(), HALF_SET, CONFIDENCE, GROUP, "rlnImagePixelSize", "rlnImageSize",
    "rlnDetectorPixelSize", "rlnMagnification", "rlnCoordinateX", "rlnCoordinateY", "rlnClassNumber",
)  # fmt: skip


def examine_star(path: Path, datadir: Path | None) -> Report:
    """Any STAR file; one with rlnImageName as particles."""
    report = Report("STAR file")
    try:
        star = read_star(path)
        name = star.block_with(IMAGE)
        tables = {block: _table(report, star, block) for block in star.blocks}
    except InputError as error:
        return report.refuse(error)
    if name is None:
        report.facts += [f"data_{block}: {len(t):,} rows of {', '.join(t.columns)}" for block, t in tables.items() if t is not None]
        report.notes.append(f"no particles: no table has {IMAGE}")
        return report
    report.kind = "STAR file of particles, RELION " + ("3.1 or later" if "optics" in tables else "3.0 or earlier")
    particles, optics = tables[name], tables.get("optics")
    if particles is not None:
        _check_cells(report, particles, "particle")
        _check_image_names(report, particles)
        if optics is not None:
            _check_cells(report, optics, "row of data_optics")
            _check_versions(report, particles, optics)
    if report.problems:
        report.notes.append("numbers and images were not examined: correct these problems first")
        return report
    try:
        examine_particles(report, read_relion(path), path, datadir)
    except InputError as error:
        report.refuse(error)
    return report


def _table(report: Report, star: StarFile, block: str) -> pd.DataFrame | None:
    """None, and a problem for each row of another length, where it is no table."""
    try:
        return star.table(block)
    except InputError as error:
        columns, cells = star.cell_counts(block)
        if (cells == columns).all():
            report.refuse(error)
        report.add(f"data_{block} has fewer cells than its {columns} columns", cells < columns, "row")
        report.add(f"data_{block} has more cells than its {columns} columns", cells > columns, "row")
        return None


def _check_cells(report: Report, table: pd.DataFrame, unit: str) -> None:
    for name in NUMERIC:
        if name in table:
            is_number = pd.to_numeric(table[name], errors="coerce").notna() | table[name].str.lower().str.fullmatch(r"[+-]?nan")
            report.add(f"{name} is no number", ~is_number.to_numpy(), unit)


def _check_image_names(report: Report, table: pd.DataFrame) -> None:
    parts = pd.Series(strings(table, IMAGE)).str.split("@", n=1)
    number, stack = parts.str[0], parts.str[-1]
    has_number = parts.str.len() == 2
    is_counted = number.str.fullmatch(r"0*[1-9]\d*").to_numpy(dtype=bool) | ~has_number.to_numpy(dtype=bool)
    report.add(f"{IMAGE} is not an image and its stack, such as 000001@a.mrcs", ~is_counted | (stack == "").to_numpy(dtype=bool))


def _check_versions(report: Report, particles: pd.DataFrame, optics: pd.DataFrame) -> None:
    """What RELION 3.1 and later read otherwise than meant."""
    if SHIFTS_PX[0] in particles and SHIFTS_A[0] not in particles:
        report.add(f"{SHIFTS_PX[0]} beside data_optics, which RELION reads as no shifts", np.ones(len(particles), dtype=bool))
    if GROUP in particles and GROUP in optics:
        known = set(pd.to_numeric(optics[GROUP], errors="coerce"))
        group = pd.to_numeric(particles[GROUP], errors="coerce")
        report.add(f"{GROUP} is not in data_optics", ~group.isin(known).to_numpy())
        report.add(f"{GROUP} is there twice", pd.Series(optics[GROUP]).duplicated().to_numpy(), "row of data_optics")
