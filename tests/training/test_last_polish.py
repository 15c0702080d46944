"""The last polish: every image once, better poses, and a search of those in doubt; the poses of the half maps stay as they are."""

from types import SimpleNamespace

import pytest
import torch

from cryodrake.physics.rotations import axis_angle_to_matrix, geodesic_deg
from cryodrake.training import last_polish, refinement
from cryodrake.training.events import QuietReporter
from cryodrake.training.last_polish import LastPolish
from cryodrake.training.state import RunState

LOST = 40  # images that lie in a wrong basin, and are in doubt


@pytest.fixture(scope="module")
def polish(hinge):
    """Before the last polish: poses a few degrees off the truth, those of the first images far from it."""
    state = RunState.first(hinge.half, hinge.store.noise, hinge.store.box)
    generator = torch.Generator().manual_seed(5)
    off = torch.randn(hinge.store.n, 3, generator=generator) * 0.04
    off[:LOST] = torch.tensor([0.0, 1.5, 0.0])
    state.rotation, state.shift_px = axis_angle_to_matrix(off) @ hinge.rotation, hinge.shift_px.clone()
    state.confidence[LOST:] = 1.0
    state.history = [{"whole": True, "moved_share": 0.0}]
    return LastPolish(hinge.images, state, QuietReporter(), seed=1, poll=lambda: None)


@pytest.fixture(scope="module")
def polished(hinge, polish):
    state, before = polish.state, polish.state.rotation.clone()
    halves = refinement.half_maps(
        hinge.images, hinge.half, state.rotation, state.shift_px, hinge.store.box / 2, 0.42 * hinge.store.box
    )
    polish.run(halves)
    return SimpleNamespace(state=state, before=before, events=polish.reporter.events)


def test_the_images_in_doubt_are_searched(polish):
    assert polish.doubtful().nonzero().flatten().tolist() == list(range(LOST))


def test_more_are_searched_where_the_last_search_of_all_found_many_misplaced(polish, monkeypatch):
    n = len(polish.state.half)
    monkeypatch.setattr(polish.state, "history", [{"whole": True, "moved_share": 0.01}, {"whole": False, "moved_share": 1.0}])
    monkeypatch.setattr(polish.state, "surprise", torch.arange(n, 0, -1).float())
    most = last_polish.SEARCHED_PER_MISPLACED * n // 100
    assert polish.doubtful().nonzero().flatten().tolist() == [*range(LOST), *range(n - most, n)]


def test_every_image_has_its_turn_once(polished):
    done = [event["done"] for name, event in polished.events if name == "step"]
    assert done == sorted(set(done))
    assert done[-1] == len(polished.state.half)
    assert sum(event["particles"] for name, event in polished.events if name == "step") == len(polished.state.half)


def test_poses_become_better_and_those_lost_are_found(hinge, polished):
    error = [geodesic_deg(rotation, hinge.rotation) for rotation in (polished.before, polished.state.joint_rotation)]
    assert error[1][LOST:].median() < 0.75 * error[0][LOST:].median()
    assert (error[1][:LOST] < 10).float().mean() >= 0.9
    assert (error[0][:LOST] > 80).all()


def test_poses_of_the_half_maps_stay(polished):
    assert torch.equal(polished.before, polished.state.rotation)
