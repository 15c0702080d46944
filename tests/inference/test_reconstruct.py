"""Maps from known poses: the map comes back, with CTFs and shifts undone, and weights are what they should be."""

import pytest
import torch

from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.reconstruct import accumulate, shell_means, solve
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.fsc import fsc
from cryodrake.physics.slices import backproject, symmetrise

BOX = 32


@pytest.fixture(scope="module")
def scene(simulate):
    return simulate(1500, 2.0)


@pytest.fixture(scope="module")
def sums(scene):
    return accumulate(scene.images, scene.rows, scene.rotation, scene.shift_px, BallGrid(BOX, BOX / 2))


def test_the_map_comes_back(scene, sums):
    found = solve(sums, BallGrid(BOX, BOX / 2))
    assert float(fsc(found, scene.density)[1:15].min()) > 0.99
    # On its own scale (the mean, which images do not tell, aside).
    assert float(found.std() / scene.density.std()) == pytest.approx(1, abs=0.05)


def test_wrong_signs_are_noticed(scene):
    """The same images with shifts or rotations turned round do not make the map."""
    some = scene.rows[:400]
    grid = BallGrid(BOX, BOX / 2)
    right = solve(accumulate(scene.images, some, scene.rotation[some], scene.shift_px[some], grid), grid)
    turned = solve(accumulate(scene.images, some, scene.rotation[some].transpose(1, 2), scene.shift_px[some], grid), grid)
    moved = solve(accumulate(scene.images, some, scene.rotation[some], -scene.shift_px[some], grid), grid)
    assert float(fsc(right, scene.density)[1:13].min()) > 0.97
    for wrong in (turned, moved):
        assert float(fsc(wrong, scene.density)[4:13].mean()) < 0.6


def test_blocks_and_parts_add_up(scene, monkeypatch):
    grid = BallGrid(BOX, 9.0)
    some = scene.rows[:40]
    whole = accumulate(scene.images, some, scene.rotation[some], scene.shift_px[some], grid)
    parts = sum(accumulate(scene.images, r, scene.rotation[r], scene.shift_px[r], grid) for r in (some[:13], some[13:]))
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-3)
    monkeypatch.setattr("cryodrake.inference.reconstruct.POINTS_PER_BLOCK", 1)
    single = accumulate(scene.images, some, scene.rotation[some], scene.shift_px[some], grid)
    torch.testing.assert_close(single, whole, rtol=1e-3, atol=1e-3)


def test_sums_are_the_back_projected_images_and_ctfs(scene):
    grid = BallGrid(BOX, 6.0)
    disc = scene.images.disc
    kxy = disc.kxy[: disc.count(6.0)]
    some = scene.rows[:5]
    c, y = scene.images.transfer[some, : len(kxy)], scene.images.coeff[some, : len(kxy)]
    centred = torch.view_as_real(c * y * shift_phases(scene.shift_px[some], kxy, BOX))  # the noise's variance is 1
    expected = symmetrise(backproject(centred, c**2, grid, scene.rotation[some], kxy), grid)
    torch.testing.assert_close(accumulate(scene.images, some, scene.rotation[some], scene.shift_px[some], grid), expected)


def test_unseen_directions_are_empty_and_finite():
    grid = BallGrid(16, 6.0)
    assert bool((solve(torch.zeros(grid.n_voxels, 3), grid) == 0).all())


def test_shell_means_of_voxels():
    grid = BallGrid(16, 4.0)
    shell = grid.shells()
    length = grid.lengths()
    means = shell_means(length, shell, 12)
    assert shell.tolist() == [round(x) for x in length.tolist()]
    for s in range(6):
        assert float(means[s]) == pytest.approx(float(length[shell == s].mean()), rel=1e-4)
    assert float(means[11]) == 0
