"""Classes: two different structures in unequal shares are told apart, each is reconstructed, and a stopped run goes on."""

import json
import shutil
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import starfile
import torch

from cryodrake.analysis.agreement import share_in_right_class
from cryodrake.analysis.evaluate import EvaluateConfig, evaluate
from cryodrake.analysis.job_states import require_latents_of_one_model
from cryodrake.app.abinit import main
from cryodrake.app.runner import open_job, run_job
from cryodrake.data.coefficients import CoefficientStore
from cryodrake.errors import InputError, JobStopped
from cryodrake.io.cryodrgn import read_indices
from cryodrake.io.job import JobFolder
from cryodrake.io.mrc import read_map
from cryodrake.io.particles import read_particles
from cryodrake.training import classes, mixture
from cryodrake.training.bootstrap import KEPT_SHIFTS, Bootstrap
from cryodrake.training.classes import by_size
from cryodrake.training.config import AbinitConfig
from cryodrake.training.events import QuietReporter
from cryodrake.training.mixture import Classification, Mixture
from cryodrake.training.refinement import FOLDS
from cryodrake.training.state import RunState

LARGE, SMALL = 400, 200


@pytest.fixture(scope="module")
def mixed(mixture_of_two):
    """32 px, SNR 1."""
    return mixture_of_two(LARGE, SMALL)


@pytest.fixture(scope="module")
def options(mixed):
    def make(out, **changes):
        return AbinitConfig(particles=mixed / "particles.star", out=out, device="cpu", classes=2, **changes)

    return make


@pytest.fixture(scope="module")
def job(options, shortened, tmp_path_factory):
    out = tmp_path_factory.mktemp("classes") / "job"
    with pytest.MonkeyPatch.context() as patch:
        shortened(patch)
        main(options(out))
    return out


def test_images_are_in_the_right_class(job, mixed):
    truth, label = np.load(mixed / "truth" / "state.npy"), np.load(job / "classes.npy")
    largest = np.bincount(truth).argmax()
    assert np.mean((label == 0) == (truth == largest)) > 0.95
    posterior = np.load(job / "class_posterior.npy")
    assert posterior.shape == (LARGE + SMALL, 2)
    np.testing.assert_allclose(posterior.sum(1), 1, atol=1e-5)
    assert np.array_equal(posterior.argmax(1), label)
    star = starfile.read(job / "particles.star")["particles"]
    assert np.array_equal(star["rlnClassNumber"].to_numpy(), label + 1)


def test_each_class_is_a_job_of_its_own(job, mixed):
    for name, most_deg in (("class_01", 3.5), ("class_02", 6.0)):
        folder = job / "classes" / name
        assert JobFolder(folder).status["state"] == "finished"
        result = evaluate(EvaluateConfig(job=folder, truth=mixed))
        assert result.rotation_error_median_deg < most_deg
        assert np.mean(result.fsc[1:9]) > 0.95  # of the other complex there is little beyond
        assert (folder / "figures" / "fsc.png").exists()


def test_the_job_gathers_its_classes(job, mixed):
    whole = read_particles(job / "particles.star", need_images=False).table
    rows = read_indices(job / "classes" / "class_02.pkl", LARGE + SMALL)
    assert np.array_equal(rows, np.flatnonzero(np.load(job / "classes.npy") == 1))
    part = read_particles(job / "classes" / "class_02" / "particles.star", need_images=False).table
    assert np.array_equal(np.load(job / "scales.npy")[rows], np.load(job / "classes" / "class_02" / "scales.npy"))
    np.testing.assert_allclose(whole.rotations[rows], part.rotations, atol=1e-6)
    np.testing.assert_allclose(whole.shifts_A[rows], part.shifts_A, atol=1e-5)
    for c in range(2):
        expected = read_map(job / "classes" / f"class_{c + 1:02d}" / "maps" / "consensus.mrc")[0]
        assert np.array_equal(read_map(job / "maps" / "states" / f"state_{c:02d}.mrc")[0], expected)
    assert np.array_equal(read_map(job / "maps" / "consensus.mrc")[0], read_map(job / "maps" / "states" / "state_00.mrc")[0])
    status = json.loads((job / "status.json").read_text())
    assert status["state"] == "finished"
    assert "class 2" in status["verdict"]


def test_states_are_asked_of_a_class(job):
    with pytest.raises(InputError, match="class_01"):
        require_latents_of_one_model(job)


def test_a_stopped_run_goes_on_to_the_same_end(job, options, shortened, tmp_path, monkeypatch):
    """As if stopped before the second class."""
    shortened(monkeypatch)
    again = tmp_path / "job"
    shutil.copytree(job, again)
    shutil.rmtree(again / "classes" / "class_02")
    for name in ("particles.star", "class_posterior.npy", "maps/states/state_01.mrc"):
        (again / name).unlink()
    JobFolder(again).write_status(state="stopped")
    run_job(options(again, resume=True), "abinit", partial(classes.run, open_part=partial(open_job, command="abinit")))
    for name in ("particles.star", "class_posterior.npy", "maps/states/state_01.mrc"):
        assert (again / name).read_bytes() == (job / name).read_bytes()


@pytest.mark.parametrize(
    ("error", "state", "verdict"),
    [
        (JobStopped("stopped by SIGINT"), "stopped", None),
        (KeyboardInterrupt(), "stopped", None),
        (RuntimeError("out of memory"), "failed", "out of memory"),
        (MemoryError(), "failed", "MemoryError"),
    ],
)
def test_a_fault_in_a_class_is_recorded_as_one(error, state, verdict, mixed, options, tmp_path, monkeypatch):
    def fails(*_):
        raise error

    monkeypatch.setattr(classes, "reconstruct", fails)
    particles, folder = read_particles(mixed / "particles.star"), tmp_path / "job" / "classes" / "class_01"
    store = CoefficientStore.build(particles)
    folder.parent.parent.mkdir()
    open_part = partial(open_job, command="abinit")
    with pytest.raises(type(error)):
        classes._reconstruct_class(
            options(tmp_path / "job"), folder, torch.arange(200), QuietReporter(), particles, store, open_part
        )
    status = JobFolder(folder).status
    assert (status["state"], status["verdict"]) == (state, verdict)


def test_the_posterior_is_that_of_the_definition(mixed):
    """Softmax over classes of what each class's map alone makes of an image."""
    store = CoefficientStore.build(read_particles(mixed / "particles.star"))
    making = Classification(store, 0.42, 0, QuietReporter())
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 22, 22, 22, generator=generator) * 0.05
    marginal = []
    images = making._images(torch.arange(store.n))
    for volume in (maps[:1], maps[1:], maps):
        em = mixture.Bootstrap(images, store.n, making.lattice_px, 0.42, 0, (mixture.SHARED,), len(volume), volume)
        rows = torch.arange(40)
        evidence = []
        for row in rows:
            evidence.append(em._gradient(row[None], 15.0, 8.0)[1])
        marginal.append(torch.tensor(evidence))
    together = em.class_probability[:40]
    torch.testing.assert_close(together, torch.softmax(torch.stack(marginal[:2], 1), 1), atol=2e-2, rtol=0)
    torch.testing.assert_close(marginal[2], torch.logaddexp(*marginal[:2]) - np.log(2), atol=2e-2, rtol=0)


def test_small_classes_are_dissolved():
    probability = torch.zeros(600, 3)
    probability[:150, 0], probability[150:180, 1], probability[180:, 2] = 1.0, 1.0, 1.0
    probability[150:180, 0] = 0.3
    known = Mixture(torch.arange(3.0)[:, None, None, None].expand(3, 4, 4, 4), probability, torch.zeros(600, 1), torch.zeros(600))
    found = by_size(known)
    assert found.maps[:, 0, 0, 0].tolist() == [2.0, 0.0]
    assert torch.bincount(found.label).tolist() == [420, 180]
    torch.testing.assert_close(found.posterior.sum(1), torch.ones(600))


def test_images_of_a_refined_map_are_looked_for_where_they_are(store):
    """At the nodes about their shifts: elsewhere the map would seem worse than two that are free to look."""
    state = RunState.first(torch.ones(store.n, dtype=torch.long), store.noise, store.box)
    state.maps = torch.zeros(2, FOLDS, store.box, store.box, store.box)
    state.shift_px = torch.randn(store.n, 2, generator=torch.Generator().manual_seed(0))
    making = Classification(store, 0.42, 0, QuietReporter())
    likeliest = making.of_refined(state).shift_probability.topk(KEPT_SHIFTS, dim=1).indices
    distance = torch.cdist(state.shift_px, making.lattice_px)
    torch.testing.assert_close(distance.gather(1, likeliest), distance.topk(KEPT_SHIFTS, dim=1, largest=False).values)


def test_few_images_are_not_parted(mixed):
    store = CoefficientStore.build(read_particles(mixed / "particles.star"))
    known = Mixture(torch.zeros(1, 22, 22, 22), torch.ones(150, 1), torch.zeros(150, 1), torch.zeros(150))
    assert Classification(store, 0.42, 0, QuietReporter()).with_another(known) is known


def test_only_what_gains_by_it_is_split(mixed, store, shortened, monkeypatch):
    """Two maps of one thing are a finer grid of poses, which is worth a little too."""
    shortened(monkeypatch)
    two = CoefficientStore.build(read_particles(mixed / "particles.star"))
    for images, n_classes in ((two, 2), (store, None)):
        making = Classification(images, 0.42, 0, QuietReporter())
        found = making.split(making.first(), mixture.WORTHWHILE)
        assert (found and len(found.maps)) == n_classes


def test_two_maps_that_gain_too_little_are_given_up(store, shortened, monkeypatch):
    """After the fewest steps, with the same answer; where nothing is too little they go on."""
    shortened(monkeypatch)
    steps = []
    whole = Bootstrap.step
    monkeypatch.setattr(Bootstrap, "step", lambda self: steps.append(len(self.volumes)) or whole(self))
    monkeypatch.setattr(mixture, "SETTLED", -1.0)
    making = Classification(store, 0.42, 0, QuietReporter())
    one = making.first()
    taken = []
    for least in (0.5, -np.inf):
        steps.clear()
        gain, _ = making.in_two(one, 0, least)
        assert gain < 0.5
        shared = steps[len(steps) - steps[::-1].index(1) :]  # after the last step of one map
        taken.append(len(shared) // 2)
    assert taken == [mixture.LEAST_STEPS, mixture.SHARED.steps]


def test_a_split_into_different_structures_comes_first(store, monkeypatch):
    """Though two maps of one structure seem to gain more."""
    n, lattice = 600, 4
    known = Mixture(torch.zeros(2, 8, 8, 8), torch.eye(2).repeat_interleave(300, 0), torch.ones(n, lattice), torch.zeros(n))
    halves = [torch.full((2, 8, 8, 8), 1.0), torch.full((2, 8, 8, 8), 2.0)]  # of class 0 and of class 1

    different: set[int] = set()

    def in_two(_self, _mixture, c, _least):
        sharing = SimpleNamespace(maps=halves[c], shift_probability=torch.ones(300, lattice), are_different=c in different)
        return (0.05, 0.01)[c], sharing

    monkeypatch.setattr(Classification, "in_two", in_two)
    monkeypatch.setattr(
        Classification, "_shared", lambda _, maps, known: Mixture(maps, torch.ones(n, len(maps)), known, torch.zeros(n))
    )
    making = Classification(store, 0.42, 0, QuietReporter())
    for those, chosen in ((set(), 1.0), ({0}, 1.0), ({0, 1}, 1.0), ({1}, 2.0)):
        different.clear()
        different.update(those)
        found = making.split(known, 0.0)
        assert len(found.maps) == 3
        assert float(found.maps[1:].mean()) == chosen
        assert torch.equal(found.shift_probability, known.shift_probability)
    assert float(making.split(known, 0.02).maps[1:].mean()) == 1.0  # the other gains too little
    assert making.split(known, 0.1) is None


def test_some_images_are_split_and_all_are_shared(mixture_of_two, monkeypatch):
    """Shifts of the others are looked for anew: those they had were of another map.

    Of 300 images asked, 0.93 to 0.99 of the others were in their class, by seed and by the order of sums: here are more.
    """
    mixed = mixture_of_two(2 * LARGE, 2 * SMALL)
    monkeypatch.setattr(mixture, "ASKED", LARGE + SMALL)
    making = Classification(CoefficientStore.build(read_particles(mixed / "particles.star")), 0.42, 0, QuietReporter())
    found = making.split(making.first(), -np.inf)
    others = slice(1, None, 2)  # every second one was asked
    assert share_in_right_class(found.label.numpy()[others], np.load(mixed / "truth" / "state.npy")[others]) > 0.95


@pytest.mark.parametrize("wrong", [{"classes": 0}, {"classes": 2, "preset": "cryodrgn2"}])
def test_options_are_checked(wrong, tmp_path):
    with pytest.raises(InputError, match="classes"):
        AbinitConfig(particles=tmp_path / "a.star", out=tmp_path / "b", **wrong)


def test_evaluation_goes_class_by_class(job, mixed):
    found = evaluate(EvaluateConfig(job=job, truth=mixed))
    assert found.n == LARGE + SMALL
    assert found.rotation_error_median_deg is None
    assert found.states.share_in_right_class > 0.95
    assert [part.n for part in found.classes] == np.bincount(np.load(job / "classes.npy")).tolist()
    assert max(part.rotation_error_median_deg for part in found.classes) < 6.0
    assert "Class 2" in found.summary()
    assert found.states.image_auc_mean > 0.8 * (32 / 2 - 1) / 32
    assert min(found.states.state_auc) > 0.4 * (32 / 2 - 1) / 32  # of the other complex there is little beyond shell 8
    assert all(part.states.image_auc_mean is not None for part in found.classes)
    assert len(json.loads(found.to_json())["classes"]) == 2
