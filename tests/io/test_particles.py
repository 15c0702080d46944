"""Particle files of every kind, with side files, searched for their images; and everything that can be wrong."""

import gzip
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryodrake.errors import InputError
from cryodrake.io.particles import read_particles
from cryodrake.io.stacks import find_stack

R = Rotation.random(3, rng=3).as_matrix()
CTF = np.array([[8, 1.5, 15000 + i, 14000, 30, 300, 2.7, 0.1, 0] for i in range(3)], np.float32)


def save(path: Path, content: Any) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


@pytest.fixture
def stack(tmp_path: Path, write_stack: Callable[..., Path]) -> Path:
    return write_stack(tmp_path / "only.mrcs")


# ---------------------------------------------------------------- stacks and lists of stacks


def test_stack_alone(stack: Path, images: np.ndarray, tmp_path: Path) -> None:
    particles = read_particles(stack)
    assert (particles.n, len(particles), particles.box) == (3, 3, 8)
    assert particles.table.ctf is None  # defect 2: cryoDRGN needs --ctf
    assert any("C = 1" in note for note in particles.notes)
    assert any("1.5 Å from the MRC header" in note for note in particles.notes)
    np.testing.assert_array_equal(particles.read_images(np.array([2, 0])), images[[2, 0]])
    particles.write_star(tmp_path / "elsewhere.star", rotations=R, shifts_A=np.ones((3, 2)))
    again = read_particles(tmp_path / "elsewhere.star")
    np.testing.assert_allclose(again.table.rotations, R, atol=1e-7)
    np.testing.assert_array_equal(again.read_images(np.arange(3)), images)
    assert any("C = 1" in note for note in again.notes)


def test_list_of_stacks(tmp_path: Path, write_stack: Callable[..., Path], images: np.ndarray) -> None:
    write_stack(tmp_path / "data" / "a.mrcs", images[:2])
    packed = write_stack(tmp_path / "data" / "b.mrcs", images + 1000)
    (tmp_path / "data" / "b.mrcs.gz").write_bytes(gzip.compress(packed.read_bytes()))
    listing = tmp_path / "list.txt"
    listing.write_text("# two of them\ndata/a.mrcs\n\n data/b.mrcs.gz \n")
    particles = read_particles(listing)
    np.testing.assert_array_equal(particles.stack_of, [0, 0, 1, 1, 1])
    np.testing.assert_array_equal(particles.index, [0, 1, 0, 1, 2])
    rows = np.array([4, 0, 2, 1])
    expected = np.concatenate([images[:2], images + 1000])[rows]
    np.testing.assert_array_equal(particles.read_images(rows), expected)
    listing.write_text("a.mrcs\n")
    with pytest.raises(InputError, match=r"a\.mrcs is not there"):
        read_particles(listing)
    assert read_particles(listing, datadir=tmp_path / "data").n == 2
    listing.write_text("# nothing\n")
    with pytest.raises(InputError, match="lists no stacks"):
        read_particles(listing)


def test_no_pixel_size(tmp_path: Path, write_stack: Callable[..., Path]) -> None:
    path = write_stack(tmp_path / "a.mrcs", pixel_size_A=0)
    with pytest.raises(InputError, match="no pixel size") as caught:
        read_particles(path)
    assert caught.value.where == str(path)
    assert "--apix" in (caught.value.do or "")
    assert read_particles(path, pixel_size_A=1.25).table.pixel_size_A.tolist() == [1.25] * 3


@pytest.mark.parametrize("apix", [0.0, -1.0, float("nan"), 1e-10])
def test_absurd_pixel_size(stack: Path, apix: float) -> None:
    with pytest.raises(InputError, match="--apix is"):
        read_particles(stack, pixel_size_A=apix)


# ---------------------------------------------------------------- cryoDRGN's side files


def test_side_files(stack: Path, tmp_path: Path) -> None:
    ctf = save(tmp_path / "ctf.pkl", CTF)
    shifts = np.array([[0.25, -0.5], [0, 0.125], [0, 0]], np.float32)
    poses = save(tmp_path / "pose.pkl", (R.astype(np.float32), shifts))
    particles = read_particles(stack, ctf=ctf, poses=poses)
    table = particles.table
    assert table.ctf is not None
    np.testing.assert_array_equal(table.ctf.defocus_u_A, [15000, 15001, 15002])
    np.testing.assert_allclose(table.shifts_A, shifts * 8 * 1.5)
    np.testing.assert_allclose(table.rotations, R, atol=1e-7)
    assert not any("C = 1" in note for note in particles.notes)
    particles.write_star(tmp_path / "out.star")
    again = read_particles(tmp_path / "out.star").table
    np.testing.assert_allclose(again.shifts_A, shifts * 8 * 1.5, rtol=1e-6)
    assert again.ctf is not None
    np.testing.assert_array_equal(again.ctf.defocus_u_A, [15000, 15001, 15002])


def test_shifts_in_pixels(stack: Path, tmp_path: Path) -> None:
    poses = save(tmp_path / "pose.pkl", (R, np.array([[2.0, -3], [0.5, 0], [0, 0]])))
    np.testing.assert_allclose(read_particles(stack, poses=poses).table.shifts_A, [[3, -4.5], [0.75, 0], [0, 0]])


def test_poses_without_shifts_and_in_two_files(stack: Path, tmp_path: Path) -> None:
    alone = read_particles(stack, poses=save(tmp_path / "r.pkl", R)).table
    np.testing.assert_array_equal(alone.shifts_A, np.zeros((3, 2)))
    two = read_particles(stack, poses=[tmp_path / "r.pkl", save(tmp_path / "t.pkl", np.full((3, 2), 0.5))]).table
    np.testing.assert_allclose(two.shifts_A, 0.5 * 8 * 1.5)


def test_ctf_of_larger_images_gives_the_pixel_size_of_these(stack: Path, tmp_path: Path) -> None:
    """Defect 3: the pixel size goes with the box, so a stack scaled from 16 to 8 pixels has pixels twice as large."""
    larger = CTF.copy()
    larger[:, 0] = 16
    table = read_particles(stack, ctf=save(tmp_path / "ctf.pkl", larger)).table
    np.testing.assert_array_equal(table.pixel_size_A, 3.0)


def test_side_files_replace_what_a_star_says_and_go_back_into_it(relion31: Path, tmp_path: Path) -> None:
    ctf = CTF.copy()
    ctf[:, 1], ctf[1, 1] = 1.5, 2.0  # as its optics groups
    ctf[1, 5] = 120
    particles = read_particles(relion31, ctf=save(tmp_path / "ctf.pkl", ctf), poses=save(tmp_path / "p.pkl", R))
    particles.write_star(tmp_path / "out.star")
    again = read_particles(tmp_path / "out.star").table
    assert again.ctf is not None
    np.testing.assert_array_equal(again.ctf.voltage_kV, [300, 120, 300])
    np.testing.assert_array_equal(again.ctf.defocus_u_A, [15000, 15001, 15002])
    np.testing.assert_allclose(again.rotations, R, atol=1e-7)
    np.testing.assert_array_equal(again.shifts_A, 0)
    ctf[0, 5] = 200  # group 2 would then need two voltages
    with pytest.raises(InputError, match="rlnVoltage differs within one optics group"):
        read_particles(relion31, ctf=save(tmp_path / "ctf.pkl", ctf)).write_star(tmp_path / "never.star")
    assert not (tmp_path / "never.star").exists()


def test_ctf_and_poses_from_another_particle_file(stack: Path, relion31: Path) -> None:
    particles = read_particles(stack, ctf=relion31, poses=relion31)
    star = read_particles(relion31).table
    assert particles.table.ctf is not None
    assert star.ctf is not None
    np.testing.assert_array_equal(particles.table.ctf.defocus_u_A, star.ctf.defocus_u_A)
    np.testing.assert_array_equal(particles.table.rotations, star.rotations)
    np.testing.assert_array_equal(particles.table.shifts_A, star.shifts_A)
    np.testing.assert_array_equal(particles.table.pixel_size_A, star.pixel_size_A)
    with pytest.raises(InputError, match="no CTF"):
        read_particles(relion31, ctf=stack)
    with pytest.raises(InputError, match="no poses"):
        read_particles(relion31, poses=stack)


def test_indices_select_rows_and_side_files_of_either_length(stack: Path, tmp_path: Path, images: np.ndarray) -> None:
    ind, ctf = save(tmp_path / "ind.pkl", np.array([2, 0])), save(tmp_path / "ctf.pkl", CTF)
    chosen = save(tmp_path / "pose.pkl", R[[2, 0]])
    particles = read_particles(stack, ctf=ctf, ind=ind, poses=chosen)
    assert particles.table.ctf is not None
    np.testing.assert_array_equal(particles.rows, [2, 0])
    np.testing.assert_array_equal(particles.table.ctf.defocus_u_A, [15002, 15000])
    np.testing.assert_allclose(particles.table.rotations, R[[2, 0]])
    np.testing.assert_array_equal(particles.read_images(np.arange(2)), images[[2, 0]])


@pytest.mark.parametrize("option", ["ctf", "poses"])
def test_side_files_of_another_set(stack: Path, tmp_path: Path, option: str) -> None:
    content = {"ctf": CTF[[0, 1, 2, 0, 1]], "poses": R[[0, 1, 2, 0, 1]]}[option]
    with pytest.raises(InputError, match="has 5 rows") as caught:
        read_particles(stack, **{option: save(tmp_path / "side.pkl", content)})
    assert "3, one per particle" in (caught.value.expected or "")


# ---------------------------------------------------------------- pixel sizes and boxes


def test_apix_that_contradicts_the_file(relion31: Path, tmp_path: Path) -> None:
    particles = read_particles(relion31, pixel_size_A=3.0)
    np.testing.assert_array_equal(particles.table.pixel_size_A, 3.0)
    assert any("3 Å from --apix" in note and "1.5 Å" in note for note in particles.notes)
    np.testing.assert_allclose(particles.table.shifts_A, [[3, -6], [0.15, 0.3], [0, 0]])  # pixels are what was found
    particles.write_star(tmp_path / "out.star")  # the file stays consistent in itself
    assert (tmp_path / "out.star").read_bytes() == relion31.read_bytes()
    assert not any("--apix" in note for note in read_particles(relion31).notes)


def test_image_size_that_contradicts_the_file(relion31: Path) -> None:
    """Defect 3: a stack that was scaled, and a STAR file that was not told."""
    relion31.write_text(relion31.read_text().replace("1.500000 8", "1.500000 16"))
    with pytest.raises(InputError, match="16 pixels wide") as caught:
        read_particles(relion31)
    assert "particle 1" in (caught.value.where or "")
    assert "2 times as large" in (caught.value.do or "")
    assert "--apix" in (caught.value.do or "")
    assert read_particles(relion31, pixel_size_A=3.0).box == 8


def test_groups_of_different_boxes_and_pixel_sizes(relion31: Path, write_stack: Callable[..., Path], images: np.ndarray) -> None:
    """Defect 4: cryoDRGN gives every particle the pixel size of row 0."""
    write_stack(relion31.parent / "small.mrcs", images[:, :6, :6])
    text = relion31.read_text().replace("2.000000 8", "2.000000 6").replace("000001@stack", "000001@small")
    relion31.write_text(text)
    particles = read_particles(relion31)
    assert particles.box is None
    assert particles.table.box is not None
    np.testing.assert_array_equal(particles.table.box, [8, 6, 8])
    np.testing.assert_array_equal(particles.table.pixel_size_A, [1.5, 2.0, 1.5])
    by_box = particles.rows_by_box()
    assert {box: rows.tolist() for box, rows in by_box.items()} == {6: [1], 8: [0, 2]}
    np.testing.assert_array_equal(particles.read_images(by_box[6]), images[:1, :6, :6])
    np.testing.assert_array_equal(particles.read_images(by_box[8]), images[[2, 1]])
    with pytest.raises(ValueError, match=r"\[6, 8\]"):
        particles.read_images(np.arange(3))
    assert particles.select(by_box[8]).box == 8


# ---------------------------------------------------------------- finding stacks


def test_where_stacks_are_looked_for(tmp_path: Path, stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    star = project / "Refine3D" / "job007" / "run_data.star"
    star.parent.mkdir(parents=True)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")

    def place(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stack.read_bytes())
        return path

    name = "Extract/job002/a.mrcs"
    with pytest.raises(InputError, match="is not there") as caught:
        find_stack(name, star, tmp_path / "datadir")
    tried = [tmp_path / "datadir" / name, tmp_path / "cwd" / name, project / name, star.parent / "a.mrcs"]
    assert all(str(path) in caught.value.what for path in tried)
    assert caught.value.where == str(star)
    assert "--datadir" in (caught.value.do or "")
    beside = place(star.parent / "a.mrcs")
    assert find_stack(name, star) == beside
    in_project = place(project / name)
    assert find_stack(name, star) == in_project
    in_cwd = place(tmp_path / "cwd" / name)
    assert find_stack(name, star) == in_cwd
    in_datadir = place(tmp_path / "datadir" / "a.mrcs")
    assert find_stack(name, star, tmp_path / "datadir") == in_datadir
    assert find_stack(str(in_project), star) == in_project
    assert find_stack("/gone/a.mrcs", star, tmp_path / "datadir") == in_datadir


def test_star_without_its_stack(relion31: Path) -> None:
    os.remove(relion31.parent / "stack.mrcs")
    with pytest.raises(InputError, match=r"stack\.mrcs is not there; tried"):
        read_particles(relion31)
    particles = read_particles(relion31, need_images=False)
    assert particles.box == 8  # from rlnImageSize
    assert particles.stack_paths == (Path("stack.mrcs"),)
    with pytest.raises(InputError, match="without its images"):
        particles.read_images(np.array([0]))


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(("shape", "said"), [((2, 7, 7), "7 × 7"), ((2, 8, 6), "6 × 8")])
def test_odd_and_oblong_images(tmp_path: Path, write_stack: Callable[..., Path], shape: tuple[int, ...], said: str) -> None:
    path = write_stack(tmp_path / "a.mrcs", np.zeros(shape, np.float32))
    with pytest.raises(InputError, match=said) as caught:
        read_particles(path)
    assert caught.value.where == str(path)
    assert "square images of an even size" in (caught.value.expected or "")


def test_rows_beyond_the_stack(relion31: Path, cs: Path, cs_array: np.ndarray) -> None:
    relion31.write_text(relion31.read_text().replace("000001@", "000004@"))
    with pytest.raises(InputError, match=r"image 4 of .*stack\.mrcs, which has 3") as caught:
        read_particles(relion31)
    assert caught.value.where == f"{relion31}, particle 2"
    cs_array["blob/idx"][0] = 3
    with open(cs, "wb") as file:
        np.save(file, cs_array)
    with pytest.raises(InputError, match="image 4"):
        read_particles(cs)


def test_truncated_stack(relion31: Path) -> None:
    stack = relion31.parent / "stack.mrcs"
    stack.write_bytes(stack.read_bytes()[:-100])
    with pytest.raises(InputError, match="truncated"):
        read_particles(relion31)


@pytest.mark.parametrize("name", ["particles.hdf", "particles", "pose.pkl", "particles.star.gz"])
def test_other_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x" * 2000)
    with pytest.raises(InputError, match="no kind of particle file") as caught:
        read_particles(tmp_path / name)
    assert ".star" in (caught.value.expected or "")


def test_no_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_particles(tmp_path / "none.star")
    with pytest.raises(InputError, match="no such file"):
        read_particles(tmp_path)


def test_wrong_lengths_are_a_fault_of_ours(relion31: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 rows for 3 particles"):
        read_particles(relion31).write_star(tmp_path / "out.star", confidence=np.ones(2))
