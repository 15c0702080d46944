"""A run that is stopped, wherever, and resumed leaves the very same files as one that was left alone."""

from dataclasses import replace

import pytest

from cryodrake.errors import JobStopped
from cryodrake.io.job import JobFolder
from cryodrake.training import abinit, conformations, refinement, searches, settling
from cryodrake.training import results as results_module
from cryodrake.training.bootstrap import Stage
from cryodrake.training.config import AbinitConfig
from cryodrake.training.events import QuietReporter

QUICK = (Stage(4, 45.0, 5.0, 6.0, rate=0.4, momentum=0.5),)


class Counting(QuietReporter.__mro__[1]):
    """Counts the questions whether to stop, and remembers in which phase each was asked."""

    def __init__(self):
        self.asked, self._phase = [], ""

    def phase(self, name, total, words):
        self._phase = name

    def should_stop(self):
        self.asked.append(self._phase)
        return False

    def step(self, done, **metrics): ...
    def stage(self, name, volume, pixel_size_A, resolution_A): ...
    def warn(self, text): ...
    def finish(self, converged, verdict, **numbers): ...


@pytest.fixture(scope="module")
def quick(shortened):
    with pytest.MonkeyPatch.context() as patch:
        shortened(patch, QUICK, batch=30, most_starts=2)
        patch.setattr(settling, "MOST_PASSES", 5)
        patch.setattr(searches, "ROWS_PER_PROGRESS", 20)
        patch.setattr(refinement, "COARSEST_DEG", 40.0)
        patch.setattr(refinement, "STEP_AT_EDGE", 8.0)
        patch.setattr("cryodrake.inference.alignment._COARSE_ORDER", 1)
        yield


def config_of(small, out, seed=0):
    return AbinitConfig(particles=small / "particles.star", out=out, device="cpu", seed=seed)


def results_of_files(job):
    """The bytes of every file that a user keeps."""
    names = [
        *sorted(path for path in (job / "maps").iterdir() if path.is_file()),
        job / "particles.star",
        job / "checkpoints" / "field.safetensors",
    ]
    return {str(path.relative_to(job)): path.read_bytes() for path in names}


@pytest.fixture(scope="module")
def alone(small, quick, tmp_path_factory):
    """Files of a run that was left alone, and the phase of every question that it asked."""
    out = tmp_path_factory.mktemp("alone") / "job"
    reporter = Counting()
    abinit.run(config_of(small, out), JobFolder.create(out), reporter)
    return results_of_files(out), reporter.asked


def stopped_and_resumed(small, out, stops):
    """Runs until asked to stop, time and again, and then to the end; how often it was stopped."""
    job = JobFolder.create(out)
    n_stopped = 0
    for stop_after in [*stops, None]:
        try:
            abinit.run(config_of(small, out), job, QuietReporter(stop_after))
        except JobStopped:
            n_stopped += 1
        job.close()
        if stop_after is not None:
            job = JobFolder.resume(out)
    return n_stopped


def test_the_run_can_be_stopped_in_all_its_long_phases(alone):
    phases = set(alone[1])
    assert {"start 1", "refine 1", "refine 5", "join"} <= phases
    assert len(results_names(alone)) == 7


def results_names(alone):
    return set(alone[0]) & {
        *(f"maps/{name}.mrc" for name in ("consensus", "field", "half1_unfil", "half2_unfil")),
        *("maps/fsc.csv", "particles.star", "checkpoints/field.safetensors"),
    }


def test_another_seed_is_another_run(small, quick, alone, tmp_path):
    abinit.run(config_of(small, tmp_path / "other", 1), JobFolder.create(tmp_path / "other"), QuietReporter())
    assert results_of_files(tmp_path / "other")["particles.star"] != alone[0]["particles.star"]


@pytest.mark.parametrize("where", ["in the first start", "in a search", "at the end", "everywhere"])
def test_a_stopped_run_ends_the_same(small, quick, alone, tmp_path, where):
    asked = alone[1]
    after = {phase: len(asked) - asked[::-1].index(phase) for phase in asked}  # questions up to the last of a phase
    stops = {
        "in the first start": [2],
        "in a search": [asked.index("refine 2") + 2],
        "at the end": [len(asked) - 1],
        # Before the first checkpoint, then in the middle of each search.
        "everywhere": [
            after["start 1"] - 2,
            after["refine 1"] + 2,
            *(after[f"refine {i}"] - after[f"refine {i - 1}"] + 2 for i in (2, 3, 4)),
        ],
    }[where]
    assert stopped_and_resumed(small, tmp_path / "job", stops) == len(stops)
    assert results_of_files(tmp_path / "job") == alone[0]


def test_a_run_that_broke_while_it_wrote_its_results_ends_the_same(small, quick, alone, tmp_path, monkeypatch):
    job = JobFolder.create(tmp_path / "job")

    def broken(*arguments):
        raise OSError("the lights went out")

    with monkeypatch.context() as patch:
        patch.setattr(results_module, "write_particles", broken)
        with pytest.raises(OSError, match="lights"):
            abinit.run(config_of(small, tmp_path / "job"), job, QuietReporter())
    job.close()
    reporter = Counting()
    abinit.run(config_of(small, tmp_path / "job"), JobFolder.resume(tmp_path / "job"), reporter)
    assert reporter.asked == []  # nothing that took long was done again
    assert results_of_files(tmp_path / "job") == alone[0]


def test_a_run_with_states_that_is_stopped_ends_the_same(small, quick, tmp_path, monkeypatch):
    """Stopped before the question whether there are states, between rounds, and while images are posed in their states."""
    monkeypatch.setattr(conformations, "SURE", -1e9)  # flexible in any case
    monkeypatch.setattr(conformations, "SETTLED", 0.0)  # and posed in every round
    monkeypatch.setattr(conformations, "RADIUS", 6.0)
    monkeypatch.setattr("cryodrake.training.state_files.N_STATES", 2)

    def config(out):
        return replace(config_of(small, out), zdim=2)

    def files(job):
        return results_of_files(job) | {name: (job / name).read_bytes() for name in ("latents.npy", "latents_precision.npy")}

    reporter, phases = Counting(), tmp_path / "alone"
    abinit.run(config(phases), JobFolder.create(phases), reporter)
    assert {"states 2", "poses 1", "states 4"} <= set(reporter.asked)
    out = tmp_path / "job"
    job = JobFolder.create(out)
    for phase in ("join", "poses 1", "poses 2"):
        with pytest.raises(JobStopped):
            abinit.run(config(out), job, StoppedIn(phase))
        job.close()
        job = JobFolder.resume(out)
    abinit.run(config(out), job, QuietReporter())
    assert files(out) == files(phases)
    assert (out / "maps" / "states" / "state_00.mrc").exists()


class StoppedIn(Counting):
    """Asks to stop at the last question in a phase that has several, else at the first."""

    def __init__(self, phase):
        super().__init__()
        self.wanted = phase

    def should_stop(self):
        super().should_stop()
        return self._phase == self.wanted
