"""Atomic models, PDB or mmCIF, plain or gzipped, through gemmi."""

from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from jaxtyping import Float, Int, Shaped

from cryodrake.errors import InputError


@dataclass(frozen=True, eq=False)
class Atoms:
    """The atoms of a model, one row each.

    Attributes:
        positions_A: (x, y, z), as in the file.
        atomic_number: 1 for H, 6 for C, …
        element: its symbol.
        bfactor_A2: isotropic B-factor.
        occupancy: 0 to 1.
        chain: the author's chain id (auth_asym_id in mmCIF).
        residue: the author's residue number, insertion code included ("52A").
        name: of the atom in its residue ("CA").
    """

    positions_A: Float[np.ndarray, "atoms 3"]
    atomic_number: Int[np.ndarray, " atoms"]
    element: Shaped[np.ndarray, " atoms"]
    bfactor_A2: Float[np.ndarray, " atoms"]
    occupancy: Float[np.ndarray, " atoms"]
    chain: Shaped[np.ndarray, " atoms"]
    residue: Shaped[np.ndarray, " atoms"]
    name: Shaped[np.ndarray, " atoms"]

    def __len__(self) -> int:
        return len(self.positions_A)


def read_atoms(path: str | Path) -> Atoms:
    """Read the first model of a file; of alternative conformations the first, and no water.

    Raises:
        InputError: missing, not understood, or without atoms.
    """
    try:
        structure = gemmi.read_structure(str(path))
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"cannot be read as an atomic model: {error}", where=path, expected=".pdb, .cif or .ent, also .gz"
        ) from error
    structure.remove_alternative_conformations()
    structure.remove_waters()
    sites = [(site.atom, site.residue, site.chain.name) for site in structure[0].all()] if len(structure) else []
    if not sites:
        raise InputError("has no atoms", where=path, expected="a PDB or mmCIF file with coordinates")
    return Atoms(
        positions_A=np.array([atom.pos.tolist() for atom, _, _ in sites]),
        atomic_number=np.array([atom.element.atomic_number for atom, _, _ in sites]),
        element=np.array([atom.element.name for atom, _, _ in sites]),
        bfactor_A2=np.array([atom.b_iso for atom, _, _ in sites]),
        occupancy=np.array([atom.occ for atom, _, _ in sites]),
        chain=np.array([chain for _, _, chain in sites]),
        residue=np.array([str(residue.seqid) for _, residue, _ in sites]),
        name=np.array([atom.name for atom, _, _ in sites]),
    )
