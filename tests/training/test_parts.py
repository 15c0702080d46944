"""Without --classes: another structure, and what is no particle, becomes a class; states and parts of one structure do not."""

import re
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from cryodrake.analysis.agreement import share_in_right_class
from cryodrake.analysis.evaluate import EvaluateConfig, evaluate
from cryodrake.app.abinit import main
from cryodrake.app.runner import open_job, run_job
from cryodrake.data.coefficients import CoefficientStore
from cryodrake.data.halves import half_sets
from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.errors import JobStopped
from cryodrake.inference.alignment import Alignment, move
from cryodrake.inference.reference import in_box
from cryodrake.io.job import JobFolder
from cryodrake.io.mrc import read_map
from cryodrake.io.particles import read_particles
from cryodrake.physics.fsc import fsc
from cryodrake.physics.rotations import geodesic_deg, random_rotations
from cryodrake.training import classes
from cryodrake.training.abinit import AbinitRun
from cryodrake.training.config import AbinitConfig
from cryodrake.training.events import QuietReporter
from cryodrake.training.likeness import placed
from cryodrake.training.mixture import Classification, Mixture, Several
from cryodrake.training.parts import joined, region, structures_of
from cryodrake.training.refinement import FOLDS, HalfMaps, fold_sums, half_references
from cryodrake.training.state import RunState


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    """703 images of the built-in complex, and 247 that are nothing but noise; 32 px, SNR 1."""
    out = tmp_path_factory.mktemp("dirty") / "data"
    return simulate(SimulateConfig(out=out, n=950, empty_share=0.26, box=32, snr=1.0, shift_px=2, seed=3))


@pytest.fixture(scope="module")
def job(dirty, shortened, tmp_path_factory):
    out = tmp_path_factory.mktemp("several") / "job"
    with pytest.MonkeyPatch.context() as patch:
        shortened(patch, most_starts=3)
        main(AbinitConfig(particles=dirty / "particles.star", out=out, device="cpu", zdim=1))
    return out


def test_what_is_no_particle_becomes_a_class(job, dirty):
    label, empty = np.load(job / "classes.npy"), np.load(dirty / "truth" / "empty.npy")
    assert label.max() == 1
    assert np.mean((label == 1) == empty) > 0.98
    status = JobFolder(job).status
    assert status["converged"]  # the particles have
    assert re.search("^not all images are of one structure: class 1 .*class 2 .*NOT converged", status["verdict"])
    assert "class 2 did not converge" in status["warnings"][-1]
    assert np.load(job / "latents.npy").shape == (len(empty), 1)
    assert JobFolder(job / "classes" / "class_01").status["converged"]
    found = evaluate(EvaluateConfig(job=job, truth=dirty))
    assert found.n_empty == empty.sum()
    assert [part.n_empty for part in found.classes] == [int((empty & (label == c)).sum()) for c in (0, 1)]
    assert f"Of {len(empty)} images {empty.sum()} hold no particle" in found.summary()
    assert found.classes[0].rotation_error_median_deg < 5


@pytest.mark.parametrize(
    ("converged", "all_must", "begins"),
    [
        ((True, False), False, "not all images are of one structure: class 1 (75% of the images) converged; class 2"),
        ((False, False), False, "NOT converged, neither all images together nor apart: class 1"),
        ((False, False), True, "class 1 (75% of the images) NOT converged"),
    ],
)
def test_a_verdict_on_classes_begins_with_what_was_found(converged, all_must, begins, tmp_path):
    folders = [tmp_path / f"class_{c}" for c in (1, 2)]
    for folder, good in zip(folders, converged, strict=True):
        folder.mkdir()
        JobFolder(folder).write_status(converged=good, verdict="converged" if good else "NOT converged")
    reporter = QuietReporter()
    classes._judge(reporter, folders, torch.tensor([0, 0, 0, 1]), all_must)
    kind, told = reporter.events[-1]
    assert kind == "verdict"
    assert told["verdict"].startswith(begins)
    assert told["converged"] == converged[0]


def test_the_class_of_the_structure_goes_on_from_its_refinement(dirty, tmp_path, monkeypatch):
    """Also in a run that was stopped between; other classes have nothing to go on from."""
    store = CoefficientStore.build(read_particles(dirty / "particles.star"))
    state = RunState.first(torch.arange(store.n) % 2 + 1, store.noise, store.box, 1)
    state.rotation, state.starts = random_rotations(store.n, torch.Generator().manual_seed(0)), [{"agreement": 0.9}]
    label = (torch.arange(store.n) % 3 > 0).long()  # class 1 is the larger, and becomes the first
    posterior = torch.nn.functional.one_hot(label, 2).float()
    several = Several(Mixture(torch.zeros(2, 8, 8, 8), posterior, torch.ones(store.n, 1), torch.zeros(store.n)), state)
    starts = []

    def reconstruct(config, _job, _reporter, _particles, _store, start=None):
        if config.classes is None:
            return several
        starts.append(start)
        raise JobStopped("here")

    monkeypatch.setattr(classes, "reconstruct", reconstruct)
    config = AbinitConfig(particles=dirty / "particles.star", out=tmp_path / "job", device="cpu", zdim=1)
    job = JobFolder.create(config.out)
    for _ in range(2):
        with pytest.raises(JobStopped):
            classes.run(config, job, QuietReporter(), partial(open_job, command="abinit"))
        JobFolder(job.path / "classes" / "class_01").write_status(state="finished")
    assert starts[0] is None
    rows = torch.nonzero(label == 0).squeeze(1)
    assert torch.equal(starts[1].rotation, state.rotation[rows])
    assert torch.equal(starts[1].half, state.half[rows])
    assert (starts[1].phase, starts[1].active, starts[1].starts) == ("refine", len(rows), state.starts)


def test_a_first_class_that_lost_all_its_images_is_no_fault(dirty, tmp_path, monkeypatch):
    """Of three that were asked for; the others begin at random as ever."""
    n = read_particles(dirty / "particles.star").n
    posterior = torch.nn.functional.one_hot(torch.arange(n) % 2 + 1, 3).float()
    job = JobFolder.create(tmp_path / "job")
    mixture = Mixture(torch.zeros(3, 8, 8, 8), posterior, torch.ones(n, 1), torch.zeros(n))
    classes._save(job, Several(mixture, None))
    begun = []

    def reconstruct(_config, own, _reporter, particles, _store, start):
        begun.append((own.path.name, particles.n, start))
        raise JobStopped("here")

    monkeypatch.setattr(classes, "reconstruct", reconstruct)
    config = AbinitConfig(particles=dirty / "particles.star", out=job.path, device="cpu", classes=3)
    with pytest.raises(JobStopped):
        classes.run(config, job, QuietReporter(), partial(open_job, command="abinit"))
    assert begun == [("class_01", (n + 1) // 2, None)]


def test_a_run_on_some_images_goes_on_from_one_on_all(finished, data, store, tmp_path, shortened, monkeypatch):
    shortened(monkeypatch)
    _, tensors, meta = finished.load_latest()
    whole = RunState.restore(tensors, meta, store.device)
    rows = torch.nonzero(torch.arange(store.n) % 5 > 0).squeeze(1)
    config = AbinitConfig(particles=data / "particles.star", out=tmp_path / "job", device="cpu")
    particles = read_particles(data / "particles.star").select(rows.numpy())
    job = JobFolder.create(config.out)
    run = AbinitRun.open(config, job, QuietReporter(), particles, store.select(rows), whole.on_images(rows))
    sums = fold_sums(run.images, run.label, run.state.rotation, run.state.shift_px, run.store.box / 2)
    halves = HalfMaps.of(sums.of_halves(), sums.grid, run.particle_radius_px)
    seen, expected = (fsc(volume, half_references(sums, halves)[0, 0]) for volume in (run.state.maps[0, 0], whole.maps[0, 0]))
    assert float(seen[1:10].min()) > 0.9999  # of these images alone, by folds of their own
    assert float(expected[1:10].min()) < 0.9999
    run.bootstrap()
    run.refine()
    assert len(run.state.history) > len(whole.history)
    assert float(geodesic_deg(run.state.rotation, whole.rotation[rows]).median()) < 2
    assert run.state.phase == "join"


def test_a_run_killed_among_its_classes_goes_on_with_them(job, dirty, tmp_path, monkeypatch):
    """Nothing is told apart again: the images are not even taken for one structure."""
    again = tmp_path / "job"
    shutil.copytree(job, again)
    (again / "particles.star").unlink()
    JobFolder(again).write_status(state="stopped")
    monkeypatch.setattr(classes, "reconstruct", None)
    config = AbinitConfig(particles=dirty / "particles.star", out=again, device="cpu", zdim=1, resume=True)
    run_job(config, "abinit", partial(classes.run, open_part=partial(open_job, command="abinit")))
    assert (again / "particles.star").read_bytes() == (job / "particles.star").read_bytes()


def test_one_structure_is_left_whole(finished, store):
    """Neither what fits badly, as some always does, nor a split of it all is taken for another."""
    _, tensors, meta = finished.load_latest()
    state = RunState.restore(tensors, meta, store.device)
    state.phase = "parts"
    before = state.rotation.clone()
    config = AbinitConfig(particles=finished.path, out=finished.path, zdim=1)
    run = AbinitRun(config, finished, QuietReporter(), store, state)
    run.checkpoint = lambda: None
    assert run.find_parts() is None
    assert state.phase == "join"
    assert torch.equal(state.rotation, before)


def test_starts_may_agree_on_a_map_of_two_structures(mixture_of_two, posed, shortened, monkeypatch, tmp_path):
    """The images are told apart all the same, with states and without, unless they were said to be of one."""
    shortened(monkeypatch)
    data = mixture_of_two(300, 300)
    store, _, _, truth = posed(data)
    state = RunState.first(half_sets(read_particles(data / "particles.star").table, 0), store.noise, store.box, 1)
    hybrid = Classification(store, 0.42, 0, QuietReporter()).first().maps[0]
    state.maps = in_box(hybrid, store.box).expand(2, FOLDS, -1, -1, -1).clone()
    state.starts, state.phase = [{"agreement": 0.9}, {"agreement": 0.9}], "parts"
    config = AbinitConfig(particles=data / "particles.star", out=tmp_path, zdim=1)
    found = AbinitRun(config, JobFolder(tmp_path), QuietReporter(), store, state).find_parts()
    assert found is not None
    assert share_in_right_class(found.mixture.label.numpy(), truth.numpy()) > 0.98
    assert found.own is None  # its map was of both
    one = AbinitRun(replace(config, classes=1), JobFolder(tmp_path), QuietReporter(), store, state)
    one.checkpoint = lambda: None
    assert one.find_parts() is None
    rigid = replace(config, zdim=0)
    state.phase, state.surprise = "parts", torch.randn(store.n, generator=torch.Generator().manual_seed(0))
    assert not AbinitRun(rigid, JobFolder(tmp_path), QuietReporter(), store, state).asks_for_parts
    state.surprise = torch.where(truth == 0, 1.0, -1.0) + 0.1 * state.surprise
    run = AbinitRun(rigid, JobFolder(tmp_path), QuietReporter(), store, state)
    assert run.asks_for_parts
    found = run.find_parts()
    assert found is not None
    assert share_in_right_class(found.mixture.label.numpy(), truth.numpy()) > 0.98
    assert found.own is None  # its map was of both


@pytest.fixture(scope="module")
def maps(dirty, other_complex):
    """The built-in complex, what is left of it without a third and turned and in the other hand, and something else."""
    whole = torch.from_numpy(read_map(dirty / "truth" / "volumes" / "state_000.mrc")[0]).float()
    part = whole.clone()
    part[:, :, 18:] = 0
    turn = random_rotations(1, torch.Generator().manual_seed(3))[0]
    moved = move(part, Alignment(turn, True, torch.tensor([1.0, -2.0, 0.5]), 1.0, 0.0))
    return whole, part, moved, torch.from_numpy(other_complex)


def test_parts_are_told_from_other_structures(maps):
    whole, part, moved, other = maps
    there = placed(moved, whole)
    assert float(torch.corrcoef(torch.stack([there, part]).flatten(1))[0, 1]) > 0.98
    assert placed(whole, moved) is not None
    assert placed(other, whole) is None
    assert placed(other, moved) is None


def test_classes_of_parts_are_put_together(maps):
    whole, _, moved, other = maps
    posterior = torch.softmax(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), 1)
    known = Mixture(torch.stack([whole, other, moved, other]), posterior, torch.zeros(50, 1), torch.zeros(50))
    structures = structures_of(known)
    assert [list(structure) for structure in structures] == [[0, 2], [1, 3]]
    found = joined(known, structures)
    assert torch.equal(found.maps, torch.stack([whole, other]))
    torch.testing.assert_close(found.posterior, torch.stack([posterior[:, [0, 2]].sum(1), posterior[:, [1, 3]].sum(1)], 1))


def test_the_region_of_a_part_holds_it_and_not_the_rest(maps):
    whole, part, *_ = maps
    mask = region(part, 0.42 * 32)
    rest = whole - part
    assert float((part * mask).sum() / part.sum()) > 0.95
    assert float((rest * mask).sum() / rest.sum()) < 0.4  # the mask's edge is six voxels wide
