"""The exhaustive search finds what a loop over all candidates finds, however it is cut into chunks and blocks."""

import pytest
import torch

from cryodrake.inference import exhaustive
from cryodrake.inference.exhaustive import Candidates, images_per_block, search
from cryodrake.inference.likelihood import ImageRows, log_likelihoods_slow, shift_phases
from cryodrake.inference.reference import Reference
from cryodrake.physics.grids import base_rotations, shift_grid
from cryodrake.physics.rotations import axis_angle_to_matrix, geodesic_deg
from cryodrake.physics.turns import turned

RADIUS, KEEP = 7.0, 6


@pytest.fixture(autouse=True)
def float32(monkeypatch):
    """The same products on every machine."""
    monkeypatch.setattr(exhaustive, "product_dtype", lambda device: torch.float32)


@pytest.fixture(scope="module")
def problem(simulate):
    scene = simulate(9, 3.0, 2.0)
    around = torch.randn(9, 2, generator=torch.Generator().manual_seed(8)).round()
    return scene, Reference.build(scene.density, RADIUS), base_rotations(1), around, shift_grid(3.0, 1.5)


def found_by(problem, rows=None, **options):
    scene, reference, base, around, lattice = problem
    rows = scene.rows if rows is None else rows
    return search(scene.images, rows, reference, base, around[rows], lattice, KEEP, **options)


def brute_force(problem):
    """(image, shift, rotation) scores by the slow twin, flat priors included."""
    scene, reference, base, around, lattice = problem
    rotations = turned(base)
    disc = scene.images.disc
    kxy = disc.kxy[: disc.count(RADIUS)]
    shifts = around[:, None] + lattice
    matched, weight = scene.images.matched(scene.rows, len(kxy))
    rows = ImageRows.build(matched, weight, shift_phases(shifts, kxy, disc.box))
    prior = -torch.log(torch.tensor(float(len(rotations)))).expand(len(rotations))
    return log_likelihoods_slow(rows, reference.slices(rotations, kxy), prior), shifts


def test_it_is_brute_force(problem):
    found = found_by(problem)
    scores, shifts = brute_force(problem)
    rotations = turned(problem[2])
    for i in range(9):
        over_shifts, at = scores[i].max(0)
        value, best = over_shifts.topk(KEEP)
        torch.testing.assert_close(found.score[i], value, rtol=1e-4, atol=1e-2)
        torch.testing.assert_close(found.rotation[i], rotations[best])
        torch.testing.assert_close(found.shift_px[i], shifts[i, at[best]])


@pytest.mark.parametrize(("chunk", "block_bytes"), [(8192, 1), (100, 1 << 26), (100, 200_000), (575, 1), (4, 1 << 20)])
def test_chunks_and_blocks_change_nothing(problem, monkeypatch, chunk, block_bytes):
    whole = found_by(problem)
    monkeypatch.setattr(exhaustive, "ROTATIONS_PER_CHUNK", chunk)
    found = found_by(problem, block_bytes=block_bytes)
    torch.testing.assert_close(found.score, whole.score, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(found.rotation, whole.rotation)
    torch.testing.assert_close(found.shift_px, whole.shift_px)


def test_rows_are_answered_in_the_order_asked(problem):
    whole = found_by(problem)
    rows = torch.tensor([4, 0, 8, 4])
    some = found_by(problem, rows)
    torch.testing.assert_close(some.score, whole.score[rows], rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(some.rotation, whole.rotation[rows])


def test_the_nearest_candidates_are_found(simulate):
    """Without noise the best rotation of a 15° grid is one of those around the truth."""
    scene = simulate(20, 3.0)
    reference = Reference.build(scene.density, RADIUS)
    found = search(scene.images, scene.rows, reference, base_rotations(2), torch.zeros(20, 2), shift_grid(4.2, 1.0), KEEP)
    assert float(geodesic_deg(found.rotation[:, 0], scene.rotation).max()) < 20
    assert float((found.shift_px[:, 0] - scene.shift_px).norm(dim=1).max()) < 1.5
    assert bool((found.score[:, :-1] >= found.score[:, 1:]).all())


def test_memory_is_bounded(problem, monkeypatch):
    n_shifts = len(problem[4])
    seen = []
    original = exhaustive.score_blocks

    def spy(images, columns):
        seen.append(len(images.moved) * n_shifts * len(columns.log_prior) * 4)  # the product, in float32
        return original(images, columns)

    monkeypatch.setattr(exhaustive, "score_blocks", spy)
    limit = 2 * n_shifts * 576 * 4 + 11
    found_by(problem, block_bytes=limit)
    assert len(seen) == 5  # 9 images, two at a time
    assert max(seen) <= limit
    assert images_per_block(25, 4608, 1 << 26) * 25 * 4608 * 4 <= 1 << 26
    assert images_per_block(196, 36864, 1) == 1  # never none
    chunk = exhaustive.ROTATIONS_PER_CHUNK
    assert images_per_block(10, 10 * chunk, 1 << 28) == images_per_block(10, chunk, 1 << 28)


def test_the_best_candidates_come_first():
    angle = torch.tensor([0.0, 3.0, 60.0, 90.0])
    rotation = axis_angle_to_matrix(torch.deg2rad(angle)[:, None] * torch.tensor([0.0, 0.6, 0.8]))
    score = torch.tensor([30.0, 49.0, 50.0, 31.0])
    candidates = Candidates(
        torch.stack([score, score.flip(0)]),
        torch.stack([rotation, rotation.flip(0)]),
        angle[:, None].expand(2, -1, 2) * torch.tensor([[[1.0]], [[-1.0]]]),
    )
    found = candidates.best(3)
    torch.testing.assert_close(found.score, torch.tensor([[50.0, 49.0, 31.0]]).expand(2, -1))
    torch.testing.assert_close(found.rotation[0], rotation[[2, 1, 3]])
    torch.testing.assert_close(found.rotation[1], rotation[[2, 1, 3]])
    assert found.shift_px[0, :, 0].tolist() == [60.0, 3.0, 90.0]
    assert candidates.best(9).score.shape == (2, 4)
