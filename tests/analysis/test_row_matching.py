"""Particles are found in another file by what names them, and never by a guess."""

import numpy as np
import pytest

from cryodrake.analysis.row_matching import matching_rows
from cryodrake.errors import InputError
from cryodrake.io.particles import read_particles

DEFOCUS_A = np.array([15000.5, 16000.5, 17000.5, 18000.5])


def star(path, rows, stack="a.mrcs", xy=None, ctf=True):
    """A RELION file of these of four particles."""
    columns = ["rlnImageName"] + ["rlnMicrographName", "rlnCoordinateX", "rlnCoordinateY"] * (xy is not None)
    columns += ["rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"] * ctf
    lines = []
    for place, row in enumerate(rows):
        cells = [f"{place + 1}@{stack}"] + ([f"m{row % 2}.mrc", f"{xy[row]:.6f}", "7.5"] if xy is not None else [])
        lines.append(" ".join(cells + [f"{DEFOCUS_A[row]}", "15000", "0"] * ctf))
    optics = (
        "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n_rlnVoltage\n_rlnSphericalAberration\n_rlnAmplitudeContrast\n"
    )
    head = "".join(f"_{name}\n" for name in columns)
    path.write_text(f"{optics}1 2.0 300 2.7 0.1\n\ndata_particles\n\nloop_\n{head}" + "\n".join(lines) + "\n")
    return read_particles(path, need_images=False)


def test_by_place_on_the_micrograph_whatever_the_stack_and_the_order(tmp_path):
    xy = [100.125, 100.125, 250.0, 3.0]  # two on different micrographs share a coordinate
    ours, other = star(tmp_path / "a.star", [3, 1], "small.mrcs", xy), star(tmp_path / "b.star", [0, 1, 2, 3], "b.mrcs", xy)
    rows, words = matching_rows(ours, other, None)
    assert rows.tolist() == [3, 1]
    assert words == "by place on the micrograph"


def test_the_same_image_before_all_else(tmp_path):
    ours, other = star(tmp_path / "a.star", [2, 1]), star(tmp_path / "b.star", [2, 1, 0])
    assert matching_rows(ours, other, None)[0].tolist() == [0, 1]


def test_row_by_row_only_where_defoci_agree(tmp_path):
    ours = star(tmp_path / "a.star", [0, 1, 2], "small.mrcs")
    assert matching_rows(ours, star(tmp_path / "b.star", [0, 1, 2], "b.mrcs"), None)[1] == "row by row"
    with pytest.raises(InputError, match="cannot be matched"):
        matching_rows(ours, star(tmp_path / "b.star", [0, 2, 1], "b.mrcs"), None)
    with pytest.raises(InputError, match="cannot be matched"):
        matching_rows(ours, star(tmp_path / "b.star", [0, 1, 2, 3], "b.mrcs"), None)


def test_by_the_rows_of_a_selection_only_where_defoci_agree(tmp_path):
    ours, other = star(tmp_path / "a.star", [3, 1], "small.mrcs"), star(tmp_path / "b.star", [0, 1, 2, 3], "b.mrcs")
    assert matching_rows(ours, other, lambda: np.array([3, 1]))[0].tolist() == [3, 1]
    bare = star(tmp_path / "c.star", [0, 1, 2, 3], "b.mrcs", ctf=False)
    for wrong, rows in ((other, [1, 3]), (other, [3, 4]), (bare, [3, 1])):
        with pytest.raises(InputError, match="cannot be matched"):
            matching_rows(ours, wrong, lambda rows=rows: np.array(rows))


def test_the_same_name_of_two_stacks_is_not_the_same_image(tmp_path):
    """A selection that was extracted again, into a stack of the old one's name."""
    xy = [100.125, 100.125, 250.0, 3.0]
    ours, other = star(tmp_path / "a.star", [3, 1], "a.mrcs", xy), star(tmp_path / "b.star", [0, 1, 2, 3], "a.mrcs", xy)
    rows, words = matching_rows(ours, other, None)
    assert rows.tolist() == [3, 1]
    assert words == "by place on the micrograph"


def test_defoci_may_have_been_refined_since(tmp_path, monkeypatch):
    ours = star(tmp_path / "a.star", [0, 1, 2])
    monkeypatch.setitem(globals(), "DEFOCUS_A", DEFOCUS_A + 300)
    rows, words = matching_rows(ours, star(tmp_path / "b.star", [0, 1, 2, 3]), None)
    assert rows.tolist() == [0, 1, 2]
    assert words == "by image, although defoci differ"
