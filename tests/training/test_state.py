"""Checkpoints hold all of a run's state, and give it back bit by bit."""

from dataclasses import fields

import pytest
import torch

from cryodrake.errors import InputError
from cryodrake.io.job import JobFolder
from cryodrake.training.state import RunState


def a_state():
    g = torch.Generator().manual_seed(0)
    state = RunState.first(torch.tensor([1, 2, 2, 1, 2]), torch.rand(2, 9, generator=g), 16)
    for name, tensor in state.tensors().items():
        if tensor.is_floating_point():
            setattr(state, name, torch.randn(tensor.shape, generator=g))
    state.start_maps = torch.randn(2, 8, 8, 8, generator=g)
    state.phase, state.iteration, state.radius = "refine", 3, 0.1 + 0.2
    state.starts = [{"seed": 7, "log_marginal": 1 / 3, "steps": 12, "agreement": 0.5}]
    state.history = [{"whole": True, "radius": 10.0, "resolution_A": 1e-17}, {"whole": False, "radius": 12.5, "resolution_A": 20.0}]
    return state


def assert_same(a, b):
    for f in fields(RunState):
        x, y = getattr(a, f.name), getattr(b, f.name)
        if isinstance(x, torch.Tensor):
            assert x.dtype == y.dtype, f.name
            assert torch.equal(x.nan_to_num(7), y.nan_to_num(7)), f.name
        else:
            assert x == y, f.name


def test_a_checkpoint_gives_the_state_back(tmp_path):
    job = JobFolder.create(tmp_path / "job")
    state = a_state()
    job.save_checkpoint(state.phase, state.tensors(), state.meta())
    name, tensors, meta = job.load_latest()
    assert name == "refine"
    assert_same(RunState.restore(tensors, meta, torch.device("cpu")), state)


def test_so_does_one_of_a_run_that_has_not_begun(tmp_path):
    job = JobFolder.create(tmp_path / "job")
    state = RunState.first(torch.tensor([1, 2]), torch.ones(1, 9), 16)
    job.save_checkpoint(state.phase, state.tensors(), state.meta())
    _, tensors, meta = job.load_latest()
    assert_same(RunState.restore(tensors, meta, torch.device("cpu")), state)


def test_one_of_another_version_is_refused():
    state = RunState.first(torch.tensor([1, 2]), torch.ones(1, 9), 16)
    tensors, meta = state.tensors(), state.meta()
    for changed in ((tensors | {"region": torch.zeros(1)}, meta), (tensors, {k: v for k, v in meta.items() if k != "gain"})):
        with pytest.raises(InputError, match="another version"):
            RunState.restore(*changed, torch.device("cpu"))


def test_every_field_is_saved():
    state = a_state()
    assert set(state.tensors()) | set(state.meta()) == {f.name for f in fields(RunState)}
    assert not set(state.tensors()) & set(state.meta())


def test_a_first_state_knows_nothing():
    state = RunState.first(torch.tensor([1, 2, 1]), torch.ones(1, 9), 16)
    assert (state.phase, state.iteration, state.starts, state.history) == ("bootstrap", 0, [], [])
    assert torch.equal(state.rotation, torch.eye(3).expand(3, 3, 3))
    assert torch.equal(state.scale, torch.ones(3))
    state.rotation[0] = 0  # images do not share memory
    assert torch.equal(state.rotation[1], torch.eye(3))
    assert RunState.first(torch.tensor([1]), torch.ones(1, 9), 16).starts is not state.starts
