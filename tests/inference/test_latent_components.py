"""Representative states against data whose clusters and axes are known."""

import numpy as np
import pytest

from cryodrake.inference.latent_clusters import Clusters, k_means
from cryodrake.inference.latent_components import along_component, principal_components


@pytest.fixture
def clusters():
    """Three tight clusters on a line, in no order: latents (n 2) and each row's place on the line."""
    rng = np.random.default_rng(0)
    place = rng.permutation(np.repeat([-3.0, 0.0, 4.0], 40))
    latents = place[:, None] * [0.6, 0.8] + 0.05 * rng.standard_normal((120, 2))
    return latents.astype(np.float32), place


def test_kmeans_takes_a_particle_of_each_cluster_in_order(clusters):
    latents, place = clusters
    rows = k_means(latents, 3, seed=0).distinct_rows
    assert place[rows].tolist() == [-3.0, 0.0, 4.0]
    for row in rows:  # the particle nearest to its cluster's mean
        members = latents[place == place[row]]
        distance = np.linalg.norm(members - members.mean(axis=0), axis=1)
        assert np.linalg.norm(latents[row] - members.mean(axis=0)) == pytest.approx(distance.min(), abs=1e-6)


def test_kmeans_of_latents_that_coincide_gives_what_there_is():
    found = k_means(np.ones((5, 1), np.float32), 3, seed=0)
    assert len(found.centre_rows) == 1
    assert found.labels.tolist() == [0] * 5
    assert Clusters(found.labels, np.array([7, 2, 7, 3, 2])).distinct_rows.tolist() == [7, 2, 3]


def test_components_are_the_axes_of_the_cloud():
    rng = np.random.default_rng(1)
    axes = np.array([[0.8, 0.6], [-0.6, 0.8]])
    latents = ((rng.standard_normal((20000, 2)) * [3.0, 1.0]) @ axes + [5.0, -2.0]).astype(np.float32)
    found = principal_components(latents).axes
    assert np.abs(found @ axes.T) == pytest.approx(np.eye(2), abs=0.02)
    assert (found[np.arange(2), np.abs(found).argmax(axis=1)] > 0).all()
    line = along_component(latents, 1, 5)
    # A normal distribution's 5th and 95th percentiles are 1.645 standard deviations from its mean.
    assert np.linalg.norm(line[-1] - line[0]) == pytest.approx(2 * 1.645, rel=0.05)
    assert line[2] == pytest.approx([5.0, -2.0], abs=0.05)
    assert np.diff(line, axis=0) == pytest.approx(np.diff(line, axis=0)[0] * np.ones((4, 1)), abs=1e-3)


def test_one_coordinate_is_its_own_component():
    line = along_component(np.linspace(0, 100, 1001, dtype=np.float32)[:, None], 0, 3)
    assert line[:, 0].tolist() == pytest.approx([5, 50, 95])
