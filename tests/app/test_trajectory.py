"""`cryodrake trajectory` on a job whose states lie on a horseshoe, and `cryodrake movie` of what it writes."""

import functools

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from cryodrake.analysis.movie import MovieStyle
from cryodrake.app.cli import main
from cryodrake.fields.factored import FactoredField
from cryodrake.fields.grid import GridField
from cryodrake.fields.mixer import AffineMixer
from cryodrake.fields.store import save_field
from cryodrake.io.mrc import read_map, write_map
from cryodrake.training.stages import save_stage

BOX, PIXEL_A, N, RADIUS = 24, 5.0, 1500, 4.0


def blob(x_px, y_px, width_px=3.0):
    axis = torch.arange(BOX, dtype=torch.float32) - BOX // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.exp(-((x - x_px) ** 2 + (y - y_px) ** 2 + z**2) / (2 * width_px**2))


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """States on three quarters of a circle, rows 0 and 1 its ends; a body with two parts whose weights are z1 and z2."""
    job = tmp_path_factory.mktemp("trajectory") / "job"
    (job / "checkpoints").mkdir(parents=True)
    rng = np.random.default_rng(0)
    angle = np.concatenate([[0, 1.5 * np.pi], rng.uniform(0, 1.5 * np.pi, N - 2)])
    latents = RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.03 * rng.normal(size=(N, 2))
    np.save(job / "latents.npy", latents.astype(np.float32))
    (job / "job.toml").write_text(f'command = "abinit"\n\n[options]\nparticles = "p.star"\nout = "{job}"\nzdim = 2\n')
    basis = GridField(BOX, BOX * PIXEL_A, 3)
    with torch.no_grad():
        basis.density.copy_(torch.stack([blob(0, 0), 0.1 * blob(5, 0), 0.1 * blob(0, 5)]))
    save_field(job / "checkpoints" / "field.safetensors", FactoredField(basis, AffineMixer(2)))
    return job


@pytest.fixture
def run(job, tmp_path, capsys, monkeypatch):
    # A smaller movie than users get: quicker.
    monkeypatch.setattr("cryodrake.app.trajectory.MovieStyle", functools.partial(MovieStyle, size_px=48, seconds=0.2))

    def run(*arguments, out=tmp_path / "way"):
        code = main(["trajectory", str(job), "-o", str(out), "--device", "cpu", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def states(folder):
    return np.loadtxt(folder / "z_values.txt", ndmin=2)


def test_the_graph_goes_round_in_equal_steps(job, run, tmp_path):
    code, said, err = run("--through", "0,1", "--n", 7)
    assert code == 0, err
    way, latents = states(tmp_path / "way"), np.load(job / "latents.npy")
    assert way[[0, -1]] == pytest.approx(latents[[0, 1]], abs=1e-5)
    assert np.linalg.norm(way, axis=1) == pytest.approx(RADIUS, abs=0.15)
    turned = np.unwrap(np.arctan2(way[:, 1], way[:, 0]))
    assert np.diff(turned) == pytest.approx(np.full(6, np.pi / 4), abs=0.05)
    rows = np.loadtxt(tmp_path / "way" / "path.txt", dtype=int)
    assert (rows[0], rows[-1]) == (0, 1)
    table = pd.read_csv(tmp_path / "way" / "trajectory.csv")
    assert (table["gap"] < 1.5).all()
    assert latents[table["nearest_particle"]] == pytest.approx(way, abs=0.1)
    assert table["length"].iloc[-1] == pytest.approx(1.5 * np.pi * RADIUS, rel=0.05)
    assert "invented" not in said


def test_the_maps_are_those_of_the_states(job, run, tmp_path):
    assert run("--through", "0,1", "--n", 4)[0] == 0
    for i, (z1, z2) in enumerate(states(tmp_path / "way")):
        volume, pixel_size_A = read_map(tmp_path / "way" / f"vol_{i:03d}.mrc")
        assert pixel_size_A == pytest.approx(PIXEL_A)
        truth = blob(0, 0) + 0.1 * (z1 * blob(5, 0) + z2 * blob(0, 5))
        inner = slice(6, 18)  # away from the edge of the solvent mask
        assert volume[inner, inner, inner] == pytest.approx(truth.numpy()[inner, inner, inner], abs=0.02)


def test_what_stands_beside_the_maps(run, tmp_path):
    assert run("--through", "0,1", "--n", 3)[0] == 0
    names = {path.name for path in (tmp_path / "way").iterdir()}
    maps = {f"vol_{i:03d}.{suffix}" for i in range(3) for suffix in ("mrc", "png")}
    others = {"z_values.txt", "path.txt", "trajectory.png", "trajectory.csv", "movie.gif", "movie.csv", "view.cxc"}
    assert names - {"movie.mp4"} == maps | others
    assert "volume morph #1-3" in (tmp_path / "way" / "view.cxc").read_text()


def test_straight_lines_are_straight_and_say_where_nothing_was_seen(run, tmp_path):
    code, said, _ = run("--through", "0,1", "--way", "direct", "--n", 5)
    assert code == 0
    way = states(tmp_path / "way")
    assert way == pytest.approx(np.linspace(way[0], way[-1], 5), abs=1e-4)
    assert "States 1, 2, 3 (from 0) lie where no particles are" in said
    assert not (tmp_path / "way" / "path.txt").exists()


def test_states_of_a_file_and_ends_of_ones_own(job, run, tmp_path):
    (tmp_path / "z.txt").write_text("4 0\n0 4\n-4 0\n")
    assert run("--z", tmp_path / "z.txt", "--way", "direct", "--n", 3)[0] == 0
    assert states(tmp_path / "way") == pytest.approx(np.array([[4, 0], [0, 4], [-4, 0]]), abs=1e-4)
    assert run("--n", 3, out=tmp_path / "own")[0] == 0
    ends = states(tmp_path / "own")[[0, -1]]
    assert np.linalg.norm(ends[0] - ends[1]) > 4  # the two ends of the horseshoe
    assert run("--z", tmp_path / "z.txt", "--n", 3, out=tmp_path / "moved")[0] == 0
    latents = np.load(job / "latents.npy")
    assert np.linalg.norm(latents - states(tmp_path / "moved")[0], axis=1).min() < 1e-5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--through", "0"), "one state is no way"),
        (("--through", "0,x"), "--through: particles are '0,x'"),
        (("--through", "0,1500"), "there is no particle 1500"),
        (("--through", "0,1", "--z", "z.txt"), "do not go together"),
        (("--n", "1"), "2 or more"),
        (("--through", "0,1", "--neighbours", "1"), "no path leads"),
    ],
)
def test_what_cannot_be_gone_is_said_and_nothing_written(run, tmp_path, arguments, says):
    code, _, err = run(*arguments)
    assert code == 2
    assert says in err
    assert not (tmp_path / "way").exists()


def film(path):
    with Image.open(path) as gif:
        frames = []
        for i in range(gif.n_frames):
            gif.seek(i)
            frames.append(np.asarray(gif.convert("L"), dtype=float))
    return np.stack(frames)


@pytest.fixture
def two_maps(tmp_path):
    folder = tmp_path / "maps"
    folder.mkdir()
    for i, y in enumerate((-4, 4)):
        write_map(folder / f"vol_{i}.mrc", blob(0, y, 2.0).numpy(), PIXEL_A)
        write_map(folder / f"vol_{i}_half1_unfil.mrc", blob(0, y).numpy(), PIXEL_A)
    return folder


def test_a_film_goes_to_the_last_map_and_back(two_maps, tmp_path):
    out = tmp_path / "film" / "a.gif"
    view = ("--from-deg", 0, "--tilt-deg", 0)
    assert main(["movie", str(two_maps), "-o", str(out), "--size-px", "64", "--seconds", "1", "--fps", "8", *map(str, view)]) == 0
    numbers = pd.read_csv(out.with_suffix(".csv"))
    assert numbers["place"].tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25])
    frames = film(out)
    assert len(frames) == 8
    assert frames[1] == pytest.approx(frames[7], abs=1)
    dark = frames[:, :64] < 230
    first, last = (np.argwhere(dark[i]).mean(axis=0) for i in (0, 4))
    radius_px = 2 * np.sqrt(-2 * np.log(numbers["level"].iloc[0]))  # of the surface of a blob 2 voxels wide and 1 high
    seen_px = np.sqrt(dark[0].sum() / np.pi)
    assert np.linalg.norm(first - last) / seen_px == pytest.approx(8 / radius_px, rel=0.1)
    assert not list(out.parent.glob("*.png"))


def test_a_film_leaves_a_still_beside_each_map_that_has_none(two_maps, tmp_path, capsys):
    (two_maps / "vol_0.png").write_text("mine")
    assert main(["movie", str(two_maps), "-o", str(tmp_path / "a.gif"), "--size-px", "48", "--seconds", "1", "--fps", "4"]) == 0
    assert (two_maps / "vol_0.png").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["vol_0.png", "vol_1.png"]
    assert str(two_maps / "vol_1.png") in capsys.readouterr().out


def test_one_map_turns_once_round(two_maps, tmp_path):
    out = tmp_path / "turn.gif"
    assert main(["movie", str(two_maps / "vol_0.mrc"), "-o", str(out), "--size-px", "48", "--seconds", "1", "--fps", "4"]) == 0
    assert pd.read_csv(out.with_suffix(".csv"))["turn_deg"].tolist() == [30, 120, 210, 300]


def test_a_run_is_filmed_from_its_stages(tmp_path):
    job = tmp_path / "job"
    (job / "figures").mkdir(parents=True)
    (job / "job.toml").write_text('command = "abinit"\n')
    for i in range(3):
        save_stage(job / "figures" / "stages", f"stage {i}", blob(0, 0, 2.0 + i).numpy(), PIXEL_A, 30.0 - i)
    assert main(["movie", str(job), "-o", str(tmp_path / "a.gif"), "--size-px", "48", "--seconds", "1", "--fps", "10"]) == 0
    numbers = pd.read_csv(tmp_path / "a.csv")
    assert numbers["stage"].tolist() == ["stage 0"] * 3 + ["stage 1"] * 3 + ["stage 2"] * 4


def test_what_cannot_be_filmed_is_said(two_maps, tmp_path, capsys):
    def said(*arguments):
        assert main(["movie", *map(str, arguments)]) == 2
        return capsys.readouterr().err

    assert "no maps are there" in said(tmp_path / "nothing", "-o", tmp_path / "a.gif")
    assert "ends in .gif" in said(two_maps, "-o", tmp_path / "a.mp4")
    (tmp_path / "b.csv").write_text("mine")
    assert "is there already" in said(two_maps, "-o", tmp_path / "b.gif")
    assert "nothing is above 99\n  expected: between " in said(two_maps, "-o", tmp_path / "a.gif", "--level", 99)
    assert not (tmp_path / "a.gif").exists()
    assert "from 1 to 60" in said(two_maps, "-o", tmp_path / "a.gif", "--fps", 100)
    large = ("--size-px", 2000, "--seconds", 120, "--fps", 60)
    assert "80.5 GiB of memory" in said(two_maps, "-o", tmp_path / "a.gif", *large)
    write_map(two_maps / "vol_2.mrc", np.zeros((8, 8, 8), np.float32), PIXEL_A)
    assert "has 8 voxels a side" in said(two_maps, "-o", tmp_path / "a.gif")
    assert (tmp_path / "b.csv").read_text() == "mine"
