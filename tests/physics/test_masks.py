"""Masks: round in all directions, 1 inside, 0 outside, a raised cosine between."""

import math

import pytest
import torch

from cryodrake.physics.masks import around, circular_window, sphere

BOX, RADIUS, EDGE = 32, 8.0, 4.0


def expected(r):
    if r <= RADIUS:
        return 1.0
    return 0.0 if r >= RADIUS + EDGE else 0.5 * (1 + math.cos(math.pi * (r - RADIUS) / EDGE))


@pytest.mark.parametrize(("make", "n_axes"), [(circular_window, 2), (sphere, 3)])
def test_the_profile_is_the_same_in_every_direction(make, n_axes):
    mask = make(BOX, RADIUS, EDGE)
    assert mask.shape == (BOX,) * n_axes
    c = BOX // 2
    for offset in [
        (0, 0, 0),
        (0, 0, 8),
        (0, 8, 0),
        (8, 0, 0),
        (0, 0, -10),
        (6, 6, 6),
        (5, -5, 5),
        (0, 11, 0),
        (0, 9, 9),
        (-16, 0, 0),
    ]:
        if n_axes == 2 and offset[0]:
            continue
        place = tuple(c + o for o in offset[3 - n_axes :])
        assert float(mask[place]) == pytest.approx(expected(math.dist(offset, (0, 0, 0))), abs=1e-6)


def test_a_sphere_is_no_cylinder():
    mask = sphere(BOX, RADIUS, 0.0)
    volume = float(mask.sum())
    assert volume == pytest.approx(4 / 3 * math.pi * RADIUS**3, rel=0.03)
    areas = mask.sum((1, 2))
    assert float(areas[BOX // 2 + 6]) == pytest.approx(math.pi * (RADIUS**2 - 36), rel=0.1)


def test_no_edge_is_a_step():
    mask = circular_window(BOX, 5.0, 0.0)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert float(mask[BOX // 2, BOX // 2 + 5]) == 1


def test_around_a_map():
    """A ball above a threshold, grown and softened: the profile of its distance."""
    axis = torch.arange(BOX) - BOX // 2
    r = torch.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2.0)
    density = 10 - r
    mask = around(density, 5.0, 2.0, 3.0)  # inside: r < 5, so the outermost voxels are at 4 along the axes
    c = BOX // 2
    assert bool((mask[r < 5] == 1).all())
    assert float(mask[c, c, c + 6]) == 1  # 2 away
    assert float(mask[c, c + 7, c]) == pytest.approx(0.75, abs=1e-6)  # a third of the edge
    assert float(mask[c - 9, c, c]) == pytest.approx(0.0, abs=1e-6)
    assert bool((mask[r > 10.5] == 0).all())
    assert torch.equal(mask, mask.transpose(0, 2))
