"""Latents made from a coordinate and noise of known size: what can be known of the coordinate is then known too."""

import math

import numpy as np
import pytest
from scipy.special import i0e, i1e

from cryodrake.analysis.coordinates import circle_gap, circle_scores, circular_correlation, is_circle, line_scores, rank_correlation
from cryodrake.analysis.regression import nearest_neighbours, r_squared, some_rows
from cryodrake.inference.latent_components import principal_components

RNG = np.random.default_rng(1)


def test_a_noisy_line_has_the_r2_and_the_rank_correlation_of_two_gaussians():
    coordinate = RNG.normal(size=6000)
    sigma = 0.7
    latents = np.stack([coordinate + sigma * RNG.normal(size=6000), np.zeros(6000)], axis=1)
    found = line_scores(latents, coordinate)
    r2 = 1 / (1 + sigma**2)  # of the best regression there is, E[coordinate | latent]
    rank = 6 / math.pi * math.asin(math.sqrt(r2) / 2)  # Spearman's of a Gaussian pair (Pearson 1907)
    assert found["coordinate_r2"] == pytest.approx(r2, abs=0.02)
    assert found["pc_correlation"] == pytest.approx(rank, abs=0.015)
    assert found["coordinate_correlation"] == pytest.approx(rank, abs=0.02)


def test_latents_of_noise_tell_nothing():
    coordinate, latents = RNG.uniform(size=3000), RNG.normal(size=(3000, 4))
    found = line_scores(latents, coordinate)
    assert -0.03 < found["coordinate_r2"] < 0.01  # a mean of k noises costs 1/k
    assert found["pc_correlation"] < 0.06


def test_a_curve_folded_in_latent_space_is_read_by_neighbours_and_not_by_one_component():
    """A half circle and back: PC1 is not monotonic in the coordinate, but each place has its coordinate."""
    coordinate = RNG.uniform(-1, 1, 4000)
    latents = np.stack([2 * np.cos(np.pi * coordinate), np.sin(np.pi * coordinate)], axis=1)
    found = line_scores(latents + 0.02 * RNG.normal(size=latents.shape), coordinate)
    assert found["pc_correlation"] < 0.1
    assert found["coordinate_r2"] > 0.95


def test_a_noisy_circle_has_the_r2_of_its_posterior_mean():
    """z = u + noise: given z, u is von Mises with κ = |z|/σ², and the mean of u has length I1(κ)/I0(κ)."""
    state = RNG.integers(0, 36, 6000)
    angle_deg, sigma = 10.0 * state, 0.5
    u = np.stack([np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))], axis=1)
    latents = u + sigma * RNG.normal(size=u.shape)
    kappa = np.linalg.norm(latents, axis=1) / sigma**2
    found = circle_scores(latents, angle_deg, state)
    assert found["coordinate_r2"] == pytest.approx(np.mean((i1e(kappa) / i0e(kappa)) ** 2), abs=0.02)
    assert found["pc_correlation"] > 0.7
    assert found["circle_gap"] < 2
    mirrored = circle_scores(latents * [1, -1], angle_deg, state)  # the sense of an angle in latent space is arbitrary
    assert mirrored["pc_correlation"] == pytest.approx(found["pc_correlation"], abs=1e-6)


def test_an_open_arc_does_not_close():
    state = np.repeat(np.arange(20), 10)
    angle_deg = 18.0 * state
    assert circle_gap(angle_deg[:, None], angle_deg, state) == pytest.approx(19)
    round_it = np.stack([np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))], axis=1)
    assert circle_gap(round_it, angle_deg, state) == pytest.approx(1)


def test_circular_correlation_is_that_of_pairs():
    a, b = RNG.uniform(0, 7, 40), RNG.vonmises(0, 1, 40)
    pairs = [(np.sin(a[i] - a[j]), np.sin(b[i] - b[j])) for i in range(40) for j in range(i)]
    x, y = np.array(pairs).T
    assert circular_correlation(a, b) == pytest.approx((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()))
    assert circular_correlation(a, a + 2.5) == pytest.approx(1)
    assert circular_correlation(a, 4 - a) == pytest.approx(-1)
    a = RNG.uniform(0, 2 * np.pi, 20000)
    assert abs(circular_correlation(a, RNG.permutation(a))) < 0.01
    # Of a uniform angle with itself plus noise: (E cos of the noise)², here exp(-σ²).
    assert circular_correlation(a, a + 0.6 * RNG.normal(size=a.shape)) == pytest.approx(math.exp(-0.36), abs=0.01)


@pytest.mark.parametrize(
    ("coordinates", "expected"),
    [
        (np.arange(100) * 3.6, True),
        (np.arange(-180.0, 180, 15), True),
        (np.linspace(0, 360, 13), True),
        (np.linspace(-25, 25, 20), False),
        (np.linspace(0, 1, 50), False),
        (np.linspace(0, 270, 28), False),
        (np.array([0.0, 120, 240]), False),
    ],
)
def test_what_is_a_circle(coordinates, expected):
    assert is_circle(coordinates) is expected


def test_a_constant_has_no_rank_correlation():
    assert rank_correlation(np.zeros(5), np.arange(5.0)) == 0


def test_neighbours_are_of_other_folds_and_their_mean_is_the_prediction():
    x = np.arange(50.0)[:, None]
    predicted, k = nearest_neighbours(x, x**2)
    assert k == 5  # of a smooth curve without noise the fewest are best
    assert not np.isclose(predicted, x**2).all()  # the row itself is never among them
    assert r_squared(x**2, predicted) > 0.95
    assert r_squared(x, np.full_like(x, x.mean())) == pytest.approx(0)
    with pytest.raises(ValueError, match="too few"):
        nearest_neighbours(x[:9], x[:9])


def test_some_rows():
    assert some_rows(5, 9).tolist() == [0, 1, 2, 3, 4]
    rows = some_rows(1000, 100)
    assert len(set(rows.tolist())) == 100
    assert (np.diff(rows) > 0).all()


def test_components_are_the_axes_of_the_cloud():
    axes = np.linalg.qr(RNG.normal(size=(3, 3)))[0].T
    spread = np.array([3.0, 1.0, 0.2])
    latents = (RNG.normal(size=(20000, 3)) * spread) @ axes + 7
    found = principal_components(latents)
    assert np.abs((found.axes * axes).sum(axis=1)) == pytest.approx(np.ones(3), abs=1e-3)
    assert found.variance == pytest.approx(spread**2, rel=0.05)
    assert found.share.sum() == pytest.approx(1)
    assert found.scores @ found.axes + found.mean == pytest.approx(latents)
    assert (found.axes[np.arange(3), np.abs(found.axes).argmax(axis=1)] > 0).all()
