"""The mask on the half ball against its slow twin: to real space, masked there, and back."""

import pytest
import torch

from cryodrake.fields.statistics import flatten_solvent
from cryodrake.inference.ball_mask import BallMask
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.masks import sphere
from cryodrake.physics.slices import gridding_window, raster, unraster


@pytest.mark.parametrize("radius", [12.0, 9.5])
def test_masking_on_the_ball_is_masking_the_density(radius):
    grid = BallGrid(24, radius)
    g = torch.Generator().manual_seed(0)
    # What a map with an offset leaves after back-projection: the transform of the density times sinc².
    window = gridding_window(24, 48, "cpu")
    density = torch.randn(24, 24, 24, generator=g) + 3
    length = grid.lengths()
    ball = raster(density * window**2, grid) * (length < radius - 0.5)[:, None]
    expected = raster(flatten_solvent(unraster(ball, grid), 8.0, 2.0) * window**2, grid)
    found = BallMask(grid, sphere(24, 8.0, 2.0))(ball)
    zy, x = torch.arange(-grid.half, grid.half + 1).abs() / 2, torch.arange(grid.shape[2]) / 2
    below_nyquist = ((zy[:, None, None] < 11.9) & (zy[:, None] < 11.9) & (x < 11.9)).flatten()
    scale = float(expected.abs().max())
    torch.testing.assert_close(found[below_nyquist], expected[below_nyquist], rtol=0, atol=1e-5 * scale)
