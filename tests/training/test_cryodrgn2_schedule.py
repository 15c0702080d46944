"""The published numbers of cryoDRGN2, one by one."""

import pytest
import torch

from cryodrake.fields.mlp import MLPField
from cryodrake.physics.grids import n_rotations, nearest_children, spacing_deg, square_shifts
from cryodrake.training.cryodrgn2.run import published
from cryodrake.training.cryodrgn2.schedule import FLEXIBLE, RIGID

BOTH = pytest.mark.parametrize("schedule", [RIGID, FLEXIBLE], ids=["rigid", "flexible"])


@BOTH
def test_training(schedule):
    assert (schedule.epochs, schedule.batch, schedule.learning_rate) == (30, 16, 1e-4)
    assert schedule.pretraining_images == 10_000
    assert [epoch for epoch in range(schedule.epochs + 1) if schedule.searches(epoch)] == [1, 6, 11, 16, 21, 26]


@BOTH
def test_the_first_grid(schedule):
    assert n_rotations(schedule.grid_order) == 192 * 24 == 4608
    assert spacing_deg(schedule.grid_order) == 15.0
    shifts = square_shifts(schedule.shift_extent * 128, schedule.shifts_a_side)
    assert shifts.shape == (14 * 14, 2)
    assert float(shifts.abs().max()) == 10.0
    assert schedule.shift_extent * 64 == 5.0  # it scales with the box


@BOTH
def test_subdivision(schedule):
    assert (schedule.keep, schedule.levels) == (8, 4)
    assert nearest_children(schedule.grid_order, torch.tensor([0, 4607])).shape == (2, 8)
    assert spacing_deg(schedule.grid_order + schedule.levels) == pytest.approx(0.94, abs=0.003)


def test_radii():
    """The last grows over 25 epochs without states and is there from the first with them; images set the limit."""
    assert FLEXIBLE.radii(1, 128) == FLEXIBLE.radii(26, 128) == [12, 17, 22, 27, 32]
    assert RIGID.radii(1, 128) == [12] * 5
    assert [RIGID.radii(epoch, 128)[-1] for epoch in (1, 6, 11, 16, 21, 26, 30)] == [12, 16, 20, 24, 28, 32, 32]
    assert RIGID.radii(11, 128) == [12, 14, 16, 18, 20]
    assert FLEXIBLE.radii(1, 48) == [12, 17, 22, 24, 24]


def test_which_is_which():
    assert published(0) is RIGID
    assert published(8) is FLEXIBLE


def test_the_rigid_decoder_is_the_published_one():
    field = MLPField.cryodrgn2(128, 400.0)
    assert [tuple(p.shape) for p in field.network.parameters() if p.ndim == 2] == [(256, 384), *[(256, 256)] * 3]
