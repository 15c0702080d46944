"""RELION files in and out. The Euler matrix here is written out from RELION's convention page, apart from our code."""

from pathlib import Path

import numpy as np
import pytest
import starfile
from scipy.spatial.transform import Rotation

from cryodrake.errors import InputError
from cryodrake.io.particles import read_particles


def euler_matrix(rot: float, tilt: float, psi: float) -> np.ndarray:
    """A = Rz(psi) Ry(tilt) Rz(rot), coordinate-system rotations, degrees (RELION: Conventions, Orientations)."""
    a, b, g = np.deg2rad([rot, tilt, psi])

    def rz(t: float) -> np.ndarray:
        return np.array([[np.cos(t), np.sin(t), 0], [-np.sin(t), np.cos(t), 0], [0, 0, 1]])

    ry = np.array([[np.cos(b), 0, -np.sin(b)], [0, 1, 0], [np.sin(b), 0, np.cos(b)]])
    return rz(g) @ ry @ rz(a)


def test_columns_of_31(relion31: Path) -> None:
    table = read_particles(relion31).table
    assert table.ctf is not None
    np.testing.assert_array_equal(table.pixel_size_A, [1.5, 2.0, 1.5])  # each row its own group's
    np.testing.assert_array_equal(table.optics_group, [0, 1, 0])
    np.testing.assert_array_equal(table.ctf.voltage_kV, [300, 200, 300])
    np.testing.assert_array_equal(table.ctf.cs_mm, [2.7, 2.0, 2.7])
    np.testing.assert_array_equal(table.ctf.amplitude_contrast, [0.1, 0.07, 0.1])
    np.testing.assert_array_equal(table.ctf.defocus_u_A, [15000.1, 16000.1, 17000.1])
    np.testing.assert_array_equal(table.ctf.defocus_angle_deg, [31.5, -12, 45])
    np.testing.assert_array_equal(table.ctf.phase_shift_deg, [0, 90, 0])
    np.testing.assert_array_equal(table.ctf.bfactor_A2, 0)
    np.testing.assert_array_equal(table.shifts_A, [[1.5, -3], [0.1, 0.2], [0, 0]])
    np.testing.assert_array_equal(table.half_set, [1, 2, 2])
    np.testing.assert_array_equal(table.box, [8, 8, 8])
    assert table.confidence is None


def test_rotations_are_relions_and_scipys(relion31: Path) -> None:
    rotations = read_particles(relion31).table.rotations
    euler = [[10.5, 20.25, -30.125], [-170.0, -95.5, 1e-6], [0, 0, 0]]
    np.testing.assert_allclose(rotations, [euler_matrix(*angles) for angles in euler], atol=1e-12)
    scipys = Rotation.from_euler("ZYZ", euler, degrees=True).as_matrix().transpose(0, 2, 1)
    np.testing.assert_allclose(rotations, scipys, atol=1e-12)


def test_images_follow_the_rows_and_not_the_stack(relion31: Path, images: np.ndarray) -> None:
    particles = read_particles(relion31)
    np.testing.assert_array_equal(particles.index, [2, 0, 1])
    np.testing.assert_array_equal(particles.read_images(np.arange(3)), images[[2, 0, 1]])


def test_columns_of_30(relion30: Path) -> None:
    table = read_particles(relion30).table
    np.testing.assert_allclose(table.pixel_size_A, [2.0, 2.0, 2.5])  # 10⁴ · detector / magnification
    np.testing.assert_allclose(table.shifts_A, [[2.5, -5.0], [1.0, 1.5], [0, 0]])
    np.testing.assert_array_equal(table.optics_group, [0, 0, 1])
    assert table.half_set is None


@pytest.mark.parametrize("name", ["relion31", "relion30"])
def test_nothing_new_is_a_copy(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    path: Path = request.getfixturevalue(name)
    particles = read_particles(path)
    particles.write_star(tmp_path / "out.star")
    assert (tmp_path / "out.star").read_bytes() == path.read_bytes()
    assert particles.table.rotations is not None
    assert particles.table.shifts_A is not None
    rounded = particles.table.rotations.astype(np.float32)  # what comes back from a search on float32
    particles.write_star(tmp_path / "out.star", rotations=rounded, shifts_A=particles.table.shifts_A)
    assert (tmp_path / "out.star").read_bytes() == path.read_bytes()


def new_values(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "rotations": Rotation.random(3, rng=seed).as_matrix().astype(np.float32),
        "shifts_A": rng.normal(size=(3, 2)) * 10,
        "half_set": np.array([2, 1, 1]),
        "confidence": np.array([0.5, 1e-7, 1.0], dtype=np.float32),
    }


@pytest.mark.parametrize("name", ["relion31", "relion30"])
def test_updates_come_back_and_the_rest_stays(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    path: Path = request.getfixturevalue(name)
    before, new = read_particles(path), new_values()
    before.write_star(tmp_path / "out.star", **new, extra={"rlnClassNumber": np.array([3, 1, 2])})
    after = read_particles(tmp_path / "out.star")
    np.testing.assert_allclose(after.table.rotations, new["rotations"], atol=2e-7)
    np.testing.assert_allclose(after.table.shifts_A, new["shifts_A"], rtol=1e-8)
    np.testing.assert_array_equal(after.table.half_set, new["half_set"])
    np.testing.assert_array_equal(np.float32(after.table.confidence), new["confidence"])
    old, written = before.raw.source, after.raw.source
    ours = {"rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnRandomSubset", *old.shift_names}
    for column in set(old.particles.columns) - ours:
        assert written.particles[column].tolist() == old.particles[column].tolist()
    assert list(written.particles.columns[: len(old.particles.columns)]) == list(old.particles.columns)
    assert written.particles["rlnClassNumber"].tolist() == ["3", "1", "2"]
    if name == "relion31":
        assert written.star.blocks["optics"] == old.star.blocks["optics"]
        assert written.star.blocks["extra"].strip() == old.star.blocks["extra"].strip()


def test_shifts_are_never_of_the_other_version(relion31: Path, relion30: Path, tmp_path: Path) -> None:
    """cryoDRGN writes rlnOriginX beside an optics table; RELION 3.1 and later then see no shifts (defect 6)."""
    out = tmp_path / "out.star"
    relion31.write_text(relion31.read_text().replace("#2.mrc", "2.mrc"))  # starfile takes it for a comment
    read_particles(relion31).write_star(out, shifts_A=np.full((3, 2), 6.0))
    table = starfile.read(out)["particles"]
    assert table["rlnOriginXAngst"].tolist() == [6.0] * 3
    assert "rlnOriginX" not in table
    read_particles(relion30).write_star(out, shifts_A=np.full((3, 2), 6.0))
    table = starfile.read(out)
    np.testing.assert_allclose(table["rlnOriginX"], [3.0, 3.0, 2.4])
    assert "rlnOriginXAngst" not in table


def test_pixel_shifts_beside_an_optics_table(relion31: Path, tmp_path: Path) -> None:
    text = relion31.read_text().replace("rlnOriginXAngst", "rlnOriginX").replace("rlnOriginYAngst", "rlnOriginY")
    relion31.write_text(text.replace("#2.mrc", "2.mrc"))  # starfile takes it for a comment
    particles = read_particles(relion31)
    np.testing.assert_allclose(particles.table.shifts_A, [[2.25, -4.5], [0.2, 0.4], [0, 0]])
    assert any("RELION reads as zero" in note for note in particles.notes)
    particles.write_star(tmp_path / "out.star")
    table = starfile.read(tmp_path / "out.star")["particles"]
    np.testing.assert_allclose(table["rlnOriginXAngst"], [2.25, 0.2, 0])
    assert "rlnOriginX" not in table


def test_only_rows_that_changed_get_new_digits(relion31: Path, tmp_path: Path) -> None:
    particles = read_particles(relion31)
    assert particles.table.rotations is not None
    rotations = particles.table.rotations.copy()
    rotations[0] = euler_matrix(1, 2, 3)
    particles.write_star(tmp_path / "out.star", rotations=rotations)
    angles = read_particles(tmp_path / "out.star").raw.source.particles["rlnAngleTilt"].tolist()
    assert angles[1:] == ["-95.5", "0"]
    assert float(angles[0]) == pytest.approx(2)


def test_selection_keeps_the_columns_of_its_rows(relion31: Path, tmp_path: Path, images: np.ndarray) -> None:
    chosen = read_particles(relion31).select(np.array([2, 0]))
    chosen.write_star(tmp_path / "out.star", confidence=np.array([0.25, 0.75]))
    after = read_particles(tmp_path / "out.star")
    assert after.raw.source.particles["rlnComment"].tolist() == ["<NA>", '"two\x1fwords"']
    np.testing.assert_array_equal(after.table.confidence, [0.25, 0.75])
    np.testing.assert_array_equal(after.read_images(np.arange(2)), images[[1, 2]])
    assert '"two words"' in (tmp_path / "out.star").read_text()


def test_no_poses_and_no_ctf(tmp_path: Path, relion31: Path) -> None:
    path = tmp_path / "bare.star"
    path.write_text("data_\nloop_\n_rlnImageName #1\n1@stack.mrcs\n2@stack.mrcs\n3@stack.mrcs\n")
    particles = read_particles(path, pixel_size_A=2.0)
    assert particles.table.ctf is None
    assert particles.table.rotations is None
    assert any("C = 1" in note for note in particles.notes)
    particles.write_star(tmp_path / "out.star", **new_values())
    again = read_particles(tmp_path / "out.star")  # the pixel size is in the file now
    np.testing.assert_array_equal(again.table.pixel_size_A, 2.0)
    np.testing.assert_allclose(again.table.shifts_A, new_values()["shifts_A"], rtol=1e-8)


def test_kv_and_cs_without_defocus_are_no_ctf(relion31: Path) -> None:
    relion31.write_text(relion31.read_text().replace("rlnDefocus", "rlnNotDefocus"))
    assert read_particles(relion31).table.ctf is None


def test_some_ctf_columns_missing(relion31: Path) -> None:
    relion31.write_text(relion31.read_text().replace("_rlnDefocusV", "_rlnOther").replace("_rlnVoltage", "_rlnOther2"))
    with pytest.raises(InputError, match="lacks rlnVoltage, rlnDefocusV") as caught:
        read_particles(relion31)
    assert caught.value.where == str(relion31)
    assert "--ctf" in (caught.value.do or "")


def test_amplitude_contrast_has_a_default_and_says_so(relion31: Path) -> None:
    relion31.write_text(relion31.read_text().replace("_rlnAmplitudeContrast", "_rlnOther"))
    particles = read_particles(relion31)
    assert particles.table.ctf is not None
    np.testing.assert_array_equal(particles.table.ctf.amplitude_contrast, 0.1)
    assert any("rlnAmplitudeContrast" in note for note in particles.notes)


@pytest.mark.parametrize(
    ("old", "new", "message", "particle"),
    [
        ("300.000000", "300000.0", "rlnVoltage is 300000.0", "particle 1"),
        ("16000.1 15000.2", "nan 15000.2", "rlnDefocusU is nan", "particle 2"),
        ("16000.1 15000.2", "1e7 15000.2", "rlnDefocusU is 10000000.0", "particle 2"),
        ("2.700000", "2700000", "rlnSphericalAberration is 2700000.0", "particle 1"),
        ("0.070000", "7", "rlnAmplitudeContrast is 7", "particle 2"),
        ("2.000000 8", "0 8", "pixel size .* is 0.0", "particle 2"),
        ("2.000000 8", "-1.5 8", "pixel size .* is -1.5", "particle 2"),
        ("1.500000 8", "1e-10 8", "pixel size .* is 1e-10", "particle 1"),
        ("20.25", "inf", "rlnAngleTilt is inf", "particle 1"),
        ("1.50 -3.00", "1.50 x", 'rlnOriginYAngst is "x"', "particle 1"),
        ("000001@", "000000@", "rlnImageName is 000000@stack.mrcs", "particle 2"),
        ("1 nan\n", "7 nan\n", "rlnOpticsGroup 7 is not in data_optics", "particle 2"),
    ],
)
def test_absurd_values(relion31: Path, old: str, new: str, message: str, particle: str) -> None:
    assert old in relion31.read_text()
    relion31.write_text(relion31.read_text().replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        read_particles(relion31)
    assert str(relion31) in (caught.value.where or "")
    assert (caught.value.where or "").endswith(particle)


def test_defocus_in_micrometres(relion30: Path) -> None:
    relion30.write_text(relion30.read_text().replace("15000 14000", "1.5 1.4"))
    with pytest.raises(InputError, match=r"rlnDefocusU is 1\.5") as caught:
        read_particles(relion30)
    assert "not µm" in (caught.value.expected or "")


def test_files_without_particles(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    path.write_text("data_general\n_rlnFinalResolution 3.2\n")
    with pytest.raises(InputError, match="no particles"):
        read_particles(path)
    path.write_text("data_particles\nloop_\n_rlnImageName #1\n")
    with pytest.raises(InputError, match="no particles"):
        read_particles(path)
    path.write_text("data_particles\nloop_\n_rlnImageName #1\n_rlnTomoName #2\nsub/1_stack2d.mrcs t1\n")
    with pytest.raises(InputError, match="subtomograms"):
        read_particles(path, need_images=False)


def test_one_half_set_is_none(relion30: Path, relion31: Path) -> None:
    relion31.write_text(relion31.read_text().replace(" 2 1 nan", " 1 1 nan").replace(" 2 2 <NA>", " 1 2 <NA>"))
    particles = read_particles(relion31)
    assert particles.table.half_set is None
    assert any("rlnRandomSubset" in note for note in particles.notes)
