"""`filter` writes the particles that fulfil the condition, and says how many."""

import numpy as np
import pytest

from cryodrake.app.cli import main
from cryodrake.io.particles import read_particles
from cryodrake.io.relion_write import write_new_star
from cryodrake.io.rows import read_rows
from cryodrake.io.table import ParticleTable

N = 50


@pytest.fixture
def job(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "job"
    folder.mkdir()
    table = ParticleTable(
        np.full(N, 2.0), np.zeros(N, np.int64), np.full(N, 16), rotations=np.tile(np.eye(3), (N, 1, 1)), confidence=rng.random(N)
    )
    write_new_star(folder / "particles.star", table, ("a.mrcs",), np.zeros(N, np.int64), np.arange(N))
    np.save(folder / "latents.npy", rng.normal(size=(N, 2)).astype(np.float32))
    (folder / "job.toml").write_text('[options]\nparticles = "a.star"\n')
    return folder


def test_the_chosen_rows_are_those_of_numpy_in_every_format(job, tmp_path, capsys):
    confidence = read_particles(job / "particles.star", need_images=False).table.confidence
    wanted = np.flatnonzero((confidence > 0.5) & (np.load(job / "latents.npy")[:, 0] < 0))
    for name in ("out.star", "out.txt", "out.pkl"):
        assert main(["filter", str(job), "confidence > 0.5 and latent_1 < 0", "-o", str(tmp_path / name)]) == 0
        assert f"{len(wanted)} of 50 particles" in capsys.readouterr().out
    assert read_particles(tmp_path / "out.star", need_images=False).index.tolist() == wanted.tolist()
    for name in ("out.txt", "out.pkl"):
        assert read_rows(tmp_path / name, N).tolist() == wanted.tolist()
    (tmp_path / "out.txt").write_text("# chosen\n" + (tmp_path / "out.txt").read_text())
    again = read_particles(job / "particles.star", ind=tmp_path / "out.txt", need_images=False)
    assert again.index.tolist() == wanted.tolist()


def test_the_first_class_is_number_1(job, tmp_path, capsys):
    """As its folder is class_01; classes.npy counts from 0."""
    classes = np.random.default_rng(1).integers(0, 3, N)
    np.save(job / "classes.npy", classes)
    for number in (1, 2, 3):
        out = tmp_path / f"class_{number:02d}.txt"
        assert main(["filter", str(job), f"class_number == {number}", "-o", str(out)]) == 0
        assert read_rows(out, N).tolist() == np.flatnonzero(classes == number - 1).tolist()
    assert main(["filter", str(job), "class_number == 0", "-o", str(tmp_path / "none.txt")]) == 2
    capsys.readouterr()
    assert main(["filter", "--help"]) == 0
    assert "class_number == 1" in " ".join(capsys.readouterr().out.replace("│", " ").split())


@pytest.mark.parametrize(
    ("condition", "name", "says"),
    [
        ("confidense > 0.5", "out.star", "did you mean confidence?"),
        ("confidence > 2", "out.star", "no particle fulfils"),
        ("latent_1 > 9 and confidence > 2", "out.star", "here is latent_1 from -"),
        ("cluster == 1", "out.star", "run `cryodrake analyze`"),
        ("confidence > 0.5", "out.csv", "no format"),
        ("exec('1')", "out.star", "not allowed"),
    ],
)
def test_what_cannot_be_done_is_said(job, tmp_path, capsys, condition, name, says):
    assert main(["filter", str(job), condition, "-o", str(tmp_path / name)]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_where_the_stacks_are_is_said_of_a_file_that_is_written_elsewhere(job, tmp_path, capsys):
    (job / "job.toml").write_text(f'[options]\nparticles = "{tmp_path}/data/a.star"\n')
    (tmp_path / "data").mkdir()
    for name in ("out.star", "out.txt"):
        assert main(["filter", str(job), "row < 5", "-o", str(tmp_path / name)]) == 0
        assert (f"give --datadir {tmp_path}/data\n" in capsys.readouterr().out) == name.endswith(".star")
    assert main(["export", str(job), "-o", str(tmp_path / "export.star")]) == 0
    assert f"give --datadir {tmp_path}/data\n" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["1\nx\n", "1.5\n", "", "-1\n", "50\n", "9" * 40])
def test_hostile_row_lists_are_refused(job, tmp_path, capsys, text):
    (tmp_path / "ind.txt").write_text(text)
    assert main(["export", str(job), "-o", str(tmp_path / "out.star"), "--ind", str(tmp_path / "ind.txt")]) == 2
    assert "ind.txt" in capsys.readouterr().err
    assert not (tmp_path / "out.star").exists()
