"""Slices agree with an exact sum over atoms; back-projection is the adjoint; raster and unraster invert each other."""

import itertools
import math

import numpy as np
import pytest
import torch

from cryodrake.physics import cells, compiled, slices_compiled
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.disc import Disc
from cryodrake.physics.fourier import centred_resize, coeff_to_volume, image_to_coeff, volume_to_coeff
from cryodrake.physics.rotations import euler_deg_to_matrix, random_rotations
from cryodrake.physics.slices import backproject, gridding_window, raster, slice_ball, symmetrise, unraster

BOX = 32


@pytest.fixture(scope="module")
def blobs():
    """Gaussian blobs: their transform is known in closed form at any frequency."""
    g = torch.Generator().manual_seed(1)
    centre = (torch.rand(12, 3, generator=g) - 0.5) * 14
    weight = torch.rand(12, generator=g) + 0.5
    sigma = 1.3

    def transform(points):  # (p 3) cycles per box -> complex, the 1/d convention
        angle = -2 * math.pi * (points @ centre.T) / BOX
        phase = torch.polar(torch.ones_like(angle), angle)
        envelope = torch.exp(-2 * math.pi**2 * sigma**2 * (points**2).sum(1, keepdim=True) / BOX**2)
        return (phase * envelope * weight).sum(1) * (2 * math.pi * sigma**2) ** 1.5 / BOX

    axis = torch.arange(BOX, dtype=torch.float32) - BOX // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    grid = torch.stack([x, y, z], -1)
    squared = ((grid[..., None, :] - centre) ** 2).sum(-1)
    density = (weight * torch.exp(-squared / (2 * sigma**2))).sum(-1)
    return density, transform, centre, weight, sigma


def test_volume_transform_matches_closed_form(blobs):
    density, transform, *_ = blobs
    coeff = volume_to_coeff(density)
    for k in [(0, 0, 0), (3, -2, 1), (-5, 0, 4)]:
        x, y, z = k
        expected = transform(torch.tensor([[x, y, z]], dtype=torch.float32))[0]
        assert torch.allclose(coeff[z + BOX // 2, y + BOX // 2, x + BOX // 2], expected, atol=1e-4)


def test_slices_match_closed_form_and_real_projections(blobs):
    density, transform, centre, weight, sigma = blobs
    disc = Disc.build(BOX, 12.0)
    rotations = torch.cat([random_rotations(6, torch.Generator().manual_seed(3)), torch.eye(3)[None]])
    grid = BallGrid(BOX, 12.0, 2)
    values = torch.view_as_complex(slice_ball(raster(density, grid), grid, rotations, disc.kxy).reshape(7, -1, 2))
    points = (disc.kxy @ rotations[:, :2]).reshape(-1, 3)
    exact = transform(points).reshape(7, -1)
    assert (values - exact).norm() < 0.02 * exact.norm()  # trilinear at two-fold oversampling
    # The slice at R is the transform of the projection of the rotated particle: atoms at R x.
    axis = torch.arange(BOX, dtype=torch.float32) - BOX // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    for rotation, row in zip(rotations, values, strict=True):
        moved = centre @ rotation.T
        squared = (x[..., None] - moved[:, 0]) ** 2 + (y[..., None] - moved[:, 1]) ** 2
        image = (weight * torch.exp(-squared / (2 * sigma**2))).sum(-1) * math.sqrt(2 * math.pi) * sigma
        seen = disc.gather(image_to_coeff(image))
        assert (seen - row).norm() < 0.05 * seen.norm()


def test_backprojection_is_the_adjoint_and_the_gradient():
    disc = Disc.build(BOX, 9.0)
    grid = BallGrid(BOX, 9.0, 2)
    g = torch.Generator().manual_seed(0)
    rotations = random_rotations(5, g)
    ball = torch.randn(grid.n_voxels, 2, generator=g, requires_grad=True)
    values = torch.randn(5, disc.n_points, 2, generator=g)
    weights = torch.rand(5, disc.n_points, generator=g)
    inner = (slice_ball(ball, grid, rotations, disc.kxy) * values).sum()
    inner.backward()
    sums = backproject(values, weights, grid, rotations, disc.kxy)
    assert torch.allclose(ball.grad, sums[:, :2], atol=1e-4)
    assert torch.allclose(sums[:, 2].sum(), weights.sum(), rtol=1e-5)


@pytest.mark.parametrize("radius", [5.0, 8.0])  # of a box of 16: to its edge, too
def test_half_balls_are_cut_from_the_whole_transform(radius):
    """Raster and unraster by real transforms, against the whole complex ones."""
    grid = BallGrid(16, radius)
    density = torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(6))
    window = gridding_window(16, 32, "cpu")
    m, c = grid.half, grid.half + 2
    whole = centred_resize(volume_to_coeff(centred_resize(density / window, 32, 3)) * 2, 2 * c, 3)
    cut = whole[c - m : c + m + 1, c - m : c + m + 1, c:]
    ball = raster(density, grid)
    torch.testing.assert_close(torch.view_as_complex(ball.contiguous()), cut.flatten(), atol=1e-5, rtol=0)

    values = torch.randn(grid.n_voxels, 2, generator=torch.Generator().manual_seed(7))  # its plane kx = 0 is no mate of itself
    length = grid.lengths()
    values *= ((length < radius + 0.5) & (length < 8.0))[:, None]
    half = torch.view_as_complex(values).reshape(grid.shape)
    whole = torch.zeros(2 * m + 1, 2 * m + 1, 2 * m + 3, dtype=torch.complex64)
    whole[:, :, m + 1 :] = half
    whole[:, :, : m + 2] = half.flip(0, 1, 2).conj()
    expected = coeff_to_volume(centred_resize(whole, 32, 3)) / 2
    torch.testing.assert_close(unraster(values, grid), centred_resize(expected, 16, 3) / window, atol=1e-5, rtol=1e-5)


def test_voxels_lie_where_the_half_ball_has_them():
    grid = BallGrid(16, 7.5, 3)
    zyx = itertools.product(range(-grid.half, grid.half + 1), range(-grid.half, grid.half + 1), range(grid.half + 2))
    expected = torch.tensor([math.hypot(*k) / 3 for k in zyx])
    torch.testing.assert_close(grid.lengths(), expected)
    assert torch.equal(grid.shells(), expected.round().long())


def test_unraster_undoes_raster_but_for_the_interpolation_window(blobs):
    density, *_ = blobs
    grid = BallGrid(BOX, BOX / 2, 2)
    axis = (torch.arange(BOX) - BOX // 2) / (2 * BOX)
    window = torch.sinc(axis) ** 2
    window = window[:, None, None] * window[:, None] * window
    back = unraster(raster(density, grid), grid) * window**2
    assert (back - density).abs().max() < 2e-3 * density.max()


def test_backprojection_of_noise_free_slices_returns_the_map(blobs):
    density, *_ = blobs
    disc = Disc.build(BOX, 13.0)
    grid = BallGrid(BOX, 13.0, 2)
    rotations = random_rotations(3000, torch.Generator().manual_seed(2))
    slices = slice_ball(raster(density, grid), grid, rotations, disc.kxy)
    sums = symmetrise(backproject(slices, torch.ones(3000, disc.n_points), grid, rotations, disc.kxy), grid)
    assert torch.allclose(sums.reshape(*grid.shape, 3)[:, :, 0, 0], sums.reshape(*grid.shape, 3)[:, :, 0, 0].flip(0, 1), atol=1e-2)
    back = unraster(sums[:, :2] / sums[:, 2:].clamp(min=1e-3), grid)
    fa, fb = volume_to_coeff(density), volume_to_coeff(back)
    axis = torch.arange(BOX) - BOX // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    inside = ((x**2 + y**2 + z**2) < 11**2) & ((x**2 + y**2 + z**2) > 1)
    correlation = (fa[inside] * fb[inside].conj()).real.sum() / (fa[inside].norm() * fb[inside].norm())
    assert correlation > 0.995
    assert torch.allclose(coeff_to_volume(fa), density, atol=1e-4)


def test_in_plane_rotation_turns_the_image():
    # psi only: R = Rz(-psi) as RELION defines it, so a blob on +x moves to (cos psi, -sin psi) … seen in the image.
    rotation = euler_deg_to_matrix(torch.tensor([0.0, 0.0, 90.0]))
    moved = rotation @ torch.tensor([1.0, 0.0, 0.0])
    assert torch.allclose(moved, torch.tensor([0.0, -1.0, 0.0]), atol=1e-6)


def read_at(ball, grid, points):
    """The interpolated map at (x, y, z): the first row of each "rotation" is a point, read at (kx, ky) = (1, 0)."""
    rows = torch.nn.functional.pad(points[:, None], (0, 0, 0, 2))
    return slice_ball(ball, grid, rows, torch.tensor([[1.0, 0.0]]))[:, 0]


def hermitian_ball(grid, seed=0):
    return raster(torch.randn(grid.box, grid.box, grid.box, generator=torch.Generator().manual_seed(seed)), grid)


def test_gradients_are_finite_differences():
    """Within a cell the interpolant is linear along each axis, so central differences are exact, on either side of kx = 0."""
    disc, grid = Disc.build(BOX, 8.0), BallGrid(BOX, 8.0, 2)
    rotations = random_rotations(5, torch.Generator().manual_seed(4))
    ball = hermitian_ball(grid)
    values, gradient = cells.read_with_gradient(ball, grid, rotations, disc.kxy)
    torch.testing.assert_close(values.transpose(1, 2), slice_ball(ball, grid, rotations, disc.kxy))
    points = (disc.kxy @ rotations[:, :2]).reshape(-1, 3)
    assert bool((points[:, 0] < 0).any())
    step = 0.02  # cycles per box
    within = ((points * grid.oversampling).remainder(1) - 0.5).abs().amax(1) < 0.5 - 1.1 * step * grid.oversampling
    assert int(within.sum()) > 300
    for axis in range(3):
        move = step * torch.eye(3)[axis]
        difference = (read_at(ball, grid, points + move) - read_at(ball, grid, points - move)) / (2 * step)
        along = gradient[:, :, axis].transpose(1, 2).reshape(-1, 2)
        torch.testing.assert_close(along[within], difference[within], atol=5e-3, rtol=0)


def test_the_other_half_is_the_conjugate():
    disc, grid = Disc.build(BOX, 8.0), BallGrid(BOX, 8.0, 2)
    rotations = random_rotations(20, torch.Generator().manual_seed(5))
    half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    ball = hermitian_ball(grid)
    here, there = (slice_ball(ball, grid, r, disc.kxy) for r in (rotations, half_turn @ rotations))
    torch.testing.assert_close(there, here * torch.tensor([1.0, -1.0]), atol=1e-4, rtol=0)
    # And it joins without a step.
    edge = torch.tensor([[0.0, y, z] for y in (-3.3, 0.2, 6.1) for z in (-2.0, 0.7)])
    nudge = torch.tensor([1e-4, 0.0, 0.0])
    torch.testing.assert_close(read_at(ball, grid, edge - nudge), read_at(ball, grid, edge + nudge), atol=5e-3, rtol=0)


def test_the_half_ball_gathers_what_a_whole_one_would():
    """Every point and its conjugate mate spread over a whole lattice, voxel by voxel, in double precision."""
    disc, grid = Disc.build(8, 3.0), BallGrid(8, 3.0, 2)
    g = torch.Generator().manual_seed(1)
    rotations = torch.cat([random_rotations(2, g), torch.eye(3)[None]])
    values = torch.randn(3, disc.n_points, 2, generator=g)
    weights = torch.rand(3, disc.n_points, generator=g)
    m = grid.half
    whole = np.zeros((2 * m + 1, 2 * m + 1, 2 * m + 2, 3))  # x from -m to m + 1
    points = (disc.kxy.double() @ rotations[:, :2].double()).reshape(-1, 3).numpy() * 2
    for sign in (1, -1):
        for point, value, weight in zip(sign * points, values.reshape(-1, 2).tolist(), weights.flatten().tolist(), strict=True):
            base = np.floor(point).astype(int)
            for corner in itertools.product((0, 1), repeat=3):
                share = np.prod(np.where(corner, point - base, 1 - (point - base)))
                x, y, z = base + corner
                if share > 0:
                    whole[z + m, y + m, x + m] += share * np.array([value[0], sign * value[1], weight])
    found = symmetrise(backproject(values, weights, grid, rotations, disc.kxy), grid).view(*grid.shape, 3)
    np.testing.assert_allclose(found.numpy(), whole[:, :, m:], atol=1e-4)


def test_a_density_side_by_side_with_others_is_sliced_as_alone():
    disc, grid = Disc.build(BOX, 7.0), BallGrid(BOX, 7.0, 2)
    rotations = random_rotations(3, torch.Generator().manual_seed(6))
    volumes = torch.randn(3, BOX, BOX, BOX, generator=torch.Generator().manual_seed(7))
    together = slice_ball(raster(volumes, grid), grid, rotations, disc.kxy)
    for r, volume in enumerate(volumes):
        alone = slice_ball(raster(volume, grid), grid, rotations, disc.kxy)
        torch.testing.assert_close(together[..., 2 * r : 2 * r + 2], alone)


@pytest.mark.parametrize("columns", [2, 6])
def test_the_compiled_loops_are_their_twins(columns, monkeypatch):
    """On one thread and on several, which add to a ball each."""
    disc, grid = Disc.build(BOX, 11.0), BallGrid(BOX, 11.0, 2)
    g = torch.Generator().manual_seed(8)
    rotations = torch.cat([random_rotations(40, g), torch.eye(3)[None]])
    ball = torch.randn(grid.n_voxels, columns, generator=g)
    values = torch.randn(41, disc.n_points, columns, generator=g)
    weights = torch.rand(41, disc.n_points, generator=g)
    where = grid, rotations, disc.kxy
    for least in (1 << 30, 1):
        monkeypatch.setattr(compiled, "LEAST", least)
        torch.testing.assert_close(slices_compiled.read(ball, *where), cells.read(ball, *where), atol=1e-4, rtol=0)
        before = torch.randn(grid.n_voxels, columns + 1, generator=torch.Generator().manual_seed(9))
        loops, twin = before.clone(), before.clone()
        slices_compiled.add(values, weights, *where, loops)
        cells.add(values, weights, *where, twin)
        torch.testing.assert_close(loops, twin, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(loops - before, backproject(values, weights, *where), atol=1e-4, rtol=1e-4)


def test_other_number_types_take_the_torch_path():
    disc, grid = Disc.build(BOX, 5.0), BallGrid(BOX, 5.0, 2)
    rotations = random_rotations(3, torch.Generator().manual_seed(9))
    ball = torch.randn(grid.n_voxels, 2, dtype=torch.float64)
    seen = slice_ball(ball, grid, rotations.double(), disc.kxy.double())
    torch.testing.assert_close(seen.float(), slice_ball(ball.float(), grid, rotations, disc.kxy), atol=1e-3, rtol=0)
