"""What a run says of itself: it names every doubt, and it never trusts a map made of noise."""

import math

import pytest
import torch

from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.io.job import JobFolder
from cryodrake.io.mrc import StackWriter
from cryodrake.training import abinit, settling, starts
from cryodrake.training.bootstrap import Stage
from cryodrake.training.config import AbinitConfig
from cryodrake.training.events import QuietReporter
from cryodrake.training.state import RunState
from cryodrake.training.verdict import LEAST_CONFIDENT, LEAST_SHELL, judge


def a_state(store, agreement=0.9, confident=0.8, last_shell=14, first=40.0):
    n = store.n
    state = RunState.first(torch.arange(n) % 2 + 1, store.noise, store.box)
    state.starts = [
        {"seed": i, "log_marginal": 50.0, "first_log_marginal": first, "steps": 9, "agreement": agreement} for i in range(2)
    ]
    state.confidence = (torch.arange(n) < confident * n).float()
    state.fsc = (torch.arange(store.box // 2 + 1) <= last_shell).float()
    state.history = [{"mean_pose_change_deg": 99.0, "whole": True, "moved_share": 0.99}]
    state.history += [{"mean_pose_change_deg": 0.6, "whole": True, "moved_share": 0.03}]
    state.history += [{"mean_pose_change_deg": 0.4, "whole": False, "moved_share": 0.5}]
    return state


def test_a_good_run(store):
    verdict = judge(a_state(store), store)
    assert verdict.converged
    assert verdict.words.startswith("converged")
    assert "80%" in verdict.words
    assert verdict.numbers["confident_share"] == pytest.approx(0.8)
    assert verdict.numbers["mean_pose_change_deg"] == 0.4
    assert verdict.numbers["resolution_A"] == pytest.approx(store.box_A / (15 - 0.143), rel=1e-3)


def test_it_tells_whether_search_and_polish_agree(store):
    """By the last search of all, of the rounds of states where there are any."""
    state = a_state(store)
    assert "found 3.0% of them elsewhere" in judge(state, store).words
    state.rounds = [{"moved_share": 0.012, "log_marginal": 1.0}, {"median_pose_change_deg": 0.1}]
    assert judge(state, store).numbers["moved_share"] == 0.012
    state.rounds, state.history = [], state.history[:1]  # the first pass, which knows no poses, says nothing
    assert "elsewhere" not in judge(state, store).words


def test_images_of_something_else_are_told_of(store):
    """Fifty of 800 that hold surprisingly little, and then as many that hold surprisingly much: those are chance."""
    state = a_state(store)
    assert "surprisingly" not in judge(state, store).words
    state.surprise[:50] = -3.0
    assert "; 50 images hold surprisingly little of the map" in judge(state, store).words
    state.starts = []
    verdict = judge(state, store)
    assert not verdict.converged
    assert "; 50 images hold" in verdict.words
    state.is_part[:50] = True  # then it is known why
    assert "surprisingly" not in judge(state, store).words
    state = a_state(store)
    state.surprise[:50], state.surprise[50:100] = -3.0, 3.0
    assert "surprisingly" not in judge(state, store).words


def test_two_kinds_of_images_are_told_of(store):
    """One structure's images hold more or less of the map, and a few hold far less; those of two hold this or that much."""
    state, generator = a_state(store), torch.Generator().manual_seed(0)
    noise = torch.randn(len(state.surprise), generator=generator)
    outliers = torch.where(torch.arange(len(noise)) < 10, -8.0, noise)
    for surprise in (noise, outliers):
        state.surprise = surprise
        assert "two kinds" not in judge(state, store).words
    for share in (0.5, 0.3):
        state.surprise = 0.4 * noise + torch.where(torch.arange(len(noise)) < share * len(noise), -1.0, 1.0)
        assert "; the images are of two kinds" in judge(state, store).words


@pytest.mark.parametrize(
    ("doubt", "words"),
    [
        ({"agreement": starts.AGREEMENT - 0.01}, "starts agreed"),
        ({"agreement": 0.3, "first": starts.NOTHING - 0.1}, "seem to hold no particle"),
        ({"confident": LEAST_CONFIDENT - 0.02}, "of the images are sure"),
        ({"last_shell": int(LEAST_SHELL) - 2}, "half maps agree only"),
    ],
)
def test_every_doubt_is_enough_and_is_named(store, doubt, words):
    verdict = judge(a_state(store, **doubt), store)
    assert not verdict.converged
    assert words in verdict.words
    assert verdict.words.startswith("NOT converged")
    assert "Do not trust" in verdict.words


def test_images_of_whatever_kind_whose_starts_agree_hold_a_particle(store):
    assert judge(a_state(store, first=starts.NOTHING - 0.1), store).converged
    assert "no particle" not in judge(a_state(store, agreement=0.3), store).words


def test_groups_of_states_are_told_with_their_shares(store):
    state = a_state(store)
    state.gain, state.is_flexible = 4.0, True
    assert "groups" not in judge(state, store).words
    state.group[: store.n // 4] = 1
    assert "fall into 2 separate groups of 75%, 25% of the images" in judge(state, store).words
    state.group = torch.arange(store.n) % 20
    assert "20 separate groups of 5%, 5%" in judge(state, store).words
    assert judge(state, store).words.count("5%") == 12  # and no more are told


def test_a_symmetry_is_said(store):
    state = a_state(store)
    assert "symmetry" not in judge(state, store).words
    state.operators = torch.eye(3).expand(3, 3, 3)
    assert "symmetry of order 3" in judge(state, store).words


def test_all_doubts_are_named_together(store):
    words = judge(a_state(store, 0.1, 0.0, 3), store).words
    assert words.count(";") == 2


def test_half_maps_must_agree_beyond_what_they_were_given():
    """They start from the same map: agreement within its radius is no proof."""
    assert max(stage.last_radius for stage in abinit.SCHEDULE) < LEAST_SHELL


def test_starts_confirm_each_other():
    assert not starts.confirmed([])
    assert not starts.confirmed([{"agreement": 0.0}])
    assert not starts.confirmed([{"agreement": 0.3}, {"agreement": 0.3}])
    assert starts.confirmed([{"agreement": 0.1}, {"agreement": 0.9}, {"agreement": 0.9}])


def test_agreement_knows_neither_orientation_nor_hand_but_structure(finished):
    """Maps of different starts agree after alignment, mirrored ones too; maps of nothing do not."""
    maps = finished.load_latest()[1]["start_maps"]
    a = maps[0]
    turned = a.transpose(0, 1).flip(0)  # a quarter turn about x
    assert starts.agreement(a, turned, 10.0) > 0.85
    assert starts.agreement(a, a.flip(2), 10.0) > 0.85
    noise = torch.randn(a.shape, generator=torch.Generator().manual_seed(0)) * (a != 0)
    assert starts.agreement(a, noise, 10.0) < 0.5


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """120 images of noise alone, with the CTFs of a simulation."""
    folder = simulate(SimulateConfig(out=tmp_path_factory.mktemp("noise") / "data", n=120, box=32, snr=1.0))
    with StackWriter(folder / "particles.mrcs", 120, 32, 10.56) as stack:
        stack.write(torch.randn(120, 32, 32, generator=torch.Generator().manual_seed(0)).numpy())
    return folder


def test_noise_does_not_converge(noise, shortened, tmp_path, monkeypatch):
    shortened(monkeypatch, (Stage(30, 30.0, 7.0, 8.0, rate=0.3, momentum=0.8),), batch=60, most_starts=2)
    monkeypatch.setattr(settling, "MOST_PASSES", 3)
    config = AbinitConfig(particles=noise / "particles.star", out=tmp_path / "job", device="cpu")
    reporter = QuietReporter()
    abinit.run(config, JobFolder.create(tmp_path / "job"), reporter)
    said = {kind: values for kind, values in reporter.events if kind in ("warning", "verdict")}
    assert said["verdict"]["converged"] is False
    assert "NOT converged" in said["warning"]["text"]
    assert "starts agreed" in said["verdict"]["verdict"]
    assert math.isfinite(said["verdict"]["resolution_A"])
