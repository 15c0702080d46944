"""Drawn orientations have the distributions that their names promise."""

import numpy as np
import torch
from scipy import stats

from cryodrake.data.simulation_views import preferred_rotations, uniform_rotations, uniform_shifts_px

# Mean over SO(3) of the rotation angle is π/2 + 2/π: its density is (1 - cos θ)/π on [0, π].
MEAN_ANGLE = np.pi / 2 + 2 / np.pi


def test_uniform_rotations_are_uniform():
    r = uniform_rotations(4000, seed=0).double().numpy()
    angle = np.arccos(np.clip((np.trace(r, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert abs(angle.mean() - MEAN_ANGLE) < 0.04
    assert stats.kstest(r[:, 2, 2], stats.uniform(-1, 2).cdf).pvalue > 1e-3  # views: cos tilt is uniform
    in_plane = np.arctan2(r[:, 1, 2], -r[:, 0, 2])
    assert stats.kstest(in_plane, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3


def test_preferred_views_cluster_as_told():
    n, spread_deg = 6000, 8.0
    r = preferred_rotations(n, seed=3, n_views=1, spread_deg=spread_deg, share=0.8).double()
    assert torch.allclose(r @ r.transpose(1, 2), torch.eye(3, dtype=torch.float64).expand(n, 3, 3), atol=1e-5)
    views = r[:, 2].numpy()
    centre = np.median(views, axis=0)
    centre /= np.linalg.norm(centre)
    angle = np.rad2deg(np.arccos(np.clip(views @ centre, -1, 1)))
    # Near its centre a von Mises-Fisher cluster is a two-dimensional Gaussian: angles are Rayleigh, 98.9 % within 3 σ.
    inside = angle < 3 * spread_deg
    uniform_inside = 0.2 * (1 - np.cos(np.deg2rad(3 * spread_deg))) / 2
    assert abs(inside.mean() - (0.8 * 0.989 + uniform_inside)) < 0.02
    assert abs(np.median(angle[inside]) - spread_deg * np.sqrt(2 * np.log(2))) < 0.5
    in_plane = np.arctan2(r[:, 1, 2].numpy(), -r[:, 0, 2].numpy())
    assert stats.kstest(in_plane, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3


def test_without_a_share_in_clusters_views_are_uniform():
    views = preferred_rotations(4000, seed=1, n_views=3, spread_deg=10.0, share=0.0)[:, 2].numpy()
    for axis in range(3):
        assert stats.kstest(views[:, axis], stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_shifts_fill_their_square():
    shifts = uniform_shifts_px(3000, seed=0, extent_px=5.0)
    assert stats.kstest(shifts.flatten(), stats.uniform(-5, 10).cdf).pvalue > 1e-3
