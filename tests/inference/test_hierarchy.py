"""Rotations of each image's own are scored as the model says, and the best of them kept."""

import pytest
import torch

from cryodrake.inference.hierarchy import score_children
from cryodrake.inference.likelihood import ImageRows, log_likelihoods_slow, shift_phases
from cryodrake.inference.reference import Reference
from cryodrake.physics.grids import square_shifts
from cryodrake.physics.rotations import axis_angle_to_matrix, random_rotations

M = 5  # children of a candidate
MOVES = square_shifts(1.0, 3)


@pytest.fixture
def family(simulate):
    """Three images, two candidates of each, the true pose and any other, and children about them."""
    scene = simulate(3, 2.0, 4.0)
    g = torch.Generator().manual_seed(0)
    candidates = torch.stack([scene.rotation, random_rotations(3, g)], 1)
    children = axis_angle_to_matrix(0.1 * torch.randn(3, 2, M, 3, generator=g)) @ candidates[:, :, None]
    return scene, children, torch.stack([scene.shift_px, torch.randn(3, 2, generator=g)], 1)


def test_children_are_scored_as_the_model_says(family):
    """All of them, against the slow twin."""
    scene, children, centre_px = family
    reference = Reference.build(scene.density, 8.0)
    found = score_children(scene.images, scene.rows, reference, children, centre_px, MOVES, 2 * M)
    disc = scene.images.disc
    kxy = disc.kxy[: disc.count(8.0)]
    for i in range(3):
        scores = []
        for c in range(2):
            matched, weight = scene.images.matched(torch.tensor([i]), len(kxy))
            phases = shift_phases(centre_px[i, c] + MOVES, kxy, disc.box)
            rows = ImageRows.build(matched, weight, phases[None], torch.zeros(1, len(MOVES)))
            scores.append(log_likelihoods_slow(rows, reference.slices(children[i, c], kxy), torch.zeros(M))[0])
        best, at = torch.cat(scores, 1).max(0)
        order = best.argsort(descending=True)
        torch.testing.assert_close(found.score[i], best[order], rtol=1e-4, atol=1e-2)
        moved = torch.stack([centre_px[i, q // M] + MOVES[at[q]] for q in range(2 * M)])
        torch.testing.assert_close(found.rotation[i], children[i].flatten(0, 1)[order])
        torch.testing.assert_close(found.shift_px[i], moved[order])


def test_blocks_change_nothing(family, monkeypatch):
    scene, *poses = family
    reference = Reference.build(scene.density, 6.0)
    whole = score_children(scene.images, scene.rows, reference, *poses, MOVES, 4)
    monkeypatch.setattr("cryodrake.inference.hierarchy.POINTS_PER_BLOCK", 1)
    single = score_children(scene.images, scene.rows, reference, *poses, MOVES, 4)
    torch.testing.assert_close(single.score, whole.score, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(single.rotation, whole.rotation)


def test_keep_is_a_limit(family):
    scene, *poses = family
    reference = Reference.build(scene.density, 6.0)
    assert score_children(scene.images, scene.rows, reference, *poses, MOVES, 3).score.shape == (3, 3)
    assert score_children(scene.images, scene.rows, reference, *poses, MOVES, 100).score.shape == (3, 2 * M)
