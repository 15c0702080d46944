"""cryoSPARC's .cs files, of particles or of anything else."""

from pathlib import Path

import numpy as np
import pandas as pd

from cryodrake.analysis.info.particles import examine_particles
from cryodrake.analysis.info.report import Report
from cryodrake.errors import InputError
from cryodrake.io.cryosparc import field_names, read_cryosparc
from cryodrake.io.npy import read_npy


def examine_cs(path: Path, datadir: Path | None) -> Report:
    """Fields and rows; particles as particles."""
    report = Report("cryoSPARC .cs file")
    try:
        array = read_npy(path, "a structured array", "export it from cryoSPARC again, in its classic format")
    except InputError as error:
        return report.refuse(error)
    groups = dict.fromkeys(name.split("/")[0] for name in field_names(array))
    report.facts.append(f"{array.size:,} rows with the fields {', '.join(groups) or 'of no structured array'}")
    if "uid" in groups:
        report.add("uid is there twice", pd.Series(array["uid"]).duplicated(keep=False).to_numpy(), "row")
    if groups and not groups.keys() & {"blob", "alignments3D", "alignments2D"}:
        report.notes.append("no particles in it")
        return report
    try:
        raw = read_cryosparc(path)
    except InputError as error:
        return report.refuse(error)
    report.kind = "cryoSPARC .cs file of particles"
    if raw.sign is not None:
        report.add("blob/sign is neither 1 nor -1", ~np.isin(raw.sign, [-1, 1]))
    examine_particles(report, raw, path, datadir)
    return report
