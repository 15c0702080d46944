"""Smaller images show the same particle at the same place in Å, and the file that goes with them says so."""

import numpy as np
import pytest

from cryodrake.app.cli import main
from cryodrake.data import downsample as module
from cryodrake.errors import InputError
from cryodrake.io.mrc import StackWriter
from cryodrake.io.particles import read_particles
from cryodrake.io.star import StarFile

PIXEL_A, WIDTH_A = 1.5, 9.0
SHIFTS_A = np.array([[0.0, 0.0], [6.0, -4.5], [-7.125, 3.75], [1.0, 8.0]])  # what brings the particles to the centre


def spot(box, pixel_size_A, shift_A):
    """A Gaussian particle at minus its shift, sampled; its integral over the image does not depend on the sampling."""
    y, x = (np.mgrid[:box, :box] - box // 2) * pixel_size_A
    return np.exp(-((x + shift_A[0]) ** 2 + (y + shift_A[1]) ** 2) / (2 * WIDTH_A**2))


STAR_31 = """# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnImagePixelSize #3
_rlnImageSize #4
_rlnMicrographOriginalPixelSize #5
2 krios {pixel} 64 0.75

data_particles

loop_
_rlnImageName #1
_rlnOpticsGroup #2
_rlnCoordinateX #3
_rlnOriginXAngst #4
_rlnOriginYAngst #5
"""
STAR_30 = """
data_

loop_
_rlnImageName #1
_rlnDetectorPixelSize #2
_rlnMagnification #3
_rlnOriginX #4
_rlnOriginY #5
"""


@pytest.fixture
def inputs(tmp_path):
    """Four spots in a stack, in another order than in the files."""
    with StackWriter(tmp_path / "a.mrcs", 4, 64, PIXEL_A) as stack:
        stack.write(np.stack([spot(64, PIXEL_A, s) for s in SHIFTS_A[::-1]]))
    new = [f"{4 - i}@a.mrcs 2 {100.25 + i:.6f} {x:.6f} {y:.6f}" for i, (x, y) in enumerate(SHIFTS_A)]
    (tmp_path / "31.star").write_text(STAR_31.format(pixel=PIXEL_A) + "\n".join(new) + "\n")
    old = [f"{4 - i}@a.mrcs 7.5 50000 {x / PIXEL_A} {y / PIXEL_A}" for i, (x, y) in enumerate(SHIFTS_A)]
    (tmp_path / "30.star").write_text(STAR_30 + "\n".join(old) + "\n")
    return tmp_path


@pytest.mark.parametrize("version", ["31", "30"])
@pytest.mark.parametrize("box", [32, 24])
def test_particles_stay_where_they_are(inputs, version, box, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_PIXELS", 64 * 64 * 3)  # two chunks, the second smaller
    out = inputs / "out.star"
    assert main(["downsample", str(inputs / f"{version}.star"), "-o", str(out), "--box", str(box)]) == 0
    found = read_particles(out)
    pixel_size_A = PIXEL_A * 64 / box
    assert found.table.box.tolist() == [box] * 4
    np.testing.assert_allclose(found.table.pixel_size_A, pixel_size_A)
    np.testing.assert_allclose(found.table.shifts_A, SHIFTS_A, atol=1e-5)
    grown = 64 / box  # of pixel values: the transform is orthonormal at both sizes
    wanted = np.stack([spot(box, pixel_size_A, s) for s in SHIFTS_A]) * grown
    np.testing.assert_allclose(found.read_images(np.arange(4)), wanted, atol=2e-3)


def test_other_columns_stay_and_the_original_image_is_named(inputs):
    assert main(["downsample", str(inputs / "31.star"), "-o", str(inputs / "out.star"), "--box", "32"]) == 0
    before, after = (read_particles(inputs / name, need_images=False).raw.source for name in ("31.star", "out.star"))
    for name in ("rlnOpticsGroup", "rlnCoordinateX", "rlnOriginXAngst", "rlnOriginYAngst"):
        assert after.particles[name].tolist() == before.particles[name].tolist()
    assert after.particles["rlnImageOriginalName"].tolist() == before.particles["rlnImageName"].tolist()
    assert after.optics["rlnMicrographOriginalPixelSize"].tolist() == ["0.75"]
    assert after.optics["rlnImageSize"].tolist() == ["32"]


def test_noise_keeps_its_variance(tmp_path):
    noise = np.random.default_rng(0).normal(size=(40, 64, 64))
    with StackWriter(tmp_path / "a.mrcs", 40, 64, PIXEL_A) as stack:
        stack.write(noise)
    assert main(["downsample", str(tmp_path / "a.mrcs"), "-o", str(tmp_path / "b.star"), "--box", "16"]) == 0
    found = read_particles(tmp_path / "b.star")
    expected = (15 / 16) ** 2  # the row and the column at the edge of Fourier space are left out
    assert found.read_images(np.arange(40)).var() == pytest.approx(expected, rel=0.05)
    assert found.table.pixel_size_A[0] == pytest.approx(PIXEL_A * 4)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--box", "66"], "at least --box 66"),
        (["--box", "15"], "even number"),
        (["--box", "32", "-o", "{}/out.mrcs"], "no format"),
        (["--box", "32", "-o", "{}/31.star"], "there already"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_left(inputs, arguments, says, capsys):
    before = sorted(inputs.iterdir())
    arguments = [a.format(inputs) for a in arguments]
    assert main(["downsample", str(inputs / "31.star"), "-o", str(inputs / "out.star"), *arguments]) == 2
    assert says in capsys.readouterr().err
    assert sorted(inputs.iterdir()) == before


def test_an_image_that_is_not_finite_is_refused(inputs, capsys):
    images = np.ones((4, 64, 64))
    images[1, 5, 5] = np.nan
    with StackWriter(inputs / "a.mrcs", 4, 64, PIXEL_A) as stack:
        stack.write(images)
    assert main(["downsample", str(inputs / "31.star"), "-o", str(inputs / "out.star"), "--box", "32"]) == 2
    assert "particle 3 (image 2 of" in capsys.readouterr().err
    assert not list(inputs.glob("out*"))


def test_one_optics_group_of_two_sizes_is_refused_before_any_image_is_read(inputs, capsys, monkeypatch):
    """The new pixels would be of two sizes, for which one row of data_optics has no room."""
    with StackWriter(inputs / "b.mrcs", 1, 48, PIXEL_A) as stack:
        stack.write(np.zeros((1, 48, 48)))
    text = (inputs / "31.star").read_text().replace("_rlnImageSize", "_rlnNothing").replace("1@a.mrcs", "1@b.mrcs")
    (inputs / "31.star").write_text(text)
    monkeypatch.setattr(module, "crop_images", lambda *_: pytest.fail("too late"))
    assert main(["downsample", str(inputs / "31.star"), "-o", str(inputs / "out.star"), "--box", "32"]) == 2
    assert "split the group" in capsys.readouterr().err
    assert not list(inputs.glob("out*"))


def test_a_stack_without_its_star_does_not_stay(inputs, monkeypatch):
    def full(*_, **__):
        assert (inputs / "out.mrcs").exists()  # the STAR file comes last
        raise InputError("the disk is full")

    monkeypatch.setattr(StarFile, "write", full)
    assert main(["downsample", str(inputs / "31.star"), "-o", str(inputs / "out.star"), "--box", "32"]) == 2
    assert not list(inputs.glob("out*"))
