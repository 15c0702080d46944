"""Atomic models: what there is of them, and atoms that cannot be."""

from pathlib import Path

import gemmi
import numpy as np
import pandas as pd

from cryodrake.analysis.info.report import Report
from cryodrake.errors import InputError
from cryodrake.io.atoms import read_atoms


def examine_atoms(path: Path) -> Report:
    """The first model of a file, as `simulate` reads it."""
    report = Report("atomic model")
    try:
        atoms = read_atoms(path)
    except InputError as error:
        return report.refuse(error)
    chains = list(dict.fromkeys(atoms.chain.tolist()))
    mass_kDa = sum(n * gemmi.Element(element).weight for element, n in pd.Series(atoms.element).value_counts().items()) / 1000
    report.facts.append(f"{len(atoms):,} atoms, {len(chains)} chain{'s' if len(chains) > 1 else ''}: {', '.join(chains)}")
    report.facts.append(f"{mass_kDa:,.4g} kDa")
    is_placed = np.isfinite(atoms.positions_A).all(axis=1)
    if is_placed.any():
        report.facts.append(f"extent {' × '.join(f'{extent:.4g}' for extent in np.ptp(atoms.positions_A[is_placed], axis=0))} Å")
    report.notes.append("of the first model, without water and alternative conformations; atoms are counted likewise")
    if not (atoms.atomic_number == 1).any():
        report.notes.append("no hydrogens in it, nor in its mass")
    report.add("position is no finite number", ~is_placed, "atom")
    report.add(
        "is at the place of another atom", pd.DataFrame(atoms.positions_A).duplicated(keep=False).to_numpy() & is_placed, "atom"
    )
    report.add("element is unknown", atoms.atomic_number == 0, "atom")
    report.add("occupancy is not from 0 to 1", ~((atoms.occupancy >= 0) & (atoms.occupancy <= 1)), "atom")
    report.add("B-factor is negative, or no finite number", ~((atoms.bfactor_A2 >= 0) & np.isfinite(atoms.bfactor_A2)), "atom")
    return report
