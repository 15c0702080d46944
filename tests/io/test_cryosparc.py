"""cryoSPARC files in and out; rotations against scipy's expmap."""

from pathlib import Path

import numpy as np
import pytest
import starfile
from numpy.lib.recfunctions import repack_fields
from scipy.spatial.transform import Rotation

from cryodrake.errors import InputError
from cryodrake.io.particles import read_particles


def save(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:
        np.save(file, array)


def test_columns(cs: Path, cs_array: np.ndarray) -> None:
    particles = read_particles(cs)
    table = particles.table
    assert table.ctf is not None
    np.testing.assert_array_equal(table.pixel_size_A, [1.5, 1.5, 2.0])
    np.testing.assert_array_equal(table.optics_group, [0, 0, 1])
    np.testing.assert_array_equal(table.box, 8)
    np.testing.assert_allclose(table.ctf.defocus_angle_deg, np.rad2deg([0.5, -1.0, 4.0]))
    np.testing.assert_allclose(table.ctf.phase_shift_deg, np.rad2deg([0, 1.5, 0]))
    np.testing.assert_array_equal(table.ctf.voltage_kV, 300)
    np.testing.assert_allclose(table.shifts_A, [[4.5, -6.0], [0, 0], [0.75, 12]])  # alignments3D/psize_A, not blob's
    np.testing.assert_array_equal(table.half_set, [1, 2, 2])
    expmap = Rotation.from_rotvec(cs_array["alignments3D/pose"].astype(float)).as_matrix()
    np.testing.assert_allclose(table.rotations, expmap.transpose(0, 2, 1), atol=1e-12)
    assert table.rotations is not None
    np.testing.assert_array_equal(table.rotations[0], np.eye(3))  # pose 0, where a naive expmap divides by zero


def test_images_are_found_and_have_their_sign(cs: Path, images: np.ndarray) -> None:
    particles = read_particles(cs)
    assert particles.stack_paths[0].is_file()  # >J1/… from J2: the project folder is one up
    np.testing.assert_array_equal(particles.read_images(np.array([2, 0])), [images[1], -images[2]])
    assert any("blob/sign" in note for note in particles.notes)


def test_nothing_new_is_a_copy(cs: Path, tmp_path: Path) -> None:
    particles = read_particles(cs)
    table = particles.table
    assert table.rotations is not None
    out = tmp_path / "out.cs"
    particles.write_cs(out, table.rotations.astype(np.float32), table.shifts_A, table.half_set)
    assert out.read_bytes() == cs.read_bytes()


def test_header_of_another_numpy_survives(cs: Path, cs_array: np.ndarray, tmp_path: Path) -> None:
    content = cs.read_bytes()
    header = content[: len(content) - cs_array.nbytes].replace(b"'fortran_order': False, ", b"'fortran_order':False,  ")
    cs.write_bytes(header + cs_array.tobytes())
    particles = read_particles(cs)
    particles.write_cs(tmp_path / "out.cs", shifts_A=np.ones((3, 2)))
    assert (tmp_path / "out.cs").read_bytes().startswith(header)


def test_updates_come_back_and_the_rest_stays(cs: Path, cs_array: np.ndarray, tmp_path: Path) -> None:
    rotations = Rotation.random(3, rng=0).as_matrix()
    shifts_A, half_set = np.array([[3.0, 6], [9, -1.5], [0, 0]]), np.array([2, 2, 1])
    out = tmp_path / "out.cs"
    read_particles(cs).write_cs(out, rotations, shifts_A, half_set)
    array = np.load(out)
    assert array.dtype == cs_array.dtype
    pose = Rotation.from_rotvec(array["alignments3D/pose"]).as_matrix()
    np.testing.assert_allclose(pose.transpose(0, 2, 1), rotations, atol=1e-6)
    np.testing.assert_allclose(array["alignments3D/shift"], shifts_A / 3.0, rtol=1e-6)
    np.testing.assert_array_equal(array["alignments3D/split"], [1, 1, 0])
    for name in set(cs_array.dtype.names or ()) - {f"alignments3D/{n}" for n in ("pose", "shift", "split")}:
        assert array[name].tobytes() == cs_array[name].tobytes()
    after = read_particles(out, datadir=cs.parents[1])
    np.testing.assert_allclose(after.table.rotations, rotations, atol=1e-6)
    np.testing.assert_allclose(after.table.shifts_A, shifts_A, rtol=1e-6)


def test_selection(cs: Path, cs_array: np.ndarray, tmp_path: Path) -> None:
    read_particles(cs).select(np.array([2, 0])).write_cs(tmp_path / "out.cs")
    assert np.load(tmp_path / "out.cs").tobytes() == cs_array[[2, 0]].tobytes()


def packed(array: np.ndarray, names: list[str], rows: list[int]) -> np.ndarray:
    result = np.zeros(len(rows), dtype=[(name, array.dtype[name]) for name in names])
    for name in names:
        result[name] = array[name][rows]
    return result


def test_particles_that_were_never_aligned(cs: Path, cs_array: np.ndarray, tmp_path: Path) -> None:
    bare = packed(cs_array, [n for n in cs_array.dtype.names or () if "alignments3D" not in n], [0, 1, 2])
    save(cs, bare)
    particles = read_particles(cs)
    assert particles.table.rotations is None
    assert particles.table.half_set is None
    rotations, shifts_A = Rotation.random(3, rng=1).as_matrix(), np.array([[3.0, 6], [9, -1.5], [4, 0]])
    particles.write_cs(tmp_path / "out.cs", rotations, shifts_A, np.array([1, 2, 1]))
    array = np.load(tmp_path / "out.cs")
    assert array.dtype.names[: len(bare.dtype)] == bare.dtype.names
    np.testing.assert_array_equal(array["alignments3D/psize_A"], bare["blob/psize_A"])
    np.testing.assert_allclose(array["alignments3D/shift"] * array["alignments3D/psize_A"][:, None], shifts_A)
    np.testing.assert_array_equal(array["alignments3D/split"], [0, 1, 0])
    np.testing.assert_array_equal(array["uid"], bare["uid"])


def test_passthrough_joins_on_uid(cs: Path, cs_array: np.ndarray, tmp_path: Path, images: np.ndarray) -> None:
    names = list(cs_array.dtype.names or ())
    aligned = packed(cs_array, [n for n in names if n == "uid" or n.startswith("alignments3D")], [0, 1, 2])
    rest = packed(cs_array, [n for n in names if not n.startswith("alignments3D")], [2, 0, 1])  # another order
    save(cs, aligned)
    with pytest.raises(InputError, match="blob/path") as caught:
        read_particles(cs)
    assert "passthrough" in (caught.value.do or "")
    stranger = rest.copy()
    stranger["uid"] += 1000
    save(cs.parent / "a_passthrough_particles.cs", stranger)  # other particles: not ours
    save(cs.parent / "b_passthrough_particles.cs", rest)
    particles = read_particles(cs)
    assert particles.table.ctf is not None
    np.testing.assert_array_equal(particles.table.ctf.defocus_u_A, cs_array["ctf/df1_A"])
    np.testing.assert_array_equal(particles.read_images(np.array([0])), -images[2:])
    assert any("b_passthrough" in note for note in particles.notes)
    particles.write_cs(tmp_path / "out.cs")
    array = np.load(tmp_path / "out.cs")  # all fields, so that it stands alone
    assert array.dtype.names == aligned.dtype.names + rest.dtype.names[1:]
    for name in names:
        assert array[name].tobytes() == cs_array[name].tobytes()
    assert read_particles(tmp_path / "out.cs", need_images=False).table.ctf is not None


def test_a_passthrough_that_cannot_be_read_is_said_and_passed_over(cs: Path) -> None:
    (cs.parent / "x_passthrough_volume.cs").write_bytes(b"\x94CSDAT\x03")
    assert any("x_passthrough" in note and "passed over" in note for note in read_particles(cs).notes)


def test_extra_fields_are_put_in_or_added(cs: Path, cs_array: np.ndarray, tmp_path: Path) -> None:
    value, error = np.array([1, 2, 3], dtype=np.float32), np.array([4.5, 5, 6])
    extra = {"components_mode_0/value": value, "alignments3D/error": error, "new/pair": np.arange(6.0).reshape(3, 2)}
    read_particles(cs).select(np.array([2, 0, 1])).write_cs(tmp_path / "out.cs", extra=extra)
    array = np.load(tmp_path / "out.cs")
    for name, values in extra.items():
        np.testing.assert_array_equal(array[name], values)
    assert array.dtype["alignments3D/error"] == cs_array.dtype["alignments3D/error"]
    np.testing.assert_array_equal(array["uid"], cs_array["uid"][[2, 0, 1]])


def test_star_beside_it(cs: Path, tmp_path: Path) -> None:
    """A .cs becomes a RELION 3.1 file that says the same."""
    before = read_particles(cs)
    before.write_star(tmp_path / "out.star", confidence=np.array([0.1, 0.2, 0.3]))
    after = read_particles(tmp_path / "out.star")
    assert before.table.ctf is not None
    assert after.table.ctf is not None
    np.testing.assert_allclose(after.table.rotations, before.table.rotations, atol=1e-7)
    np.testing.assert_allclose(after.table.shifts_A, before.table.shifts_A, rtol=1e-7)
    np.testing.assert_allclose(after.table.pixel_size_A, before.table.pixel_size_A)
    for name in ("defocus_u_A", "defocus_angle_deg", "phase_shift_deg", "voltage_kV", "amplitude_contrast"):
        np.testing.assert_allclose(getattr(after.table.ctf, name), getattr(before.table.ctf, name), rtol=1e-8)
    np.testing.assert_array_equal(after.table.half_set, before.table.half_set)
    np.testing.assert_array_equal(after.table.optics_group, before.table.optics_group)
    signed = after.read_images(np.arange(3)) * [[[-1]], [[-1]], [[1]]]  # STAR files have no sign
    np.testing.assert_array_equal(before.read_images(np.arange(3)), signed)
    optics = starfile.read(tmp_path / "out.star")["optics"]
    assert optics["rlnImageSize"].tolist() == [8, 8]
    assert optics["rlnImageDimensionality"].tolist() == [2, 2]


def test_refused(cs: Path, cs_array: np.ndarray, tmp_path: Path) -> None:
    names = list(cs_array.dtype.names or ())
    save(cs, packed(cs_array, [n for n in names if n != "ctf/df2_A"], [0, 1, 2]))
    with pytest.raises(InputError, match="lacks ctf/df2_A"):
        read_particles(cs)
    broken = cs_array.copy()
    broken["alignments3D/pose"][1] = np.nan
    save(cs, broken)
    with pytest.raises(InputError, match="alignments3D/pose") as caught:
        read_particles(cs)
    assert (caught.value.where or "").endswith("particle 2")
    save(cs, cs_array[:0])
    with pytest.raises(InputError, match="no particles"):
        read_particles(cs)
    save(cs, np.zeros(3))
    with pytest.raises(InputError, match="no particle file"):
        read_particles(cs)
    cs.write_bytes(b"\x94CSDAT\x03" + b"\0" * 100)
    with pytest.raises(InputError, match="numpy array") as caught:
        read_particles(cs)
    assert "CSDAT" in (caught.value.do or "")
    hostile = tmp_path / "hostile.cs"
    np.save(hostile.with_suffix(".npy"), np.array([{}], dtype=object))
    hostile.with_suffix(".npy").rename(hostile)
    with pytest.raises(InputError, match="numpy array"):
        read_particles(hostile)


def test_star_sources_have_no_cs(relion31: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"particles\.star"):
        read_particles(relion31).write_cs(tmp_path / "out.cs")


def test_shifts_are_added_in_the_unit_that_the_file_has(cs: Path, cs_array: np.ndarray, tmp_path: Path) -> None:
    """A file with alignments3D/psize_A but without shifts: the unit is the file's, and is there once."""
    names = [name for name in cs_array.dtype.names if name != "alignments3D/shift"]
    with open(cs, "wb") as file:
        np.save(file, repack_fields(cs_array[names]))
    shifts_A = np.array([[3.0, -6.0], [0.5, 1.5], [0, 9]])
    read_particles(cs).write_cs(tmp_path / "out.cs", shifts_A=shifts_A)
    array = np.load(tmp_path / "out.cs")
    np.testing.assert_array_equal(array["alignments3D/psize_A"], 3.0)
    np.testing.assert_allclose(array["alignments3D/shift"], shifts_A / 3.0)


def test_an_archive_is_no_cs(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", uid=np.arange(3))
    (tmp_path / "a.npz").rename(tmp_path / "a.cs")
    with pytest.raises(InputError, match="archive"):
        read_particles(tmp_path / "a.cs")
