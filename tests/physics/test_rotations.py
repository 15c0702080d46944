"""Rotations against scipy, in RELION's and cryoSPARC's conventions; angles stay accurate where arccos does not."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryodrake.physics.rotations import (
    axis_angle_to_matrix,
    euler_deg_to_matrix,
    geodesic_deg,
    matrix_to_axis_angle,
    matrix_to_euler_deg,
    random_rotations,
)


def eulers(n=200, seed=0):
    """(rot, tilt, psi) in degrees, uniform angles, tilt within its range."""
    random = np.random.default_rng(seed)
    return random.uniform([-180, 0, -180], [180, 180, 180], (n, 3))


def relion_matrix(rot, tilt, psi):
    """Rz(psi) Ry(tilt) Rz(rot), each turning the coordinate axes (Heymann et al. 2005, J. Struct. Biol. 151, 196)."""

    def about_z(angle):
        c, s = math.cos(angle), math.sin(angle)
        return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])

    c, s = math.cos(tilt), math.sin(tilt)
    about_y = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    return about_z(psi) @ about_y @ about_z(rot)


def test_euler_angles_are_relions_and_the_transpose_of_scipys():
    angles = eulers()
    found = euler_deg_to_matrix(torch.from_numpy(angles)).numpy()
    np.testing.assert_allclose(found, Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix().transpose(0, 2, 1), atol=1e-12)
    for matrix, triple in zip(found, angles, strict=True):
        np.testing.assert_allclose(matrix, relion_matrix(*np.deg2rad(triple)), atol=1e-12)


def test_the_view_is_along_the_third_row():
    rot, tilt = 30.0, 50.0
    direction = euler_deg_to_matrix(torch.tensor([rot, tilt, 123.0], dtype=torch.float64))[2]
    a, b = math.radians(rot), math.radians(tilt)
    assert direction.tolist() == pytest.approx([math.sin(b) * math.cos(a), math.sin(b) * math.sin(a), math.cos(b)])


def test_euler_angles_come_back():
    angles = eulers()
    np.testing.assert_allclose(matrix_to_euler_deg(euler_deg_to_matrix(torch.from_numpy(angles))).numpy(), angles, atol=1e-9)


@pytest.mark.parametrize("tilt", [0.0, 1e-5, 1e-3, 179.999, 180.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_rotation_comes_back_at_and_near_the_poles(tilt, dtype):
    angles = torch.tensor([[rot, tilt, psi] for rot in (-170.0, 0.0, 45.0) for psi in (-90.0, 0.0, 133.0)], dtype=dtype)
    matrix = euler_deg_to_matrix(angles)
    found = matrix_to_euler_deg(matrix)
    # Below 6e-5° from the pole the direction of the tilt is given up, and no more than that.
    assert float(geodesic_deg(euler_deg_to_matrix(found), matrix).max()) < 1e-4
    if tilt in (0.0, 180.0) and dtype == torch.float64:
        assert bool((found[:, 0] == 0).all())  # only rot ± psi is defined there
    assert bool(((found[:, 1] >= 0) & (found[:, 1] <= 180)).all())


def test_axis_angle_is_scipys_rotation_vector():
    vectors = np.random.default_rng(1).normal(0, 1.2, (100, 3))
    found = axis_angle_to_matrix(torch.from_numpy(vectors))
    np.testing.assert_allclose(found.numpy(), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)
    back = matrix_to_axis_angle(found).numpy()
    np.testing.assert_allclose(Rotation.from_rotvec(back).as_matrix(), found.numpy(), atol=1e-9)
    assert np.linalg.norm(back, axis=1).max() <= math.pi + 1e-9


def test_no_rotation_is_the_identity_and_not_nan():
    zero = axis_angle_to_matrix(torch.zeros(2, 3))
    assert torch.equal(zero, torch.eye(3).expand(2, 3, 3))
    assert torch.equal(matrix_to_axis_angle(torch.eye(3)), torch.zeros(3))
    tiny = torch.tensor([1e-9, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(matrix_to_axis_angle(axis_angle_to_matrix(tiny)), tiny, atol=1e-12, rtol=0)


def test_half_turns_are_found():
    for axis in np.eye(3):
        matrix = torch.from_numpy(Rotation.from_rotvec(math.pi * axis).as_matrix())
        found = matrix_to_axis_angle(matrix)
        assert float(found.norm()) == pytest.approx(math.pi)
        torch.testing.assert_close(axis_angle_to_matrix(found), matrix, atol=1e-7, rtol=0)


def test_a_cryosparc_pose_is_the_transpose_of_our_rotation():
    """R = expmap(pose)ᵀ: its exponential, as scipy computes it, turned round."""
    pose = np.array([0.3, -1.1, 0.8])
    ours = axis_angle_to_matrix(torch.from_numpy(pose)).T
    euler = matrix_to_euler_deg(ours).numpy()
    # scipy's own Euler angles of the pose are RELION's angles, without a transpose.
    np.testing.assert_allclose(euler, Rotation.from_rotvec(pose).as_euler("ZYZ", degrees=True), atol=1e-9)


def test_angles_between_rotations():
    base = random_rotations(1, torch.Generator().manual_seed(0))[0].double()
    for angle in (1e-4, 0.01, 1.0, 90.0, 179.0, 180.0):
        turn = torch.from_numpy(Rotation.from_rotvec(np.deg2rad(angle) * np.array([0.6, 0, 0.8])).as_matrix())
        # Turned from the left or the right; near 0 the float32 rest is 1e-6 rad.
        for other in (turn @ base, base @ turn):
            assert float(geodesic_deg(other, base)) == pytest.approx(angle, rel=1e-4)
    assert float(geodesic_deg(base, base)) == 0
    assert float(geodesic_deg(base.float(), base.float())) == 0


def test_random_rotations_are_uniform_and_repeatable():
    n = 20000
    rotations = random_rotations(n, torch.Generator().manual_seed(3))
    assert torch.equal(rotations, random_rotations(n, torch.Generator().manual_seed(3)))
    torch.testing.assert_close(rotations @ rotations.transpose(1, 2), torch.eye(3).expand(n, 3, 3), atol=1e-5, rtol=0)
    assert bool((torch.linalg.det(rotations) > 0.99).all())
    # Each entry has mean 0 and mean square 1/3; the angle has density (1 - cos a)/π.
    assert float(rotations.mean(0).abs().max()) < 5 / math.sqrt(3 * n)
    assert float((rotations.square().mean(0) - 1 / 3).abs().max()) < 0.015
    angle = torch.deg2rad(geodesic_deg(rotations, torch.eye(3).expand(n, 3, 3))).sort().values
    distribution = (angle - torch.sin(angle)) / math.pi
    assert float((distribution - (torch.arange(n) + 0.5) / n).abs().max()) < 1.63 / math.sqrt(n)  # Kolmogorov, 1 %
