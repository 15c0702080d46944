"""The prepared operator against `slices`, its twin without a memory: values, adjoint, and both at every radius."""

import pytest
import torch

from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.disc import Disc
from cryodrake.physics.grids import all_rotations
from cryodrake.physics.rotations import random_rotations
from cryodrake.physics.slice_operator import SliceOperator
from cryodrake.physics.slices import backproject, raster, slice_ball, symmetrise

BOX = 24


def setting(radius, oversampling=2):
    g = torch.Generator().manual_seed(0)
    grid = BallGrid(BOX, radius, oversampling)
    rotations = torch.cat([random_rotations(9, g), torch.eye(3)[None], all_rotations(1)[:3]])
    kxy = Disc.build(BOX, radius).kxy
    return grid, rotations, kxy, g


@pytest.mark.parametrize(("radius", "oversampling"), [(8.0, 2), (5.5, 2), (11.0, 1), (6.0, 3)])
def test_slices_and_back_projections_are_the_twins(radius, oversampling):
    grid, rotations, kxy, g = setting(radius, oversampling)
    operator = SliceOperator(grid, rotations, kxy)
    ball = raster(torch.randn(BOX, BOX, BOX, generator=g), grid)
    torch.testing.assert_close(operator.slices(ball), slice_ball(ball, grid, rotations, kxy), atol=1e-4, rtol=0)
    values = torch.randn(len(rotations), len(kxy), 2, generator=g)
    weights = torch.rand(len(rotations), len(kxy), generator=g)
    expected = symmetrise(backproject(values, weights, grid, rotations, kxy), grid)
    torch.testing.assert_close(operator.backproject(values, weights), expected, atol=1e-3, rtol=1e-4)


def test_the_arguments_are_left_as_they_were():
    grid, rotations, kxy, g = setting(6.0)
    operator = SliceOperator(grid, rotations, kxy)
    ball = raster(torch.randn(BOX, BOX, BOX, generator=g), grid)
    values, weights = torch.randn(len(rotations), len(kxy), 2, generator=g), torch.rand(len(rotations), len(kxy), generator=g)
    before = [x.clone() for x in (ball, values, weights)]
    first = operator.slices(ball), operator.backproject(values, weights)
    again = operator.slices(ball), operator.backproject(values, weights)
    assert all(torch.equal(x, y) for x, y in zip((ball, values, weights), before, strict=True))
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))


def test_the_two_products_are_adjoint():
    grid, rotations, kxy, g = setting(7.0)
    operator = SliceOperator(grid, rotations, kxy)
    # A ball whose plane kx = 0 is empty: there the adjoint adds the mates, which slices do not hold.
    ball = torch.randn(*grid.shape, 2, generator=g)
    ball[:, :, 0] = 0
    ball = ball.view(-1, 2)
    values = torch.randn(len(rotations), len(kxy), 2, generator=g)
    left = (operator.slices(ball) * values).sum()
    right = (ball * operator.backproject(values, torch.ones(values.shape[:2]))[:, :2]).sum()
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-2)
