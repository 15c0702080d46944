"""What a file is, by its name, and what is wrong with it."""

from pathlib import Path

import numpy as np

from cryodrake.analysis.find_jobs import find_jobs
from cryodrake.analysis.info.atoms import examine_atoms
from cryodrake.analysis.info.cryosparc import examine_cs
from cryodrake.analysis.info.job import examine_job, examine_jobs
from cryodrake.analysis.info.mrc import examine_mrc
from cryodrake.analysis.info.pickle import examine_pickle
from cryodrake.analysis.info.report import Report
from cryodrake.analysis.info.star import examine_star
from cryodrake.analysis.info.text import examine_text
from cryodrake.errors import InputError


def examine(path: Path, datadir: Path | None = None) -> Report:
    """All about a file or a job folder.

    Args:
        datadir: folder that the stacks' paths are relative to.

    Raises:
        InputError: there is no such file, no such kind, or no job in the folder.
    """
    with np.errstate(all="ignore"):  # damaged files hold any number: it is judged, not warned of
        return _examine(path, datadir)


def _examine(path: Path, datadir: Path | None) -> Report:
    if path.is_dir() and (path / "job.toml").exists():
        return examine_job(path, datadir)
    if path.is_dir():
        jobs = find_jobs(path)
        if not jobs:
            raise InputError("the folder holds no job", where=path, expected="a folder with job.toml in it, or in its subfolders")
        return examine_jobs(path, jobs)
    if not path.is_file():
        raise InputError("there is no such file", where=path)
    match [suffix.lower() for suffix in path.suffixes]:
        case [*_, ".star"]:
            return examine_star(path, datadir)
        case [*_, ".cs"]:
            return examine_cs(path, datadir)
        case [*_, ".mrcs" | ".mrc" | ".map"] | [*_, ".mrcs" | ".mrc" | ".map", ".gz" | ".bz2"]:
            return examine_mrc(path)
        case [*_, ".pdb" | ".ent" | ".cif" | ".mmcif"] | [*_, ".pdb" | ".ent" | ".cif" | ".mmcif", ".gz"]:
            return examine_atoms(path)
        case [*_, ".pkl"]:
            return examine_pickle(path)
        case [*_, ".txt"]:
            return examine_text(path, datadir)
    expected = ".star, .cs, .mrc, .mrcs (also .gz, .bz2), .pdb, .cif (also .gz), .pkl, .txt, or a folder of jobs"
    raise InputError("is no kind of file that we know", where=path, expected=expected)
