"""Distributions of views whose sampling is known in closed form."""

import numpy as np
import pytest
import torch

from cryodrake.analysis.viewing import SIDE_VIEWS_SCF, coverage, pixel_directions, view_density
from cryodrake.physics.rotations import euler_deg_to_matrix


def views(directions, seed=0):
    """Rotations of these directions of view with random in-plane angles."""
    x, y, z = directions.T
    psi = np.random.default_rng(seed).uniform(0, 360, len(x))
    angles = np.stack([np.rad2deg(np.arctan2(y, x)), np.rad2deg(np.arccos(np.clip(z, -1, 1))), psi], axis=1)
    return euler_deg_to_matrix(torch.from_numpy(angles)).numpy()


def even(n, seed=1):
    d = np.random.default_rng(seed).normal(size=(n, 3))
    return d / np.linalg.norm(d, axis=1, keepdims=True)


def on_a_circle(n):
    angle = 2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)


def test_even_views_have_scf_1_and_no_warning():
    found = coverage(views(even(40_000)))
    assert found.scf == pytest.approx(1, abs=0.01)
    assert np.abs(found.sampling - 1).max() < 0.1
    assert found.crowded_share == pytest.approx(0.1, abs=0.03)
    assert found.verdict == "even"


def test_side_views_sample_as_one_over_the_sine_and_have_8_over_pi_squared():
    found = coverage(views(on_a_circle(3600)))
    sine = np.hypot(*found.directions[:, :2].T)
    away = sine > 0.3  # at the axis S has a pole, which the planes' thickness rounds
    assert found.sampling[away] == pytest.approx(2 / np.pi / sine[away], rel=0.05)
    assert found.scf == pytest.approx(SIDE_VIEWS_SCF, abs=0.02)
    assert found.hardly_measured == 0
    assert found.verdict == "uneven"


def test_the_same_views_about_any_axis_are_as_good():
    turn = euler_deg_to_matrix(torch.tensor([31.0, 77.0, 5.0])).numpy()
    assert coverage(views(on_a_circle(3600) @ turn.T)).scf == pytest.approx(coverage(views(on_a_circle(3600))).scf, abs=0.01)


def test_one_view_leaves_nearly_all_unmeasured():
    found = coverage(views(np.tile([0.0, 0.6, 0.8], (500, 1))))
    assert found.scf < 1e-3
    assert found.hardly_measured > 0.7
    assert found.verdict == "poor"
    assert "over-represented" in found.words


def test_half_of_the_views_from_one_side_halve_what_lies_along_it():
    n = 20_000
    found = coverage(views(np.concatenate([np.tile([0.0, 0.0, 1.0], (n, 1)), even(n)])))
    along = np.abs(found.directions[:, 2]) > 0.9
    assert found.sampling[along].mean() == pytest.approx(0.5, abs=0.02)
    assert 0.5 < found.scf < 0.81  # nearly all n lie off the crowded plane and have half of the images
    assert found.verdict == "poor"
    assert found.crowded_share == pytest.approx(0.55, abs=0.02)


def test_each_image_knows_how_crowded_its_view_is():
    n = 20_000
    rotations = views(np.concatenate([np.tile([0.0, 0.0, 1.0], (n, 1)), even(n)]))
    density = view_density(rotations, coverage(rotations))
    equator = np.abs(rotations[:, 2, 2]) < 0.7
    assert density[:n].min() > 20
    assert density[equator].mean() == pytest.approx(0.5, abs=0.02)


def test_few_images_are_not_judged():
    assert "too few" in coverage(views(even(20))).words


def test_directions_are_evenly_spread():
    d = pixel_directions(8)
    assert d.T @ d / len(d) == pytest.approx(np.eye(3) / 3, abs=1e-3)
