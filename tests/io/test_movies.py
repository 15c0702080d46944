"""Films: frames come back from a GIF, and reach an encoder whole."""

import sys

import numpy as np
import pytest
from PIL import Image

from cryodrake.io import movies
from cryodrake.io.movies import find_encoder, write_gif, write_mp4, write_png

# Stands for ffmpeg: writes what it was called with and the raw frames into the file it should make.
ENCODER = """#!{python}
import sys
raw = sys.stdin.buffer.read()
open(sys.argv[-1], "wb").write(repr(sys.argv[1:-1]).encode() + b"|" + raw)
"""
FAILING = """#!{python}
import sys
sys.stdin.buffer.read()
sys.exit("Unknown encoder")
"""


@pytest.fixture
def frames():
    return [Image.new("RGB", (31, 20), colour) for colour in ("red", "lime", "blue")]


@pytest.fixture
def program(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def program(text):
        (tmp_path / "bin").mkdir()
        path = tmp_path / "bin" / "ffmpeg"
        path.write_text(text.format(python=sys.executable))
        path.chmod(0o755)
        return str(path)

    return program


def test_a_gif_has_its_frames_and_its_clock(frames, tmp_path):
    write_gif(tmp_path / "a.gif", frames, 0.2)
    with Image.open(tmp_path / "a.gif") as film:
        assert (film.n_frames, film.info["loop"], film.info["duration"]) == (3, 0, 200)
        for i, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255)]):
            film.seek(i)
            assert film.convert("RGB").getpixel((5, 5)) == pytest.approx(colour, abs=16)


def test_a_png_is_the_picture(frames, tmp_path):
    write_png(tmp_path / "a.png", frames[0])
    with Image.open(tmp_path / "a.png") as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(frames[0]))


def test_no_encoder_is_found_where_there_is_none(program):
    assert find_encoder() is None


def test_frames_reach_the_encoder_with_even_sides(frames, tmp_path, program):
    path = program(ENCODER)
    assert find_encoder() == path
    assert write_mp4(tmp_path / "a.mp4", frames, 0.05, path) is None
    arguments, raw = (tmp_path / "a.mp4").read_bytes().split(b"|", 1)
    assert b"'-s', '32x20', '-r', '20'" in arguments
    pixels = np.frombuffer(raw, np.uint8).reshape(3, 20, 32, 3)
    assert (pixels[1, :, :31] == (0, 255, 0)).all()
    assert (pixels[:, :, 31] == 255).all()


def test_an_encoder_that_fails_leaves_nothing(frames, tmp_path, program):
    assert "Unknown encoder" in write_mp4(tmp_path / "a.mp4", frames, 0.05, program(FAILING))
    assert "No such file" in write_mp4(tmp_path / "a.mp4", frames, 0.05, str(tmp_path / "gone"))
    assert not (tmp_path / "a.mp4").exists()


def test_the_package_that_carries_an_encoder_comes_first(monkeypatch):
    class Package:
        get_ffmpeg_exe = staticmethod(lambda: "/carried/ffmpeg")

    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", Package)
    assert movies.find_encoder() == "/carried/ffmpeg"
