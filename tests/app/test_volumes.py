"""`cryodrake volumes` on a small job with two states: both kinds of maps, every way to choose states, and what is refused."""

import functools
import shutil

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryodrake.app.cli import main
from cryodrake.app.export import flipped_map
from cryodrake.data.density import gaussian_density, resample
from cryodrake.data.procedural import procedural_complex
from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.fields.factored import FactoredField
from cryodrake.fields.grid import GridField
from cryodrake.fields.mixer import AffineMixer
from cryodrake.fields.store import save_field
from cryodrake.io.mrc import read_map, write_map
from cryodrake.io.particles import read_particles
from cryodrake.physics.fsc import area_under, fsc
from cryodrake.training.state_maps import maps_from_data

BOX, PIXEL_A, N = 32, 7.0, 600


@pytest.fixture(scope="module")
def states():
    """(2 d d d): an arm turned to one side and to the other."""
    atoms = procedural_complex(seed=3, n_residues=1200, n_domains=6)
    arm, pivot = atoms[:, 0] > 10, np.array([10.0, 0, 0])
    maps = []
    for angle in (-30, 30):
        turned = atoms.copy()
        turned[arm] = (atoms[arm] - pivot) @ Rotation.from_euler("z", angle, degrees=True).as_matrix().T + pivot
        maps.append(gaussian_density(torch.from_numpy(turned), torch.full((len(atoms),), 100.0), BOX, PIXEL_A, 2 * PIXEL_A))
    return torch.stack(maps)


@pytest.fixture(scope="module")
def job(tmp_path_factory, states):
    """A finished job: particles of the two states at z = (±1, little), a field of their mean and half difference."""
    folder = tmp_path_factory.mktemp("volumes")
    for i, state in enumerate(states):
        write_map(folder / f"{i}.mrc", state.numpy(), PIXEL_A)
    maps = (folder / "0.mrc", folder / "1.mrc")
    data = simulate(SimulateConfig(out=folder / "data", structures=maps, n=N, box=BOX, snr=0.5, shift_px=2, seed=3))
    job = folder / "job"
    (job / "checkpoints").mkdir(parents=True)
    truth = read_particles(data / "truth" / "particles.star", need_images=False).table
    half = np.random.default_rng(0).permutation(N) % 2 + 1
    particles = read_particles(data / "particles.star")
    particles.write_star(job / "particles.star", rotations=truth.rotations, shifts_A=truth.shifts_A, half_set=half)
    options = f'particles = "{data / "particles.star"}"\nout = "{job}"\nzdim = 2'
    (job / "job.toml").write_text(f'command = "abinit"\n\n[options]\n{options}\n')
    z = 2.0 * np.load(data / "truth" / "state.npy") - 1 + 0.05 * np.random.default_rng(1).standard_normal(N)
    np.save(job / "latents.npy", np.stack([z, 0.01 * np.cos(np.arange(N))], axis=1).astype(np.float32))
    np.save(job / "latents_precision.npy", np.tile(np.diag([400.0, 1.0]).astype(np.float32), (N, 1, 1)))
    basis = GridField(BOX, BOX * PIXEL_A, 3)
    with torch.no_grad():
        basis.density.copy_(torch.stack([states.mean(0), (states[1] - states[0]) / 2, torch.zeros_like(states[0])]))
    save_field(job / "checkpoints" / "field.safetensors", FactoredField(basis, AffineMixer(2)))
    return job


@pytest.fixture
def few_bandwidths(monkeypatch):
    """Fewer than users get: quicker."""
    monkeypatch.setattr("cryodrake.app.volumes.maps_from_data", functools.partial(maps_from_data, bandwidths=8))


def run(job, out, *arguments):
    return main(["volumes", str(job), "-o", str(out), "--device", "cpu", *map(str, arguments)])


def written(folder, name="vol_000"):
    volume, pixel_size_A = read_map(folder / f"{name}.mrc")
    return torch.from_numpy(np.array(volume)), pixel_size_A


def z_of(folder):
    return np.loadtxt(folder / "z_values.txt", ndmin=2)


def alike(found, truth):
    return area_under(fsc(found, truth)[:14])


def test_decoded_maps_are_the_fields_at_the_states_of_a_file(job, states, tmp_path):
    (tmp_path / "z.txt").write_text("-1 0\n1 0\n")
    assert run(job, tmp_path / "out", "--z", tmp_path / "z.txt") == 0
    names = [path.name for path in sorted((tmp_path / "out").iterdir())]
    assert names == ["view.cxc", "vol_000.mrc", "vol_000.png", "vol_001.mrc", "vol_001.png", "z_values.txt"]
    for i in range(2):
        volume, pixel_size_A = written(tmp_path / "out", f"vol_{i:03d}")
        assert pixel_size_A == pytest.approx(PIXEL_A)
        assert alike(volume, states[i]) > 0.99 > alike(volume, states[1 - i]) + 0.05
    assert z_of(tmp_path / "out").tolist() == [[-1, 0], [1, 0]]
    assert run(job, tmp_path / "again", "--z", tmp_path / "out" / "z_values.txt") == 0  # what is written can be read


def test_particles_are_decoded_at_their_own_states(job, tmp_path):
    assert run(job, tmp_path / "out", "--particles", "0,7,3") == 0
    assert z_of(tmp_path / "out") == pytest.approx(np.load(job / "latents.npy")[[0, 7, 3]], rel=1e-5)


def test_clusters_and_components_are_where_the_particles_are(job, tmp_path):
    latents = np.load(job / "latents.npy")
    assert run(job, tmp_path / "k", "--kmeans", 2) == 0
    assert z_of(tmp_path / "k")[:, 0] == pytest.approx([-1, 1], abs=0.05)
    assert all(np.abs(latents - z).sum(axis=1).min() < 1e-5 for z in z_of(tmp_path / "k"))
    assert run(job, tmp_path / "pc", "--pc", 1, "--n", 3) == 0
    assert z_of(tmp_path / "pc")[:, 0] == pytest.approx([-1.05, 0, 1.05], abs=0.06)


def test_each_group_is_at_a_particle_in_its_middle(job, tmp_path, capsys):
    copy = tmp_path / "job"
    shutil.copytree(job, copy)
    assert run(copy, tmp_path / "none", "--groups") == 2
    assert "are one group" in capsys.readouterr().err
    latents = np.load(job / "latents.npy")
    np.save(copy / "groups.npy", (latents[:, 0] < 0).astype(int))
    assert run(copy, tmp_path / "out", "--groups") == 0
    z = z_of(tmp_path / "out")
    assert z[:, 0] == pytest.approx([1, -1], abs=0.02)
    assert all(np.abs(latents - own).sum(axis=1).min() < 1e-5 for own in z)
    np.save(copy / "groups.npy", np.zeros(3, int))
    assert run(copy, tmp_path / "few", "--groups") == 2
    assert "groups.npy: has 3 rows" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "box", "pixel_size_A"),
    [(("--box", 48), 48, 7 * 32 / 48), (("--apix", 3.5), 64, 3.5), (("--box", 40, "--apix", 7), 40, 7.0)],
)
def test_another_sampling_shows_the_same_density(job, tmp_path, options, box, pixel_size_A):
    assert run(job, tmp_path / "own", "--particles", 0) == 0
    assert run(job, tmp_path / "other", "--particles", 0, *options) == 0
    (own, _), (other, found_A) = written(tmp_path / "own"), written(tmp_path / "other")
    assert other.shape == (box,) * 3
    assert found_A == pytest.approx(pixel_size_A)
    expected = resample(own, PIXEL_A, box, pixel_size_A)
    assert float((other - expected).norm()) < 0.1 * float(expected.norm())  # trilinear, in a wider box


@pytest.mark.parametrize("kind", ["decoded", "data"])
def test_flip_mirrors_what_is_written(job, tmp_path, kind, few_bandwidths):
    assert run(job, tmp_path / "a", "--particles", 0, "--kind", kind) == 0
    assert run(job, tmp_path / "b", "--particles", 0, "--kind", kind, "--flip") == 0
    for path in sorted((tmp_path / "a").glob("*.mrc")):
        assert np.array_equal(read_map(tmp_path / "b" / path.name)[0], flipped_map(read_map(path)[0])), path.name


def test_maps_from_the_data_are_those_of_their_state_with_halves_and_fsc(job, states, tmp_path, few_bandwidths):
    (tmp_path / "z.txt").write_text("-1 0\n1 0\n")
    assert run(job, tmp_path / "out", "--z", tmp_path / "z.txt", "--kind", "data") == 0
    for i in range(2):
        volume, pixel_size_A = written(tmp_path / "out", f"vol_{i:03d}")
        assert pixel_size_A == pytest.approx(PIXEL_A)
        assert alike(volume, states[i]) > 0.9
        assert alike(volume, states[i]) > alike(volume, states.mean(0)) + 0.01
        assert alike(volume, states[i]) > alike(volume, states[1 - i]) + 0.05
        half1, half2 = (written(tmp_path / "out", f"vol_{i:03d}_half{h}_unfil")[0] for h in (1, 2))
        assert 0.5 < alike(half1, half2) < alike(volume, states[i])
        table = np.genfromtxt(tmp_path / "out" / f"vol_{i:03d}_fsc.csv", delimiter=",", names=True)
        # Half of the particles are of this state: no shell with signal takes many more.
        assert np.median(table["images"][2:12]) <= N * 0.6


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "no states are chosen"),
        (("--kmeans", 2, "--pc", 1), "--kmeans and --pc do not go together"),
        (("--groups", "--pc", 1), "--groups and --pc do not go together"),
        (("--particles", "0,600"), "there is no particle 600"),
        (("--particles", "a"), "rows such as 0,10,20"),
        (("--pc", 3), "there is no component 3"),
        (("--kmeans", 601), "600 particles"),
        (("--kmeans", 0), "1 or more"),
        (("--z", "absent.txt"), "absent.txt"),
        (("--z", "wide.txt"), "2 finite numbers each"),
        (("--particles", 0, "--box", 31), "even"),
        (("--particles", 0, "--apix", 0), "positive"),
        (("--particles", 0, "--kind", "data", "--box", 48), "do not go with --kind data"),
    ],
)
def test_what_cannot_be_made_is_said_and_nothing_written(job, tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide.txt").write_text("1 2 3\n")
    assert run(job, tmp_path / "out", *arguments) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(job, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("precious")
    assert run(job, tmp_path / "out", "--particles", 0) == 2
    assert "is there already" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_a_job_without_states_is_told_from_no_job(job, tmp_path, capsys):
    assert run(tmp_path, tmp_path / "out", "--particles", 0) == 2
    assert "job.toml: no such file" in capsys.readouterr().err
    (tmp_path / "job.toml").write_text((job / "job.toml").read_text())
    assert run(tmp_path, tmp_path / "out", "--particles", 0) == 2
    assert "this job has no states; it was run with --zdim 0" in capsys.readouterr().err
