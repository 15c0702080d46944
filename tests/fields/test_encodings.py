"""The features' statistics against the closed form for Gaussian positions; cryoDRGN's numbers."""

import math

import torch

from cryodrake.fields.encodings import GaussianFourierFeatures, cryodrgn_sigma_px
from cryodrake.fields.mlp import MLPField

BOX = 64


def test_feature_kernel_is_the_gaussian_window():
    # Mean over x ~ N(0, σ²) of cos(2π (k-k')·x/d) is exp(-2π² σ² |k-k'|²/d²): the support prior, seen in Fourier space.
    sigma = 6.0
    features = GaussianFourierFeatures(BOX, 20000, sigma, seed=3)
    points = torch.tensor([[5.0, 2.0, -3.0], [6.0, 2.0, -3.0], [5.0, 4.0, -1.0], [20.0, -7.0, 9.0]])
    values = features(points)
    kernel = values @ values.T / 20000
    distance = torch.cdist(points, points)
    assert torch.allclose(kernel, torch.exp(-2 * (math.pi * sigma * distance / BOX) ** 2), atol=0.03)
    assert torch.allclose((values**2).sum(1), torch.full((4,), 20000.0), rtol=1e-4)


def test_positions_have_the_asked_spread_and_follow_the_seed():
    a, b, c = (GaussianFourierFeatures(BOX, 5000, 7.5, seed=s).positions for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert abs(float(a.std()) / 7.5 - 1) < 0.03
    assert float(a.mean(0).abs().max()) < 0.5


def test_cryodrgn_preset_has_the_published_numbers():
    field = MLPField.cryodrgn2(128, 400.0)
    assert field.encoding.positions.shape == (192, 3)
    assert field.network[0].weight.shape == (256, 384)
    assert len(field.network) == 2 + 3
    # Its phase at the edge of the box (k = d/2, half a unit) is 0.5·0.5·d/2 rad of spread: 16 for 128.
    phase = field.encoding.positions * 2 * math.pi / 128 * 64
    assert abs(float(phase.std()) / 16 - 1) < 0.1
    assert math.isclose(cryodrgn_sigma_px(128), 128 / (8 * math.pi))
