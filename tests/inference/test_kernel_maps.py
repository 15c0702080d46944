"""Sums at a state: those of the nearest images, with a bandwidth in each shell that is right where the answer is known."""

import pytest
import torch

from cryodrake.inference.kernel_maps import LEAST, kernel_sums
from cryodrake.inference.neighbours import set_sizes
from cryodrake.inference.reconstruct import accumulate
from cryodrake.physics.ball_grid import BallGrid

BOX = 32
GRID = BallGrid(BOX, BOX / 2)
BANDWIDTHS = 6


@pytest.fixture(scope="module")
def scene(simulate):
    return simulate(600, 2.0, sigma=0.4)


def halves(n):
    return torch.arange(0, n, 2), torch.arange(1, n, 2)


def test_each_shell_holds_the_sums_of_its_number_of_nearest_images(scene):
    nearest = halves(600)
    found = kernel_sums(scene.images, scene.rotation, scene.shift_px, nearest, GRID, 13.0, BANDWIDTHS)
    shell = GRID.shells().clamp(max=BOX // 2)
    sizes = set_sizes(300, LEAST, BANDWIDTHS)
    assert set(found.n_images.tolist()) <= {2 * size for size in sizes}
    for n_images in found.n_images.unique().tolist():
        chosen = (found.n_images == n_images)[shell]
        for h in range(2):
            rows = nearest[h][: n_images // 2]
            alone = accumulate(scene.images, rows, scene.rotation[rows], scene.shift_px[rows], GRID)
            torch.testing.assert_close(found.sums[h][chosen], alone[chosen], rtol=1e-3, atol=1e-3 * float(alone.abs().max()))


def test_images_of_one_state_are_all_used(scene):
    """Where nothing moves, the widest set has the least error in every shell that has signal."""
    found = kernel_sums(scene.images, scene.rotation, scene.shift_px, halves(600), GRID, 13.0, BANDWIDTHS)
    assert float((found.n_images[2:14] == 600).float().mean()) > 0.8


def test_images_of_another_structure_are_kept_out(scene):
    """The farther half of the images is at wrong poses, as if of another particle: the sets stop before it."""
    rotation = scene.rotation.clone()
    rotation[300:] = rotation[300:].flip(0)
    found = kernel_sums(scene.images, rotation, scene.shift_px, halves(600), GRID, 13.0, 12)
    assert int(found.n_images[2:9].max()) <= 360  # the first set beyond 300 holds few of them
    assert int(found.n_images[2:9].min()) >= 210


def test_a_half_set_without_images_is_no_fault(scene):
    nothing = torch.zeros(0, dtype=torch.int64)
    found = kernel_sums(scene.images, scene.rotation, scene.shift_px, (torch.arange(60), nothing), GRID, 13.0, 3)
    assert bool(torch.isfinite(found.sums).all())
    assert float(found.sums[1].abs().max()) == 0
