"""Fourier sums on the half ball against their slow twin, the fast transform of the padded box."""

import pytest
import torch

from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.ball_transform import ball_of, density_of
from cryodrake.physics.fourier import centred_resize, coeff_to_volume, volume_to_coeff

BOX = 12
GRIDS = pytest.mark.parametrize(("radius", "oversampling"), [(3.0, 2), (5.5, 2), (6.0, 2), (6.0, 1), (4.0, 3)])


def indices(grid):
    """z, y, x of each voxel of the half ball, from the centre, and the index of the centre of the padded box."""
    m = grid.half
    axis = torch.arange(-m, m + 1)
    z, y, x = (t.flatten() for t in torch.meshgrid(axis, axis, torch.arange(m + 2), indexing="ij"))
    return z, y, x, BOX * grid.oversampling // 2


@GRIDS
def test_the_ball_is_read_from_the_padded_transform(radius, oversampling):
    grid, g = BallGrid(BOX, radius, oversampling), torch.Generator().manual_seed(0)
    density = torch.randn(BOX, BOX, BOX, generator=g, dtype=torch.float64)
    whole = volume_to_coeff(centred_resize(density, BOX * oversampling, 3)) * oversampling
    z, y, x, c = indices(grid)
    there = (z >= -c) & (z < c) & (y >= -c) & (y < c) & (x < c)
    expected = torch.zeros(grid.n_voxels, dtype=torch.complex128)
    expected[there] = whole[z[there] + c, y[there] + c, x[there] + c]
    torch.testing.assert_close(torch.view_as_complex(ball_of(density, grid)), expected, rtol=0, atol=1e-12)
    single = torch.view_as_complex(ball_of(density.float(), grid))
    torch.testing.assert_close(single, expected.to(torch.complex64), rtol=0, atol=2e-6 * float(expected.abs().max()))


@GRIDS
def test_the_density_is_that_of_the_padded_spectrum(radius, oversampling):
    """Whatever the plane kx = 0 holds: a real density has the mean of its mates."""
    grid, g = BallGrid(BOX, radius, oversampling), torch.Generator().manual_seed(1)
    ball = torch.randn(grid.n_voxels, 2, generator=g, dtype=torch.float64)
    z, y, x, c = indices(grid)
    inside = (z.abs() < c) & (y.abs() < c) & (x < c) & (x <= grid.half)
    whole = torch.zeros(2, *(BOX * oversampling,) * 3, dtype=torch.complex128)
    value = torch.view_as_complex(ball)[inside]
    whole[0, z[inside] + c, y[inside] + c, x[inside] + c] = value
    whole[1, c - z[inside], c - y[inside], c - x[inside]] = value.conj()
    mates = torch.ones(BOX * oversampling)
    mates[c] = 0.5
    expected = centred_resize(coeff_to_volume(whole.sum(0) * mates), BOX, 3) / oversampling
    torch.testing.assert_close(density_of(ball, grid), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(density_of(ball.float(), grid), expected.float(), rtol=0, atol=2e-6 * float(expected.abs().max()))


def test_gradients_go_both_ways():
    grid, g = BallGrid(6, 2.5), torch.Generator().manual_seed(3)
    density = torch.randn(6, 6, 6, generator=g, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: ball_of(x, grid), density)
    ball = torch.randn(grid.n_voxels, 2, generator=g, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: density_of(x, grid), ball)
