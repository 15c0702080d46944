"""Job folders: how the job stands, and whether its files are whole and go together."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cryodrake.analysis.info.mrc import examine_mrc
from cryodrake.analysis.info.report import Problem, Report
from cryodrake.analysis.info.star import examine_star
from cryodrake.analysis.job_particles import datadir as job_datadir
from cryodrake.analysis.job_particles import job_options, read_job_particles
from cryodrake.analysis.job_states import check_rows, read_classes, read_latents
from cryodrake.errors import InputError

OF_FINISHED = ("particles.star", "maps/consensus.mrc", "maps/half1_unfil.mrc", "maps/half2_unfil.mrc", "maps/fsc.csv")


def examine_job(path: Path, datadir: Path | None) -> Report:
    """A folder with a job.toml."""
    report = Report("cryodrake job folder")
    try:
        options, status = job_options(path), _status(path)
    except InputError as error:
        return report.refuse(error)
    state = status.get("state")
    report.facts.append(f"of {options.get('particles', 'unknown particles')}, {state}")
    if state is None:
        report.problems.append(Problem("status.json says no state"))
    elif status.get("verdict"):
        report.facts.append(str(status["verdict"]))
    if state == "finished":
        missing = [name for name in OF_FINISHED if not (path / name).exists()]
        report.problems += [Problem(f"{name} is not there") for name in missing]
    _examine_particles(report, path, datadir or job_datadir(path))
    for file in sorted((path / "maps").rglob("*.mrc")):
        found = examine_mrc(file, is_stack=False)
        report.problems += [Problem(f"{file.relative_to(path)}: {p.what}", p.rows, p.unit) for p in found.problems]
    return report


def examine_jobs(path: Path, jobs: Sequence[Path]) -> Report:
    """How each job in a folder stands."""
    report = Report(f"folder of {len(jobs):,} job{'s' if len(jobs) > 1 else ''}")
    for job in jobs:
        name = job.relative_to(path) if job != path else job.name
        try:
            status = _status(job)
        except InputError as error:
            report.add_error(error)
            continue
        verdict = " ".join(str(status.get("verdict") or "").split())
        report.facts.append(f"{name}: {status.get('state', 'no state')}" + (f"; {verdict}" if verdict else ""))
    report.notes.append("the files of a job are examined when its own folder is given")
    return report


def _status(job: Path) -> dict[str, Any]:
    """Of status.json. Raises InputError where it cannot be read."""
    try:
        status = json.loads((job / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=job / "status.json") from None
    return status if isinstance(status, dict) else {}


def _examine_particles(report: Report, path: Path, datadir: Path | None) -> None:
    star = path / "particles.star"
    if not star.exists():
        return
    found = examine_star(star, datadir)
    report.facts += found.facts
    report.notes += found.notes
    report.healthy = found.healthy
    report.problems += [Problem(f"particles.star: {p.what}", p.rows, p.unit) for p in found.problems]
    if found.problems:
        return
    try:
        n = len(read_job_particles(path))
    except InputError as error:
        report.refuse(error)
        return
    for name, read in (("latents.npy", read_latents), ("classes.npy", read_classes)):
        try:
            values: np.ndarray | None = read(path)
            if values is not None:
                check_rows(path, name, len(values), n)
                report.facts.append(f"{name}: {' × '.join(map(str, values.shape))}")
        except InputError as error:
            report.add_error(error)
