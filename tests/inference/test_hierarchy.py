"""Subdivision: cells are cut without gap or overlap, children are scored as the model says, and the truth is found."""

import itertools

import pytest
import torch

from cryodrake.inference.exhaustive import Candidates, search
from cryodrake.inference.hierarchy import rotation_offsets, shift_offsets, subdivide
from cryodrake.inference.likelihood import ImageRows, log_likelihoods_slow, shift_phases
from cryodrake.inference.local import refine
from cryodrake.inference.reference import Reference
from cryodrake.physics.grids import base_rotations, shift_grid
from cryodrake.physics.rotations import axis_angle_to_matrix, geodesic_deg, matrix_to_axis_angle, random_rotations


def test_offsets_are_the_centres_of_the_eighths_and_quarters():
    vectors = torch.rad2deg(matrix_to_axis_angle(rotation_offsets(16.0)))
    assert {tuple(v) for v in vectors.round().int().tolist()} == set(itertools.product((-4, 4), repeat=3))
    assert {tuple(s) for s in shift_offsets(2.0).tolist()} == set(itertools.product((-0.5, 0.5), repeat=2))


def test_levels_tile_a_cell():
    """After two levels of quarters the 64 centres are a regular lattice that fills the parent's cell."""
    first = torch.rad2deg(matrix_to_axis_angle(rotation_offsets(16.0)))
    second = torch.rad2deg(matrix_to_axis_angle(rotation_offsets(8.0)))
    centres = (first[:, None] + second).flatten(0, 1)
    assert {tuple(c) for c in centres.round().int().tolist()} == set(itertools.product((-6, -2, 2, 6), repeat=3))


def candidates_of(rotation, shift_px):
    n, c = rotation.shape[:2]
    return Candidates(torch.zeros(n, c), rotation, shift_px)


def test_children_are_scored_as_the_model_says(simulate):
    """All children of two candidates, against the slow twin."""
    scene = simulate(3, 2.0, 4.0)
    g = torch.Generator().manual_seed(0)
    rotation = torch.stack([scene.rotation, random_rotations(3, g)], 1)
    shift_px = torch.stack([scene.shift_px, torch.randn(3, 2, generator=g)], 1)
    reference = Reference.build(scene.density, 8.0)
    found = subdivide(scene.images, scene.rows, reference, candidates_of(rotation, shift_px), 12.0, 1.0, 16)
    disc = scene.images.disc
    kxy = disc.kxy[: disc.count(8.0)]
    for i in range(3):
        scores = []
        for c in range(2):
            matched, weight = scene.images.matched(torch.tensor([i]), len(kxy))
            shifts = shift_px[i, c] + shift_offsets(1.0)
            rows = ImageRows.build(matched, weight, shift_phases(shifts, kxy, disc.box)[None], torch.zeros(1, 4))
            slices = reference.slices(rotation_offsets(12.0) @ rotation[i, c], kxy)
            scores.append(log_likelihoods_slow(rows, slices, torch.zeros(8))[0])  # (4 shifts, 8 rotations)
        turned = torch.cat([rotation_offsets(12.0) @ rotation[i, c] for c in range(2)])
        best, at = torch.cat(scores, 1).max(0)
        order = best.argsort(descending=True)
        torch.testing.assert_close(found.score[i], best[order], rtol=1e-4, atol=1e-2)
        moved = torch.stack([shift_px[i, q // 8] + shift_offsets(1.0)[at[q]] for q in range(16)])
        torch.testing.assert_close(found.rotation[i], turned[order])
        torch.testing.assert_close(found.shift_px[i], moved[order])


def test_blocks_change_nothing(simulate, monkeypatch):
    scene = simulate(5, 2.0, 4.0)
    reference = Reference.build(scene.density, 6.0)
    start = candidates_of(scene.rotation[:, None], scene.shift_px[:, None])
    whole = subdivide(scene.images, scene.rows, reference, start, 10.0, 1.0, 4)
    monkeypatch.setattr("cryodrake.inference.hierarchy.POINTS_PER_BLOCK", 1)
    single = subdivide(scene.images, scene.rows, reference, start, 10.0, 1.0, 4)
    torch.testing.assert_close(single.score, whole.score, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(single.rotation, whole.rotation)


def test_keep_is_a_limit(simulate):
    scene = simulate(2)
    start = candidates_of(scene.rotation[:, None], scene.shift_px[:, None])
    reference = Reference.build(scene.density, 6.0)
    assert subdivide(scene.images, scene.rows, reference, start, 10.0, 1.0, 3).score.shape == (2, 3)
    assert subdivide(scene.images, scene.rows, reference, start, 10.0, 1.0, 100).score.shape == (2, 8)


@pytest.mark.parametrize("seed", [0, 1])
def test_from_a_whole_grid_down_to_a_degree_and_a_tenth_of_a_pixel(simulate, seed):
    scene = simulate(24, 3.0, 0.0, seed)
    found = search(
        scene.images,
        scene.rows,
        Reference.build(scene.density, 8.0),
        base_rotations(2),
        torch.zeros(24, 2),
        shift_grid(4.0, 1.5),
        keep=8,
    )
    angle, step = 15.0, 1.5
    for radius in (9.0, 10.0, 12.0, 14.0):
        found = subdivide(scene.images, scene.rows, Reference.build(scene.density, radius), found, angle, step, 8)
        angle, step = angle / 2, step / 2
    assert angle < 1
    assert step < 0.1
    error, off = geodesic_deg(found.rotation[:, 0], scene.rotation), (found.shift_px[:, 0] - scene.shift_px).norm(dim=1)
    # Cells are cut for good, so where a coarse level preferred the cell beside the true one the rest stays outside.
    assert float(error.median()) < 0.8
    assert float((error < 1.0).float().mean()) > 0.7
    assert float(error.max()) < 5
    assert float(off.median()) < 0.08
    assert float(off.max()) < 0.3
    # Polishing brings in those as well.
    polished = refine(scene.images, scene.rows, Reference.build(scene.density, 14.0), found.rotation[:, 0], found.shift_px[:, 0])
    assert float(geodesic_deg(polished.rotation, scene.rotation).max()) < 0.3
    assert float((polished.shift_px - scene.shift_px).norm(dim=1).max()) < 0.03


def test_rotations_turn_in_the_frame_of_the_image(simulate):
    """A turn about the image's z axis is in-plane: the slice turns, its plane stays."""
    scene = simulate(1)
    in_plane = axis_angle_to_matrix(torch.tensor([0.0, 0.0, 0.3]))
    turned = in_plane @ scene.rotation[0]
    torch.testing.assert_close(turned[2], scene.rotation[0, 2])
