"""Masks around density of known volume and mass."""

import numpy as np
import pytest
import torch

from cryodrake.analysis.map_mask import PROTEIN_A3_PER_DA, level_of_mass, low_passed, mask_of_map
from cryodrake.errors import InputError

BOX, PIXEL_A = 48, 2.0


def distance(centre_x_px=0.0):
    axis = torch.arange(BOX, dtype=torch.float32) - BOX // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.sqrt((x - centre_x_px) ** 2 + y**2 + z**2)


def ball(radius_px, centre_x_px=0.0):
    return torch.sigmoid((radius_px - distance(centre_x_px)) / 0.5)


def test_the_volume_of_a_ball_is_found_without_a_level():
    noise = 0.2 * torch.randn(BOX, BOX, BOX, generator=torch.Generator().manual_seed(0))
    found = mask_of_map(ball(12.0) + noise, PIXEL_A, lowpass_A=10, extend_px=3, edge_px=6)
    volume_A3 = 4 / 3 * np.pi * (12 * PIXEL_A) ** 3
    assert found.volume_A3 == pytest.approx(volume_A3, rel=0.05)
    assert found.mass_kDa == pytest.approx(volume_A3 / 1.212 / 1000, rel=0.05)


def test_the_partial_specific_volume_is_that_of_protein():
    """0.73 cm³ a gram; a dalton is 1.66054e-24 g and a cm³ 1e24 Å³."""
    assert abs(PROTEIN_A3_PER_DA - 0.73 * 1.66054) < 1e-3


def test_the_mask_is_one_inside_and_beyond_and_falls_over_its_edge():
    found = mask_of_map(ball(10.0), PIXEL_A, lowpass_A=6, extend_px=3, edge_px=6, level=0.5)
    radius = distance()
    assert found.mask[radius < 12.4].min() == 1
    assert found.mask[radius > 19.6].max() == 0
    assert found.mask[(radius > 15.5) & (radius < 16.5)].mean() == pytest.approx(0.5, abs=0.1)
    assert found.share == pytest.approx(float(found.mask.mean()))


def test_islands_are_left_out():
    found = mask_of_map(torch.maximum(ball(9.0, -8.0), ball(2.0, 18.0)), PIXEL_A, lowpass_A=5, extend_px=1, edge_px=2, level=0.5)
    assert found.mask[24, 24, 42] == 0
    assert found.mask[24, 24, 16] == 1


def test_a_mass_chooses_the_level():
    volume = low_passed(ball(12.0), PIXEL_A, 8)
    level = level_of_mass(volume, PIXEL_A, 30.0)
    assert float((volume > level).sum()) * PIXEL_A**3 == pytest.approx(30000 * 1.212, rel=1e-3)
    found = mask_of_map(ball(12.0), PIXEL_A, lowpass_A=8, extend_px=1, edge_px=2, mass_kDa=30.0)
    assert found.mass_kDa == pytest.approx(30, rel=1e-3)


def test_the_low_pass_filter_is_half_way_down_at_its_resolution():
    """A wave of 8 cycles a box, 12 Å long, comes through whole, by half or not at all."""
    axis = torch.arange(BOX, dtype=torch.float32)
    wave = torch.cos(2 * torch.pi * 8 * axis / BOX).expand(BOX, BOX, BOX)
    for lowpass_A, expected in ((6.0, 1.0), (12.0, 0.5), (24.0, 0.0)):
        assert low_passed(wave, PIXEL_A, lowpass_A) == pytest.approx(expected * wave, abs=1e-4)


def test_a_level_above_everything_is_refused():
    with pytest.raises(InputError, match="nothing in the low-passed map is above 2"):
        mask_of_map(ball(10.0), PIXEL_A, lowpass_A=6, extend_px=3, edge_px=6, level=2.0)
    with pytest.raises(InputError, match="everything"):
        mask_of_map(ball(10.0), PIXEL_A, lowpass_A=6, extend_px=3, edge_px=6, level=-1.0)
    with pytest.raises(InputError, match="do not fit into the box"):
        mask_of_map(ball(10.0), PIXEL_A, lowpass_A=6, extend_px=3, edge_px=6, mass_kDa=1000)
