"""Grids of rotations and shifts: sizes, HEALPix directions, nesting, and even coverage of SO(3)."""

import healpix
import numpy as np
import pytest
import torch
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from cryodrake.physics.grids import (
    all_rotations,
    children,
    index_of,
    n_inplane,
    n_rotations,
    nearest_children,
    rotations_of,
    shift_grid,
    spacing_deg,
    square_shifts,
)
from cryodrake.physics.rotations import geodesic_deg, matrix_to_euler_deg, random_rotations


def test_sizes_and_spacings():
    assert [n_rotations(order) for order in (1, 2, 3)] == [576, 4608, 36864]
    assert [spacing_deg(order) for order in (1, 2, 3)] == [30.0, 15.0, 7.5]
    assert all_rotations(1).shape == (576, 3, 3)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_directions_are_healpix_pixel_centres(order):
    rotations = all_rotations(order).view(-1, n_inplane(order), 3, 3)
    nside = 2**order
    x, y, z = healpix.pix2vec(nside, np.arange(12 * nside**2), nest=True)
    for j in (0, n_inplane(order) - 1):  # the direction of view is the third row
        np.testing.assert_allclose(rotations[:, j, 2].numpy(), np.stack([x, y, z], 1), atol=1e-6)
    step = rotations[:, 1:] @ rotations[:, :-1].transpose(-1, -2)
    turn = torch.from_numpy(Rotation.from_euler("Z", -spacing_deg(order), degrees=True).as_matrix()).float()
    torch.testing.assert_close(step, turn.expand_as(step), atol=1e-5, rtol=0)


def test_rotations_by_index_are_those_of_the_grid():
    index = torch.tensor([4607, 0, 2300, 7])
    torch.testing.assert_close(rotations_of(2, index), all_rotations(2)[index])


def test_children_divide_the_finer_grid_among_themselves():
    kids = children(1, torch.arange(576))
    assert kids.shape == (576, 8)
    assert sorted(kids.flatten().tolist()) == list(range(4608))
    assert torch.equal(children(1, torch.tensor([[5, 9], [100, 575]])), kids[torch.tensor([[5, 9], [100, 575]])])


@pytest.mark.parametrize("order", [1, 2])
def test_children_lie_around_their_parent(order):
    """Away from the poles: psi is counted from the meridian, which turns from pixel to pixel there."""
    z = rotations_of(order, torch.arange(n_rotations(order)))[:, 2, 2]
    parent = torch.nonzero(z.abs() < 0.7).squeeze(1)[::3]
    kids = children(order, parent)
    matrices = rotations_of(order + 1, kids.flatten()).view(*kids.shape, 3, 3)
    around = rotations_of(order, parent)[:, None]
    assert float(geodesic_deg(matrices, around.expand_as(matrices)).max()) < 0.75 * spacing_deg(order)
    # In-plane the children are a quarter of the parent's spacing to either side, whatever the direction.
    psi = matrix_to_euler_deg(matrices)[..., 2] - matrix_to_euler_deg(around)[..., 2]
    away = (psi + 180) % 360 - 180
    torch.testing.assert_close(away.abs(), torch.full_like(away, spacing_deg(order) / 4), atol=1e-3, rtol=0)
    # Most of them are nearer to their own parent than to any other rotation of the parent's grid: cells are
    # not balls, so a corner may touch the neighbour's.
    nearest = KDTree(all_rotations(order).flatten(1).numpy()).query(matrices.flatten(0, 1).flatten(1).numpy())[1]
    assert (nearest.reshape(-1, 8) == parent.numpy()[:, None]).mean() > 0.85


@pytest.mark.parametrize("order", [1, 2])
def test_the_grid_covers_all_rotations_evenly(order):
    grid = all_rotations(order)
    anywhere = random_rotations(3000, torch.Generator().manual_seed(order))
    chord, index = KDTree(grid.flatten(1).numpy()).query(anywhere.flatten(1).numpy())
    away_deg = 2 * np.rad2deg(np.arcsin(chord / 8**0.5))
    # A cube of side `spacing` has its corners 0.87 of a side from the centre, and lies 0.48 of a side away on average.
    assert away_deg.max() < 1.0 * spacing_deg(order)
    assert away_deg.mean() == pytest.approx(0.48 * spacing_deg(order), rel=0.12)
    if order == 1:
        share = np.bincount(index, minlength=len(grid)) / len(anywhere) * len(grid)  # 5.2 expected in each
        assert share.max() < 4
    # Seen from any side the rotations average out.
    assert float(grid.mean(0).abs().max()) < 1e-5


def test_shifts_are_a_centred_disc():
    shifts = shift_grid(5.0, 2.5)
    assert shifts.shape == (13, 2)
    points = {tuple(s) for s in shifts.tolist()}
    assert (0.0, 0.0) in points
    assert (5.0, 0.0) in points
    assert (2.5, -2.5) in points
    assert points == {(-x, -y) for x, y in points} == {(y, x) for x, y in points}
    for extent, step in ((6.4, 2.0), (3.0, 1.5), (1.0, 0.25)):
        length = shift_grid(extent, step).norm(dim=1)
        assert float(length.max()) <= 1.1 * extent + 1e-5
        # Nothing within the extent is farther than half a diagonal from a candidate, but for the rim.
        angle = torch.linspace(0, 6.28, 100)
        inside = (extent - step / 2) * torch.stack([angle.cos(), angle.sin()], 1)
        assert float(torch.cdist(inside, shift_grid(extent, step)).min(1).values.max()) < 0.75 * step


def test_no_extent_is_no_shift():
    assert shift_grid(0.0, 1.0).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("order", [1, 2, 5])
def test_an_index_is_read_back_from_its_rotation(order):
    index = torch.randint(n_rotations(order), (500,), generator=torch.Generator().manual_seed(order))
    index[:3] = torch.tensor([0, 1, n_rotations(order) - 1])
    assert torch.equal(index_of(order, rotations_of(order, index)), index)
    assert torch.equal(index_of(order, rotations_of(order, index).view(100, 5, 3, 3)), index.view(100, 5))


@pytest.mark.parametrize("order", [1, 2])
def test_nearest_children_are_the_nearest_of_all_in_their_directions(order):
    """Against every in-plane angle of the four directions, the poles included."""
    index = torch.arange(n_rotations(order))[::7]
    n = n_inplane(order + 1)
    every = (4 * (index // n_inplane(order))[:, None] * n + torch.arange(4 * n)).long()
    here = rotations_of(order, index)[:, None]
    turned = rotations_of(order + 1, every.flatten()).view(*every.shape, 3, 3)
    distance = geodesic_deg(turned, here.expand_as(turned))
    found = rotations_of(order + 1, nearest_children(order, index).flatten()).view(-1, 8, 3, 3)
    expected = distance.sort(dim=1).values[:, :8]
    torch.testing.assert_close(geodesic_deg(found, here.expand_as(found)), expected, atol=2e-3, rtol=0)
    assert float(expected.max()) < spacing_deg(order)  # the plain children of a pole lie farther off


def test_nearest_children_are_the_children_away_from_the_poles():
    z = rotations_of(2, torch.arange(4608))[:, 2, 2]
    index = torch.nonzero(z.abs() < 0.6).squeeze(1)
    same = nearest_children(2, index).sort(dim=1).values == children(2, index).sort(dim=1).values
    assert float(same.float().mean()) > 0.9


def test_square_shifts_fill_their_square():
    grid = square_shifts(10.0, 14)
    assert grid.shape == (196, 2)
    assert (float(grid.min()), float(grid.max())) == (-10.0, 10.0)
    torch.testing.assert_close(grid[1] - grid[0], torch.tensor([20 / 13, 0.0]))
    torch.testing.assert_close(grid.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
