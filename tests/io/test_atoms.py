import gzip
from pathlib import Path

import numpy as np
import pytest

from cryodrake.errors import InputError
from cryodrake.io.atoms import read_atoms

PDB = """\
MODEL        1
ATOM      1  N   MET A   1      27.340  24.430   2.614  1.00  9.67           N
ATOM      2  CA AMET A   1      26.266  25.413   2.842  0.60 10.38           C
ATOM      3  CA BMET A   1      26.000  25.000   2.000  0.40 10.38           C
HETATM    4 ZN    ZN B   2     -13.500   0.000   5.125  1.00 20.00          ZN
HETATM    5  O   HOH B   3       1.000   2.000   3.000  1.00 30.00           O
ENDMDL
MODEL        2
ATOM      1  N   MET A   1      99.340  24.430   2.614  1.00  9.67           N
ENDMDL
END
"""
CIF = """\
data_x
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_seq_id
_atom_site.auth_seq_id
_atom_site.auth_asym_id
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.occupancy
_atom_site.B_iso_or_equiv
ATOM 1 P P . A AA 1 1 28S 1.5 -2.25 3 1 55.5
ATOM 2 C C1 . A AA 1 1 28S 2.5 -2.25 3 1 56.5
"""


@pytest.mark.parametrize("packed", [False, True])
def test_pdb(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("a.pdb.gz" if packed else "a.pdb")
    path.write_bytes(gzip.compress(PDB.encode()) if packed else PDB.encode())
    atoms = read_atoms(path)
    np.testing.assert_array_equal(atoms.positions_A, [[27.34, 24.43, 2.614], [26.266, 25.413, 2.842], [-13.5, 0, 5.125]])
    assert atoms.element.tolist() == ["N", "C", "Zn"]
    assert atoms.atomic_number.tolist() == [7, 6, 30]
    assert atoms.chain.tolist() == ["A", "A", "B"]
    assert atoms.residue.tolist() == ["1", "1", "2"]
    assert atoms.name.tolist() == ["N", "CA", "ZN"]
    np.testing.assert_allclose(atoms.bfactor_A2, [9.67, 10.38, 20], rtol=1e-6)


def test_mmcif(tmp_path: Path) -> None:
    path = tmp_path / "a.cif"
    path.write_text(CIF)
    atoms = read_atoms(path)
    np.testing.assert_array_equal(atoms.positions_A, [[1.5, -2.25, 3], [2.5, -2.25, 3]])
    assert atoms.chain.tolist() == ["28S", "28S"]
    assert len(atoms) == 2


@pytest.mark.parametrize(("name", "content"), [("a.pdb", "REMARK nothing\n"), ("a.cif", "data_x\n"), ("b.cif", "loop_ !")])
def test_refused(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_atoms(path)
    assert caught.value.where == str(path)
    with pytest.raises(InputError):
        read_atoms(tmp_path / "none.pdb")
