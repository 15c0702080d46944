"""Clusters, neighbourhoods and classes on latents whose states are known."""

import numpy as np
import pytest

from cryodrake.analysis.agreement import cluster_scores, neighbourhood_share, share_in_right_class

RNG = np.random.default_rng(3)
STATE = np.repeat(np.arange(4), [100, 200, 300, 400])


def test_separate_states_are_found_whole():
    latents = 20.0 * RNG.normal(size=(4, 3))[STATE] + 0.1 * RNG.normal(size=(1000, 3))
    assert neighbourhood_share(latents, STATE)[0] == 1
    assert cluster_scores(latents, STATE) == pytest.approx({"kmeans_ari": 1, "kmeans_ami": 1, "gmm_ari": 1, "gmm_ami": 1})


def test_latents_without_states_are_at_chance():
    latents = RNG.normal(size=(1000, 3))
    share, chance = neighbourhood_share(latents, STATE)
    assert chance == pytest.approx((100 * 99 + 200 * 199 + 300 * 299 + 400 * 399) / (1000 * 999))
    assert share == pytest.approx(chance, abs=0.02)
    assert all(abs(score) < 0.03 for score in cluster_scores(latents, STATE).values())


def test_a_mixture_sees_states_of_different_widths_where_k_means_does_not():
    """A wide state around a narrow one: k-means cuts the wide one in two."""
    state = np.repeat([0, 1], 500)
    latents = np.where(state[:, None] == 0, 3.0, 0.1) * RNG.normal(size=(1000, 2)) + 2.0 * state[:, None]
    found = cluster_scores(latents * 1e-6, state)  # whatever the unit of the latents
    assert found["kmeans_ari"] < 0.5
    assert found["gmm_ari"] > 0.95


def test_equal_latents_are_no_fault():
    assert cluster_scores(np.zeros((1000, 2)), STATE)["kmeans_ari"] == pytest.approx(0, abs=1e-9)


def test_classes_are_counted_after_the_best_assignment():
    classes = (STATE + 1) % 4
    assert share_in_right_class(classes, STATE) == 1
    # All in one class: only the largest state's images are right. Two classes for one state: one of them is.
    assert share_in_right_class(np.zeros(1000, int), STATE) == pytest.approx(0.4)
    split = np.where((STATE == 3) & (np.arange(1000) % 2 == 0), 9, STATE)
    assert share_in_right_class(split, STATE) == pytest.approx(0.8)
