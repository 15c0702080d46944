"""`cryodrake analyze` on a job whose latents, classes and covariates are known: the files, and what is said."""

import json
import sys
import types

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from cryodrake.analysis.analyze import analyze
from cryodrake.app.cli import main
from cryodrake.io.mrc import read_map, write_map
from cryodrake.io.relion_write import write_new_star
from cryodrake.io.table import CTFColumns, ParticleTable
from cryodrake.training.config import AnalyzeConfig

N = 600


def make_job(folder):
    """An arc of states in three dimensions, the third of which tells the defocus; two classes with their maps."""
    rng = np.random.default_rng(0)
    angle = np.concatenate([[0, np.pi], rng.uniform(0, np.pi, N - 2)])
    defocus_A = rng.uniform(10000, 20000, N)
    latents = np.column_stack([4 * np.cos(angle), 4 * np.sin(angle), (defocus_A - 15000) / 5000])
    latents = (latents + 0.05 * rng.normal(size=latents.shape)).astype(np.float32)
    (folder / "maps" / "states").mkdir(parents=True)
    np.save(folder / "latents.npy", latents)
    np.save(folder / "classes.npy", (angle > np.pi / 2).astype(np.int64))
    for i in range(2):
        volume = rng.normal(size=(8, 8, 8)).astype(np.float32)
        write_map(folder / "maps" / "states" / f"state_{i:02d}.mrc", volume, 3.0)
    flat = {name: np.full(N, value) for name, value in (("voltage_kV", 300.0), ("cs_mm", 2.7), ("amplitude_contrast", 0.1))}
    zero = np.zeros(N)
    ctf = CTFColumns(*flat.values(), defocus_A - 100, defocus_A + 100, zero, zero, zero)
    table = ParticleTable(
        np.full(N, 2.0), np.zeros(N, int), np.full(N, 64), ctf, Rotation.random(N, rng=rng).as_matrix(),
        rng.normal(size=(N, 2)), confidence=rng.uniform(size=N),
    )  # fmt: skip
    scale = {"rlnNormCorrection": rng.uniform(0.8, 1.2, N)}
    write_new_star(folder / "particles.star", table, ("a.mrcs",), np.zeros(N, int), np.arange(N), scale)
    return types.SimpleNamespace(path=folder, out=folder / "analysis", latents=latents, table=table, scale=scale, angle=angle)


@pytest.fixture
def run(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)  # not installed, whatever this machine has

    def run(*arguments):
        code = main(["analyze", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def job(tmp_path):
    return make_job(tmp_path / "job")


@pytest.fixture(scope="module")
def analyzed(tmp_path_factory):
    """The job after a run with six clusters, and what the run said."""
    job = make_job(tmp_path_factory.mktemp("analyzed") / "job")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "umap", None)
        job.said = "\n".join(analyze(AnalyzeConfig(job=job.path, clusters=6, seed=3)))
    return job


def test_the_files_are_those_of_the_latents(analyzed):
    out, z = analyzed.out, analyzed.latents
    pca = np.load(out / "pca.npy")
    assert pca.dtype == np.float32
    # A rotation about the mean: all distances are kept, and the components are uncorrelated.
    assert np.linalg.norm(pca[:50, None] - pca[None, :50], axis=-1) == pytest.approx(
        np.linalg.norm(z[:50, None] - z[None, :50], axis=-1), abs=1e-4
    )
    assert np.corrcoef(pca.T) == pytest.approx(np.eye(3), abs=1e-4)
    share = pd.read_csv(out / "explained_variance.csv")
    assert share["share"].to_numpy() == pytest.approx(pca.var(axis=0) / pca.var(axis=0).sum(), rel=1e-4)
    labels, rows = np.load(out / "labels.npy"), np.loadtxt(out / "centers_ind.txt", dtype=int)
    assert labels.shape == (N,)
    assert np.loadtxt(out / "centers.txt") == pytest.approx(z[rows])
    assert labels[rows].tolist() == list(range(6))
    assert not (out / "umap.npy").exists()
    assert "umap-learn is not installed" in analyzed.said
    path = np.loadtxt(out / "graph" / "path.txt", dtype=int)
    assert np.loadtxt(out / "graph" / "z-path.txt") == pytest.approx(z[path])
    assert np.loadtxt(out / "direct" / "z-path.txt") == pytest.approx(np.linspace(z[path[0]], z[path[-1]], 10), abs=1e-5)
    assert set(path[[0, -1]]) <= set(rows)
    assert np.ptp(analyzed.angle[path[[0, -1]]]) > 0.7 * np.pi  # the clusters farthest apart along the arc


def test_one_table_joins_what_is_known_of_each_row(analyzed):
    table = pd.read_csv(analyzed.out / "particles.csv")
    assert table["row"].tolist() == list(range(N))
    assert table[["z1", "z2", "z3"]].to_numpy() == pytest.approx(analyzed.latents, rel=1e-5, abs=1e-6)
    assert table[["pc1", "pc2", "pc3"]].to_numpy() == pytest.approx(np.load(analyzed.out / "pca.npy"), rel=1e-5, abs=1e-5)
    assert table["class"].tolist() == (np.load(analyzed.out / "labels.npy") + 1).tolist()
    assert "from 1, in labels.npy from 0" in analyzed.said
    assert pd.read_csv(analyzed.out / "latents_clusters.csv")["cluster"].tolist() == [1, 2, 3, 4, 5, 6]
    assert table["confidence"].to_numpy() == pytest.approx(analyzed.table.confidence, abs=1e-6)
    assert table["defocus_A"].to_numpy() == pytest.approx(
        (analyzed.table.ctf.defocus_u_A + analyzed.table.ctf.defocus_v_A) / 2, rel=1e-6
    )
    assert table["scale"].to_numpy() == pytest.approx(analyzed.scale["rlnNormCorrection"], rel=1e-5)


def test_the_leak_is_printed_and_written(analyzed):
    assert "Latents clearly tell the defocus" in analyzed.said
    assert "latent 3" in analyzed.said
    assert "do not tell the viewing direction" in analyzed.said
    leaks = {leak["covariate"]: leak for leak in json.loads((analyzed.out / "diagnostics.json").read_text())["leaks"]}
    assert leaks["defocus"]["r2"][2] > 0.95
    assert {name: leak["verdict"] for name, leak in leaks.items() if name != "defocus"} == dict.fromkeys(
        ["viewing direction", "in-plane angle", "shift", "scale"], "clean"
    )


def test_two_maps_differ_along_one_component_which_is_their_difference(analyzed):
    maps = [read_map(analyzed.path / "maps" / "states" / f"state_{i:02d}.mrc")[0] for i in range(2)]
    axis, pixel_size_A = read_map(analyzed.out / "volumes" / "pc_1.mrc")
    difference = maps[1] - maps[0]
    assert abs((axis * difference).sum()) == pytest.approx(np.linalg.norm(difference), rel=1e-4)
    assert pixel_size_A == pytest.approx(3.0)
    assert not (analyzed.out / "volumes" / "pc_2.mrc").exists()
    scores = pd.read_csv(analyzed.out / "volumes" / "scores.csv")["pc1"].to_numpy()
    assert np.ptp(scores) == pytest.approx(np.linalg.norm(difference), rel=1e-4)


def test_paths_go_through_chosen_particles(job, run):
    code, _, err = run(job.path, "--anchors", 0, 7, 1, "--points", 4)
    assert code == 0, err
    path = np.loadtxt(job.out / "graph" / "path.txt", dtype=int).tolist()
    assert (path[0], path[-1]) == (0, 1)
    assert 7 in path
    straight = np.loadtxt(job.out / "direct" / "z-path.txt")
    assert straight[[0, 3, 6]] == pytest.approx(job.latents[[0, 7, 1]], abs=1e-5)


def test_a_second_run_replaces_its_own_files_and_no_others(job, run, monkeypatch):
    class UMAP:
        def __init__(self, **options):
            assert options["n_components"] == 2

        def fit_transform(self, latents):
            return latents[:, 1:]

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=UMAP))
    code, said, _ = run(job.path, "--clusters", 5)
    assert code == 0
    assert "not installed" not in said
    assert np.load(job.out / "umap.npy") == pytest.approx(job.latents[:, 1:])
    assert (job.out / "latents_umap_density.png").exists()
    assert pd.read_csv(job.out / "particles.csv")["umap2"].to_numpy() == pytest.approx(job.latents[:, 2], abs=1e-5)
    (job.out / "notes.txt").write_text("mine")
    monkeypatch.setitem(sys.modules, "umap", None)
    run(job.path, "--clusters", 7)
    assert not list(job.out.glob("*umap*"))  # of another run: it would not fit the new clusters
    assert (job.out / "notes.txt").read_text() == "mine"
    assert len(np.loadtxt(job.out / "centers_ind.txt")) == 7


def test_separate_states_have_no_path_unless_one_is_asked_for(job, run):
    rng = np.random.default_rng(1)
    state = np.arange(N) % 2
    np.save(job.path / "latents.npy", (50.0 * state[:, None] + rng.normal(size=(N, 2))).astype(np.float32))
    (job.path / "classes.npy").unlink()
    code, said, _ = run(job.path, "--clusters", 2)
    assert code == 0
    assert "separate states" in said
    assert "holds no maps of its states" in said
    assert not (job.out / "graph" / "path.txt").exists()
    code, _, err = run(job.path, "--anchors", 0, 1)
    assert code == 2
    assert "no path leads" in err


def test_scales_that_the_job_found_count_before_the_files(job, run):
    np.save(job.path / "scales.npy", np.exp(0.1 * job.latents[:, 0]).astype(np.float32))
    code, said, _ = run(job.path)
    assert code == 0
    assert "Latents clearly tell the scale" in said
    np.save(job.path / "scales.npy", np.ones(N - 1, np.float32))
    code, _, err = run(job.path)
    assert code == 2
    assert "scales.npy: has 599 rows" in err


def test_one_latent_is_enough(job, run):
    np.save(job.path / "latents.npy", job.latents[:, :1])
    code, _, err = run(job.path)
    assert code == 0, err
    assert "rank" in pd.read_csv(job.out / "latents_density.csv")


def test_latents_alone_are_enough(job, run):
    (job.path / "particles.star").unlink()
    code, said, _ = run(job.path)
    assert code == 0
    assert "Not looked at" in said
    assert list(pd.read_csv(job.out / "particles.csv").columns)[-1] == "class"


def test_what_cannot_be_analyzed_is_refused(job, run, tmp_path):
    code, _, err = run(job.path, "--anchors", 0, N)
    assert code == 2
    assert f"rows from 0 to {N - 1}" in err
    assert run(job.path, "--anchors", 3)[0] == 2
    assert run(job.path, "--clusters", 1)[0] == 2
    assert run(tmp_path / "nothing")[0] == 2
    np.save(job.path / "latents.npy", job.latents[:-1])
    code, _, err = run(job.path)
    assert code == 2
    assert "one for each of the 600" in err
    np.save(job.path / "latents.npy", np.ones((N, 2), np.float32))
    assert "the same latents" in run(job.path)[2]
    (job.path / "latents.npy").unlink()
    code, _, err = run(job.path)
    assert code == 2
    assert "this job has no states; it was run with --zdim 0" in err
    assert not job.out.exists()
