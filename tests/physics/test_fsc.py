"""FSC: against a slow sum over spheres, analytic cases, and the value that signal and noise of known power must give."""

import math

import pytest
import torch

from cryodrake.physics.fourier import coeff_to_volume, volume_to_coeff
from cryodrake.physics.fsc import area_under, crossing_shell, fsc, resolution_A, shell_index

BOX = 16


def noise(seed, box=BOX):
    return torch.randn(box, box, box, generator=torch.Generator().manual_seed(seed))


def test_shells_are_spheres():
    index = shell_index(BOX)
    c = BOX // 2
    for z, y, x in [(0, 0, 0), (3, 0, 0), (0, -3, 0), (2, 2, 2), (-8, 0, 0), (4, -4, 1), (-8, -8, -8)]:
        assert int(index[c + z, c + y, c + x]) == round(math.sqrt(x * x + y * y + z * z))


def test_the_definition():
    a, b = noise(0), noise(1) + 0.5 * noise(0)
    fa, fb = volume_to_coeff(a).to(torch.complex128), volume_to_coeff(b).to(torch.complex128)
    index, found = shell_index(BOX), fsc(a, b)
    assert found.shape == (BOX // 2 + 1,)
    for shell in range(BOX // 2 + 1):
        u, v = fa[index == shell], fb[index == shell]
        expected = (u * v.conj()).sum().real / (u.norm() * v.norm())
        assert float(found[shell]) == pytest.approx(float(expected), abs=1e-5)


def test_sphere_not_cylinder():
    """Maps that agree only along one axis agree in no shell but through that axis' share of the sphere."""
    a, b = volume_to_coeff(noise(0)), volume_to_coeff(noise(1))
    axis = torch.arange(BOX) - BOX // 2
    near_z = (torch.hypot(axis[:, None].float(), axis.float()) < 2).expand(BOX, -1, -1)
    same = torch.where(near_z, a, b)
    index, found = shell_index(BOX), fsc(coeff_to_volume(a), coeff_to_volume(same))
    for shell in (4, 6):
        share = float(near_z[index == shell].float().mean())
        assert share < 0.2
        assert float(found[shell]) == pytest.approx(share, abs=0.2)


def test_equal_opposite_and_scaled_maps():
    a = noise(0)
    ones = torch.ones(BOX // 2 + 1)
    torch.testing.assert_close(fsc(a, a), ones)
    torch.testing.assert_close(fsc(a, 3 * a), ones)
    torch.testing.assert_close(fsc(a, -a), -ones)
    assert bool((fsc(a, torch.zeros_like(a)) == 0).all())


def test_any_filter_of_one_map_leaves_the_fsc_alone():
    a, b = noise(0), noise(1) + noise(0)
    gain = torch.rand(BOX // 2 + 1, generator=torch.Generator().manual_seed(0)) + 0.1
    filtered = coeff_to_volume(volume_to_coeff(a) * gain[shell_index(BOX).clamp(max=BOX // 2)])
    torch.testing.assert_close(fsc(filtered, b), fsc(a, b), atol=1e-5, rtol=0)


def test_a_shift_of_the_map_costs_its_cosine():
    """A map against itself moved by s along x: the mean over the sphere of cos(2π k·s/d) is sinc(2 |k| s/d)."""
    box, s = 48, 2
    a = noise(0, box)
    found = fsc(a, torch.roll(a, s, dims=2))
    k = torch.arange(3.0, 20.0)
    torch.testing.assert_close(found[3:20], torch.sinc(2 * k * s / box), atol=0.06, rtol=0)


def test_signal_plus_noise_of_known_power():
    box = 32
    signal = noise(0, box)
    fall = torch.exp(-torch.arange(box // 2 + 1) / 5.0)
    signal = coeff_to_volume(volume_to_coeff(signal) * fall.sqrt()[shell_index(box).clamp(max=box // 2)])
    variance = 0.25
    halves = [signal + math.sqrt(variance) * noise(seed, box) for seed in (1, 2)]
    expected = fall / (fall + variance)
    torch.testing.assert_close(fsc(*halves)[5:], expected[5:], atol=0.06, rtol=0)


def test_a_mask_multiplies_both_maps():
    a, b, mask = noise(0), noise(1) + noise(0), (noise(2) > 0).float()
    torch.testing.assert_close(fsc(a, b, mask), fsc(a * mask, b * mask))


def test_where_a_curve_falls_below_a_threshold():
    assert crossing_shell(torch.tensor([1.0, 1.0, 0.8, 0.4, 0.0]), 0.5) == pytest.approx(2.75)
    assert crossing_shell(torch.tensor([1.0, 1.0, 0.5, 0.4, 0.0]), 0.5) == pytest.approx(2.0)
    assert crossing_shell(torch.tensor([1.0, 0.9, 0.9, 0.9]), 0.5) == 3.0  # never
    assert crossing_shell(torch.tensor([1.0, 0.9, 0.1, 0.9, 0.0]), 0.5) == pytest.approx(1.5)  # the first time counts
    assert crossing_shell(torch.tensor([0.0, 0.2, 0.9]), 0.5) == pytest.approx(0.625)  # shell 0, the mean, is not asked
    curve = torch.tensor([1.0, 1.0, 0.8, 0.4, 0.0])
    assert resolution_A(curve, 0.5, 110.0) == pytest.approx(40.0)
    assert resolution_A(torch.tensor([1.0, 0.0, 0.0]), 0.5, 110.0) == 110.0


def test_the_area_is_the_mean_over_the_shells_of_the_map():
    assert area_under(torch.tensor([0.0, 1.0, 0.5, 0.0])) == pytest.approx(0.5)
    assert area_under(fsc(noise(0), noise(0))) == pytest.approx(1.0)
