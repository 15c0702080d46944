"""States with poses integrated out: the further columns are what small turns and shifts do to an image."""

import pytest
import torch

from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.states import component_columns, infer_states
from cryodrake.inference.states_about_poses import infer_about_poses, pose_columns
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.rotations import axis_angle_to_matrix
from cryodrake.physics.slices import raster, slice_ball

RADIUS = 8.0


@pytest.fixture(scope="module")
def scene(simulate):
    """40 images of the mean and of one component, which is another density."""
    scene = simulate(40, sigma=0.05)
    grid = BallGrid(scene.density.shape[-1], RADIUS)
    ball = raster(torch.stack([scene.density, 0.3 * scene.density.flip(0)]), grid)
    return scene, grid, ball, scene.images.disc.kxy[: scene.images.disc.count(RADIUS)]


def columns_at(scene, rotation):
    _, grid, ball, kxy = scene
    return component_columns(slice_ball(ball, grid, rotation, kxy))


def relative(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("axis", range(3))
def test_a_turn_is_its_column(scene, axis):
    particles, grid, ball, kxy = scene
    a = torch.tensor([1.0, 0.7]).expand(40, 2)
    columns = columns_at(scene, particles.rotation)
    found = pose_columns(ball, grid, particles.rotation, kxy, a, columns)[:, axis]
    turn = axis_angle_to_matrix(torch.eye(3)[axis] * 0.3 / RADIUS)
    after = columns_at(scene, turn @ particles.rotation)
    change = torch.einsum("br,brk->bk", a, after - columns)
    assert relative(0.3 * found, change) < 0.25  # the second order of three tenths of a standard deviation


@pytest.mark.parametrize("axis", range(2))
def test_a_shift_is_its_column(scene, axis):
    particles, grid, ball, kxy = scene
    a = torch.tensor([1.0, 0.7]).expand(40, 2)
    columns = columns_at(scene, particles.rotation)
    found = pose_columns(ball, grid, particles.rotation, kxy, a, columns)[:, 3 + axis]
    shift_px = torch.eye(2)[axis : axis + 1] * 0.01 * grid.box / (2 * torch.pi * RADIUS)
    at_pose = torch.view_as_complex(torch.einsum("br,brk->bk", a, columns).unflatten(1, (-1, 2)).contiguous())
    change = torch.view_as_real(at_pose * shift_phases(-shift_px, kxy, grid.box) - at_pose).flatten(1)
    assert relative(0.01 * found, change) < 0.02


def test_images_are_inferred_block_by_block_with_their_own_poses(scene, monkeypatch):
    particles, grid, ball, kxy = scene
    poses = particles.rows, particles.rotation, particles.shift_px
    at_once = infer_about_poses(particles.images, *poses, ball, grid)
    monkeypatch.setattr("cryodrake.inference.states_about_poses.POINTS_PER_BLOCK", 7 * len(kxy))
    in_blocks = infer_about_poses(particles.images, *poses, ball, grid)
    torch.testing.assert_close(in_blocks.mean, at_once.mean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(in_blocks.log_marginal, at_once.log_marginal, atol=1e-2, rtol=1e-4)


def test_poses_that_are_not_known_leave_less_known_of_the_state(scene):
    particles, grid, ball, kxy = scene
    matched, weight = particles.images.matched(particles.rows, len(kxy))
    centred = matched * shift_phases(particles.shift_px, kxy, grid.box)
    at_pose = infer_states(centred, weight, columns_at(scene, particles.rotation))
    about = infer_about_poses(particles.images, particles.rows, particles.rotation, particles.shift_px, ball, grid)
    assert bool((about.precision[:, 0, 0] < at_pose.precision[:, 0, 0]).all())
    assert float((about.mean - at_pose.mean).abs().median()) < 0.2
