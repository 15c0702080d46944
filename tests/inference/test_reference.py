"""A reference is the map it was made from: its slices are those of the closed form, in whatever box they are kept."""

import pytest
import torch

from cryodrake.inference.reference import Reference, box_for_radius, in_box
from cryodrake.physics.fourier import volume_to_coeff
from cryodrake.physics.rotations import random_rotations


@pytest.mark.parametrize("radius", [5.0, 8.5, 14.0, 16.0])
def test_slices_are_those_of_the_map(simulate, radius):
    scene = simulate(1)
    reference = Reference.build(scene.density, radius)
    assert radius <= reference.grid.box / 2 <= 16
    kxy = scene.images.disc.kxy[: scene.images.disc.count(radius)]
    rotations = random_rotations(8, torch.Generator().manual_seed(1))
    exact = scene.transform(torch.nn.functional.pad(kxy, (0, 1)) @ rotations)
    found = torch.view_as_complex(reference.slices(rotations, kxy))
    assert float((found - exact).norm() / exact.norm()) < 0.03  # trilinear, two-fold, in a box that the map fills


def test_boxes_hold_their_radius():
    for radius in (3.0, 7.2, 8.0, 31.5):
        box = box_for_radius(radius, 64)
        assert box % 2 == 0
        assert radius < box / 2 <= radius + 2
    assert box_for_radius(32.0, 64) == 64
    assert box_for_radius(40.0, 64) == 64


def test_cropping_a_map_keeps_its_coefficients():
    volume = torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(0))
    small = volume_to_coeff(in_box(volume, 10))
    inner = slice(8 - 4, 8 + 5)
    torch.testing.assert_close(small[1:, 1:, 1:], volume_to_coeff(volume)[inner, inner, inner], atol=1e-4, rtol=0)
    assert in_box(volume, 16) is volume
