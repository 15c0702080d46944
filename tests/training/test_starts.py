"""Random starts that go on: for how long, in which order, and what becomes of them."""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.inference.reference import in_box
from cryodrake.io.job import JobFolder
from cryodrake.io.particles import read_particles
from cryodrake.training import refinement, starts
from cryodrake.training.abinit import AbinitRun
from cryodrake.training.bootstrap import SCHEDULE, Bootstrap, Stage
from cryodrake.training.config import AbinitConfig
from cryodrake.training.events import QuietReporter
from cryodrake.training.images import WeightedImages
from cryodrake.training.loading import MASK_RADIUS

HOT, LAST = Stage(12, 60.0, 5.0, 5.0, rate=0.3, momentum=0.8), Stage(3, 60.0, 5.0, 5.0, rate=0.2, momentum=0.5)


@pytest.fixture
def short(monkeypatch):
    """Starts that take milliseconds."""
    monkeypatch.setattr(starts, "CONTINUED", (HOT, LAST))
    monkeypatch.setattr(starts, "COMPARED", 2)


@pytest.fixture
def images(small):
    store = CoefficientStore.build(read_particles(small / "particles.star"))
    return WeightedImages(store, store.noise, torch.ones(store.n))


def go_on(images, told=lambda *_: None):
    maps = 0.05 * torch.randn(2, 12, 12, 12, generator=torch.Generator().manual_seed(3))
    return starts.StartMaker(images, 8, 2.0, 0.4, told).go_on([5, 6], maps)


def test_starts_stand_still_when_they_agree_or_come_no_closer():
    assert not starts._stand_still([])
    assert not starts._stand_still([0.5, 0.5])
    assert starts._stand_still([0.85])
    assert starts._stand_still([0.42, 0.37, 0.39])
    assert not starts._stand_still([0.58, 0.57, 0.62])
    assert not starts._stand_still([0.58, 0.68, 0.76, 0.79])
    assert starts._stand_still([0.58, 0.68, 0.69, 0.69])


def test_the_likeliest_two_go_on():
    records = [{"log_marginal": value} for value in (4.8, 5.1, 4.9, 5.0)]
    assert starts.likeliest_two(records) == [1, 3]
    assert starts.are_continued([{}, {"is_continued": True}])
    assert not starts.are_continued([{}, {}])


@pytest.mark.parametrize(
    ("agreements", "hot_steps"),
    [([0.5, 0.6, 0.7, 0.72, 0.75, 0.78], 12), ([0.5, 0.85], 4), ([0.4, 0.3, 0.3], 6)],
    ids=["to the end of the stage", "until they agree", "until they come no closer"],
)
def test_those_that_go_on_end_with_the_last_stage(images, short, monkeypatch, agreements, hot_steps):
    """However the long stage ended; the agreement that counts is that of the ends."""
    heard = iter([*agreements, 0.74])
    monkeypatch.setattr(starts, "agreement", lambda a, b, radius: next(heard))
    told = []
    found, same = go_on(images, lambda *step: told.append(step))
    assert [start.record["steps"] for start in found] == [hot_steps + LAST.steps] * 2
    assert [start.record["seed"] for start in found] == [5, 6]
    assert len(told) == 2 * (hot_steps + LAST.steps)
    assert float(same.max()) == pytest.approx(0.74)
    assert next(heard, None) is None


def test_a_run_whose_starts_disagree_continues_two_of_them(small, short, monkeypatch, tmp_path):
    """Once: they take the place of what they were; if they do not agree either, the likeliest of all is chosen."""
    monkeypatch.setattr(starts, "Bootstrap", functools.partial(Bootstrap, schedule=(LAST,)))
    monkeypatch.setattr(starts, "agreement", lambda a, b, radius: 0.1)
    config = AbinitConfig(particles=small / "particles.star", out=tmp_path / "job")
    store = CoefficientStore.build(read_particles(config.particles))
    run = AbinitRun.open(config, JobFolder.create(config.out), QuietReporter(), read_particles(config.particles), store)
    run.bootstrap()
    records = run.state.starts
    continued = [i for i, record in enumerate(records) if record.get("is_continued")]
    assert len(records) == starts.MOST_STARTS
    assert len(continued) == 2
    assert all(records[i]["steps"] > LAST.steps for i in continued)
    assert run.state.phase == "refine"
    assert not starts.confirmed(records)
    likeliest = max(range(len(records)), key=lambda i: records[i]["log_marginal"])
    assert torch.equal(run.state.maps[0, 0], in_box(run.state.start_maps[likeliest], store.box))


def test_images_of_nothing_are_told_from_faint_particles(tmp_path, monkeypatch):
    """By their first steps, in which neither comes to a map."""
    first = (SCHEDULE[0], replace(SCHEDULE[1], steps=starts.FIRST_COMPARED - SCHEDULE[0].steps))
    monkeypatch.setattr(starts, "Bootstrap", functools.partial(Bootstrap, schedule=first))
    data = simulate(SimulateConfig(out=tmp_path / "data", n=600, box=32, snr=0.06, empty_share=0.5, seed=4))
    empty = torch.from_numpy(np.load(data / "truth" / "empty.npy"))
    store = CoefficientStore.build(read_particles(data / "particles.star"))
    for rows, is_nothing in ((empty.nonzero()[:, 0], True), ((~empty).nonzero()[:, 0], False)):
        images = WeightedImages(store.select(rows), store.noise, torch.ones(len(rows)))
        maker = starts.StartMaker(images, len(rows), refinement.SHIFT_EXTENT * store.box, MASK_RADIUS, lambda *_: None)
        found, _ = maker.run([0], torch.zeros(0, 24, 24, 24))
        assert starts.are_of_nothing([found[0].record]) == is_nothing


def test_a_run_on_images_of_nothing_makes_two_starts_and_no_classes(small, monkeypatch, tmp_path):
    monkeypatch.setattr(starts, "Bootstrap", functools.partial(Bootstrap, schedule=(LAST,)))
    monkeypatch.setattr(starts, "agreement", lambda a, b, radius: 0.1)
    monkeypatch.setattr(starts, "NOTHING", math.inf)
    particles = read_particles(small / "particles.star")
    config = AbinitConfig(particles=small / "particles.star", out=tmp_path / "job", zdim=1)
    run = AbinitRun.open(config, JobFolder.create(config.out), QuietReporter(), particles, CoefficientStore.build(particles))
    run.bootstrap()
    assert len(run.state.starts) == starts.FIRST_STARTS
    assert not run.asks_for_parts
    assert not starts.are_of_nothing([])
    run.state.starts[0]["agreement"] = starts.AGREEMENT
    assert run.asks_for_parts
