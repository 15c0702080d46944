"""Real files of the field are what they are said to be, and have no problems. They are not in the repository: skipped without."""

import shutil
from pathlib import Path

import pytest

from cryodrake.analysis.info.examine import examine
from cryodrake.app.cli import main

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no real data here")
KINDS = {
    "PfCRT_refine_head.star": ("RELION 3.0", "5 particles"),
    "RyR1_greatcircle_14491.star": ("RELION 3.0", "14,491 particles"),
    "aspire_K2_3796.star": ("RELION 3.0", "3,796 particles"),
    "bgal_empiar10204_relion31_class3d.star": ("RELION 3.1", "4,501 particles"),
    "dnatet_cryosparc_P12_J24_2019.cs": ("cryoSPARC", "2,019 particles"),
    "t20s_empiar10025_P9_J209_particles.cs": ("cryoSPARC", "11,764 particles"),
    "empiar10028_ctf.pkl": ("cryoDRGN's CTF", "105,247 particles"),
}


@pytest.mark.parametrize("path", sorted(DATA.glob("meta/*")), ids=lambda path: path.name)
def test_metadata(path):
    report = examine(path)
    assert not report.problems
    kind, n = KINDS[path.name]
    assert kind in report.kind
    assert any(n in fact for fact in report.facts)


@pytest.mark.parametrize("path", sorted(DATA.glob("images/*")) + sorted(DATA.glob("maps/*")), ids=lambda path: path.name)
def test_images_and_maps(path):
    report = examine(path)
    assert not report.problems
    if path.suffix in (".star", ".cs"):
        assert "stacks found: 1 of 1" in report.facts


def test_one_cell_of_a_real_file_made_wrong_is_found(tmp_path, capsys):
    text = (DATA / "meta" / "bgal_empiar10204_relion31_class3d.star").read_text().replace("10863.857422", "1086x.857422", 1)
    (tmp_path / "bad.star").write_text(text)
    assert main(["info", str(tmp_path / "bad.star")]) == 2
    assert "rlnDefocusU is no number: particle 1\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["trpv1_small_stack", "sample_particles_relion31", "empiar_10076_7"])
def test_smaller_copies_of_real_images_are_healthy(tmp_path, name):
    for file in DATA.glob("images/*"):
        shutil.copy(file, tmp_path / file.name)
    assert main(["downsample", str(tmp_path / f"{name}.star"), "-o", str(tmp_path / "small.star"), "--box", "24"]) == 0
    report = examine(tmp_path / "small.star")
    assert not report.problems
    assert "box 24 px" in report.facts or "data_optics" not in (tmp_path / "small.star").read_text()
