"""All that a report is made of, read once and with care: a job folder may have come by mail."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cryodrake.analysis.job_states import holds_classes
from cryodrake.analysis.report_input import InputFacts, input_facts
from cryodrake.analysis.report_quality import Curve
from cryodrake.analysis.viewing import Coverage, coverage
from cryodrake.errors import InputError
from cryodrake.io.particles import read_particles
from cryodrake.io.toml import load_toml
from cryodrake.training.config import AbinitConfig, BackprojectConfig, TrainConfig

CONFIGS = {"abinit": AbinitConfig, "train": TrainConfig, "backproject": BackprojectConfig}
KINDS: dict[str, type | tuple[type, ...]] = {  # of what the report reads from status.json and diagnostics.json
    "warnings": list, "confident_share": (int, float), "leaks": list, "notes": list,
}  # fmt: skip
PICTURE_FOLDERS = ("figures", "analysis", "maps")
# Of a job with classes these show the largest class, or stages of all in a row; each class has its own.
OF_ONE_CLASS = {"figures/progress.png", "figures/progress.gif", "figures/fsc.png", "maps/consensus.png", "maps/field.png"}


@dataclass(frozen=True)
class ReportSources:
    """Attributes:
    job: the folder.
    command, options: of job.toml.
    changed: names of the options that are not at their defaults.
    status: status.json.
    phases: (words, seconds) of each phase that events.jsonl knows.
    particles: None where there is no particles.star yet.
    views: how evenly the structure was seen; None where there are no poses yet, or those of classes, each in a frame of its own.
    curve: None where there is no maps/fsc.csv yet, or where it is that of the largest class.
    diagnosis: analysis/diagnostics.json, where the job was analysed.
    pictures: PNG and GIF files of the job, none of which lies outside it, and with classes none that is of one of them only.
    classes: of each class's job, where the job has classes; none that lies outside it.
    """

    job: Path
    command: str
    options: dict[str, Any]
    changed: set[str]
    status: dict[str, Any]
    phases: list[tuple[str, float]]
    particles: InputFacts | None
    views: Coverage | None
    curve: Curve | None
    diagnosis: dict[str, Any] | None
    pictures: list[Path]
    classes: "tuple[ReportSources, ...]" = ()


def read_sources(job: Path) -> ReportSources:
    """Raises InputError where there is no job, or where a file of it is damaged."""
    if not (job / "job.toml").exists():
        raise InputError("no job is here", where=job, expected="a folder with job.toml, made by abinit, train or backproject")
    _, toml = load_toml(job / "job.toml")
    command, options = str(toml.get("command")), toml.get("options")
    if command not in CONFIGS or not isinstance(options, dict):
        raise InputError(f"is for `cryodrake {command}`", where=job / "job.toml", expected=f"one of {', '.join(CONFIGS)}")
    defaults = {field.name: field.default for field in fields(CONFIGS[command])}
    star = job / "particles.star"
    particles = read_particles(star, need_images=False) if star.exists() else None
    has_classes = holds_classes(job)
    rotations = particles.table.rotations if particles is not None and not has_classes else None
    return ReportSources(
        job=job,
        command=command,
        options=options,
        changed={name for name, value in options.items() if value != defaults.get(name)},
        status=_json(job / "status.json") or {},
        phases=_phases(job / "events.jsonl"),
        particles=None if particles is None else input_facts(particles),
        views=None if rotations is None else coverage(rotations),
        curve=None if has_classes else _curve(job / "maps" / "fsc.csv"),
        diagnosis=_json(job / "analysis" / "diagnostics.json"),
        pictures=[path for path in _pictures(job) if not has_classes or str(path.relative_to(job)) not in OF_ONE_CLASS],
        classes=tuple(read_sources(folder) for folder in _class_folders(job)),
    )


def _class_folders(job: Path) -> list[Path]:
    found = [path.parent for path in sorted(job.glob("classes/class_[0-9][0-9]/job.toml"))]
    return [folder for folder in found if folder.resolve().is_relative_to(job.resolve())]


def _json(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=path, expected="JSON") from None
    if not isinstance(value, dict):
        raise InputError("holds no table", where=path, expected="a JSON object")
    for name, kind in KINDS.items():
        found = value.get(name)
        if found is not None and not isinstance(found, kind):
            raise InputError(f"{name} is {str(found)[:60]!r}", where=path, expected="as a job writes it")
    if not all(isinstance(leak, dict) for leak in value.get("leaks") or ()):
        raise InputError("leaks are no tables", where=path, expected="as `cryodrake analyze` writes them")
    return value


def _phases(path: Path) -> list[tuple[str, float]]:
    """Each phase lasts until the next event of another, so a run that was stopped counts no pause."""
    found: list[tuple[str, float]] = []
    began = last = 0.0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        try:
            event = json.loads(line)
            kind, time = event["event"], float(event["time"])
        except (ValueError, KeyError, TypeError):
            continue  # a line that was cut off
        if kind == "phase":
            began = time
            found.append((str(event.get("words", event.get("name"))), 0.0))
        elif found:
            last = time
            found[-1] = (found[-1][0], last - began)
    return found


def _curve(path: Path) -> Curve | None:
    if not path.exists():
        return None
    expected = "columns frequency_inv_A, fsc and fsc_unmasked"
    try:
        table = pd.read_csv(path)
        columns = [table[name].to_numpy(dtype=np.float64) for name in ("frequency_inv_A", "fsc", "fsc_unmasked")]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"cannot be read: {error}", where=path, expected=expected) from None
    if not len(table) or not np.isfinite(columns).all() or (columns[0] <= 0).any():
        raise InputError("holds values that are none", where=path, expected=expected)
    return Curve(*columns)


def _pictures(job: Path) -> list[Path]:
    """In the order of `PICTURE_FOLDERS`. A link that leads out of the job would put another file into the mail: left out."""
    inside = job.resolve()
    found = [path for folder in PICTURE_FOLDERS for path in sorted((job / folder).rglob("*")) if path.suffix in (".png", ".gif")]
    return [path for path in found if path.is_file() and path.resolve().is_relative_to(inside)]
