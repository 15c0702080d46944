"""Half turns of a slice are signs in the basis of mirror points, and grids hold their half turns."""

import pytest
import torch

from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.disc import Disc
from cryodrake.physics.grids import all_rotations, base_rotations, ring_base
from cryodrake.physics.rotations import geodesic_deg, random_rotations
from cryodrake.physics.slices import raster, slice_ball
from cryodrake.physics.turns import TURNS, MirrorPairs, turned

SIGNS = ((1, 1, 1, 1), (1, -1, 1, -1), (1, 1, -1, -1), (1, -1, -1, 1))
"""Of re even, re odd, im even, im odd under 1, X, Z, Y."""


def test_turns_are_half_turns_that_make_a_group():
    torch.testing.assert_close(torch.linalg.det(TURNS), torch.ones(4))
    torch.testing.assert_close(TURNS @ TURNS, torch.eye(3).expand(4, 3, 3))
    torch.testing.assert_close(TURNS[1] @ TURNS[2], TURNS[3])


@pytest.mark.parametrize("radius", [2.0, 3.5, 9.0, 12.0])
def test_a_half_turn_changes_signs_only(radius):
    g = torch.Generator().manual_seed(0)
    box = 24
    kxy, grid = Disc.build(box, radius).kxy, BallGrid(box, radius)
    pairs, base = MirrorPairs.of(kxy), random_rotations(5, g)
    slices = slice_ball(raster(torch.randn(box, box, box, generator=g), grid), grid, turned(base), kxy)
    of_turns = [part.unflatten(0, (4, 5)) for part in pairs.split(torch.view_as_complex(slices))]
    for number, signs in enumerate(SIGNS):
        for part, sign in zip(of_turns, signs, strict=True):
            torch.testing.assert_close(part[number], sign * part[0], atol=2e-4, rtol=0)
    even, odd = pairs.split_real(slices.square().sum(-1))
    for number, sign in enumerate((1, -1, 1, -1)):
        torch.testing.assert_close(even.unflatten(0, (4, 5))[number], even[:5], atol=1e-2, rtol=1e-3)
        torch.testing.assert_close(odd.unflatten(0, (4, 5))[number], sign * odd[:5], atol=1e-2, rtol=1e-3)


def test_splitting_keeps_products_and_can_be_undone():
    g = torch.Generator().manual_seed(1)
    kxy = Disc.build(24, 8.0).kxy
    pairs = MirrorPairs.of(kxy)
    a, b = (torch.view_as_complex(torch.randn(3, 2, len(kxy), 2, generator=g)) for _ in range(2))
    product = sum((x * y).sum(-1) for x, y in zip(pairs.split(a), pairs.split(b), strict=True))
    torch.testing.assert_close(product, (a.conj() * b).real.sum(-1), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(pairs.join(pairs.split(a)), torch.view_as_real(a))
    torch.testing.assert_close(pairs.join_real(*pairs.split_real(a.real)), a.real)


def test_points_without_their_mirrors_are_refused():
    kxy = Disc.build(24, 8.0).kxy
    with pytest.raises(ValueError, match="mirror"):
        MirrorPairs.of(kxy[torch.arange(len(kxy)) != int(torch.nonzero(kxy[:, 1] < 0)[0])])


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_quarter_of_the_grid_is_the_grid(order):
    """Every rotation once, whatever the order."""
    whole, made = all_rotations(order), turned(base_rotations(order))
    assert made.shape == whole.shape
    distance = torch.cdist(made.flatten(1), whole.flatten(1))
    assert float(distance.amin(1).max()) < 1e-3
    assert len(distance.argmin(1).unique()) == len(whole)


@pytest.mark.parametrize("spacing", [30.0, 15.0])
def test_rings_cover_all_rotations(spacing):
    grid = turned(ring_base(spacing))
    anywhere = random_rotations(300, torch.Generator().manual_seed(2))
    away = torch.stack([geodesic_deg(grid, rotation.expand_as(grid)).amin() for rotation in anywhere])
    assert float(away.max()) < 1.1 * spacing
    assert float(away.mean()) < 0.55 * spacing
