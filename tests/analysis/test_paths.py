"""Paths, clusters and components of maps on clouds whose shape is known."""

import numpy as np
import pytest
import torch

from cryodrake.analysis import paths
from cryodrake.analysis.paths import NeighbourGraph, straight_path
from cryodrake.analysis.volume_space import map_components
from cryodrake.inference.latent_clusters import k_means

RNG = np.random.default_rng(2)


def horseshoe(n=3000):
    """Three quarters of a circle of radius 5, a little thick; row 0 and row 1 are its ends."""
    angle = np.concatenate([[0, 1.5 * np.pi], RNG.uniform(0, 1.5 * np.pi, n - 2)])
    return 5 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.05 * RNG.normal(size=(n, 2)), angle


def test_the_graphs_path_follows_the_cloud_where_the_straight_one_does_not():
    latents, angle = horseshoe()
    ends = np.array([0, 1])
    rows = NeighbourGraph(latents, 10, ends).path(ends)
    assert (rows[0], rows[-1]) == (0, 1)
    assert (np.diff(angle[rows]) > -0.05).all()
    length = np.linalg.norm(np.diff(latents[rows], axis=0), axis=1)
    assert length.sum() == pytest.approx(5 * 1.5 * np.pi, rel=0.03)
    assert length.max() < 0.4
    straight = straight_path(latents[ends], 7)
    assert len(straight) == 7
    assert np.linalg.norm(straight[3] - (latents[0] + latents[1]) / 2) < 1e-12
    assert np.linalg.norm(straight[3]) < 4  # off the horseshoe


def test_a_path_goes_through_its_anchors_in_order():
    latents, _ = horseshoe(500)
    anchors = np.array([1, 40, 0, 77])
    rows = NeighbourGraph(latents, 8, anchors).path(anchors).tolist()
    places = [rows.index(1), rows.index(40), rows.index(0), len(rows) - 1]
    assert places == sorted(places)
    assert rows[-1] == 77
    assert straight_path(latents[anchors], 4)[[0, 3, 6, 9]] == pytest.approx(latents[anchors])


def test_the_farthest_pair_are_the_ends_of_the_line_and_lie_in_the_main_part():
    line = np.stack([np.linspace(0, 10, 200), np.zeros(200)], axis=1)
    latents = np.concatenate([line, RNG.normal(size=(30, 2)) * 0.1 + [5, 50]])
    rows = np.array([3, 60, 198, 120, 210])
    graph = NeighbourGraph(latents, 5, rows)
    assert graph.farthest_pair(rows).tolist() == [3, 198]
    assert not graph.are_connected(rows)
    assert graph.are_connected(rows[:4])
    assert graph.farthest_pair(np.array([3, 210])) is None
    with pytest.raises(ValueError, match="not connected"):
        graph.path(np.array([3, 210]))


def test_equal_latents_are_neighbours():
    latents = np.repeat(np.arange(30.0), 3)[:, None]
    ends = np.array([0, 89])
    assert NeighbourGraph(latents, 6, ends).path(ends)[[0, -1]].tolist() == [0, 89]


def test_a_large_set_is_thinned_but_keeps_the_anchors(monkeypatch):
    monkeypatch.setattr(paths, "MOST_NODES", 300)
    latents, angle = horseshoe()
    ends = np.array([0, 1])
    graph = NeighbourGraph(latents, 10, ends)
    assert len(graph.rows) <= 302
    assert (np.diff(angle[graph.path(ends)]) > -0.05).all()


def test_clusters_are_ordered_and_their_centres_are_particles_of_them():
    true = np.array([[0.0, 0], [4, 0], [8, 1], [12, 0]])
    state = RNG.integers(0, 4, 400)
    latents = true[state] + 0.2 * RNG.normal(size=(400, 2))
    found = k_means(latents, 4, seed=0)
    assert (found.labels == state).all()  # numbered along the row of clusters
    assert found.labels[found.centre_rows].tolist() == [0, 1, 2, 3]
    mean = latents[state == 2].mean(axis=0)
    distance = np.linalg.norm(latents - mean, axis=1)
    assert found.centre_rows[2] == distance.argmin()
    assert len(k_means(np.repeat([[1.0], [2.0]], 5, axis=0), 20, 0).centre_rows) == 2


def test_components_of_maps_are_those_of_numpys_svd():
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(6**3, 2, generator=generator))[0].T.reshape(2, 6, 6, 6)
    scores = torch.randn(9, 2, generator=generator) * torch.tensor([5.0, 1.0])
    maps = torch.einsum("mc,cijk->mijk", scores, basis) + 3
    found = map_components(maps, 5)
    assert found.axes.shape == (2, 6, 6, 6)  # what is only rounding is left out
    _, singular, axes = np.linalg.svd((maps - maps.mean(0)).flatten(1).numpy(), full_matrices=False)
    assert found.share.numpy() == pytest.approx(singular[:2] ** 2 / (singular[:2] ** 2).sum(), rel=1e-4)
    assert np.abs((found.axes.flatten(1).numpy() * axes[:2]).sum(1)) == pytest.approx([1, 1], abs=1e-4)
    again = found.mean + torch.einsum("mc,cijk->mijk", found.scores, found.axes)
    assert torch.allclose(again, maps, atol=1e-4)
    assert len(map_components(torch.ones(4, 6, 6, 6), 5).share) == 0
