"""Turns: the whole circle in equal steps, on a cone about a tilted axis, clear of the rest where that can be."""

import numpy as np
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from cryodrake.data.body import Grid
from cryodrake.data.body_atoms import AtomBody
from cryodrake.data.body_map import MapBody
from cryodrake.data.motion_cut import cut_by_chains, cut_by_plane, rotation_about
from cryodrake.data.motion_turn import TILT_DEG, Turn

GRID = Grid(box=40, pixel_size_A=4.0, resolution_A=12.0)


def test_states_are_equal_steps_of_the_circle_from_the_original(dumbbell):
    turn, is_arm = Turn(cut_by_chains(dumbbell, ["B"]), 8), dumbbell.chain == "B"
    assert [state.coordinate for state in turn.states] == [0, 45, 90, 135, 180, 225, 270, 315]
    assert np.allclose(turn.body(0).positions_A, dumbbell.positions_A, atol=1e-9)
    step = rotation_about(turn.axis, 45)
    for state in range(8):
        now, after = (turn.body(s % 8).positions_A - turn.cut.joint_A for s in (state, state + 1))
        assert np.allclose(now[is_arm] @ step.T, after[is_arm], atol=1e-9)
        assert np.array_equal(now[~is_arm], dumbbell.positions_A[~is_arm] - turn.cut.joint_A)


def test_the_arm_sweeps_a_cone(dumbbell):
    turn = Turn(cut_by_chains(dumbbell, ["B"]), 12)
    is_arm = dumbbell.chain == "B"
    arms = np.array([np.average(turn.body(s).positions_A[is_arm], axis=0, weights=dumbbell.weights[is_arm]) for s in range(12)])
    arms -= turn.cut.joint_A
    length = np.linalg.norm(arms, axis=1)
    assert np.allclose(length, length[0])
    assert np.allclose(np.rad2deg(np.arccos(arms @ turn.axis / length)), TILT_DEG)
    far = np.linalg.norm(arms[6] - arms[0])
    assert np.isclose(far, 2 * length[0] * np.sin(np.deg2rad(TILT_DEG)))


def test_no_two_states_look_the_same(dumbbell):
    turn = Turn(cut_by_chains(dumbbell, ["B"]), 6)
    is_arm = dumbbell.chain == "B"
    arms = [turn.body(state).only(is_arm).density(GRID, np.zeros(3)).numpy() for state in range(6)]
    likeness = np.corrcoef(np.array([arm.flatten() for arm in arms]))
    assert (likeness - np.eye(6)).max() < 0.8


def test_the_arm_keeps_clear_of_a_wall_beside_it():
    # An arm that stands on a post, 8 Å in front of a wall: tilted towards the wall it would run into it.
    rng = np.random.default_rng(5)
    arm = rng.uniform([-3, -3, 0], [3, 3, 40], (200, 3))
    wall = rng.uniform([-40, 8, -5], [40, 12, 45], (3000, 3))
    post = rng.uniform([-3, -3, -12], [3, 3, -4], (100, 3))
    names = np.repeat(["A", "B", "C"], [200, 3000, 100])
    body = AtomBody(np.concatenate([arm, wall, post]), np.ones(3300), names, np.arange(3300))
    cut = cut_by_chains(body, ["A"])
    turn = Turn(cut, 12)
    assert turn.axis[1] < 0

    def hits(axis):
        turned = [(arm - cut.joint_A) @ rotation_about(axis, angle).T + cut.joint_A for angle in range(0, 360, 30)]
        return sum((cdist(points, np.concatenate([wall, post])) < 6).any(1).sum() for points in turned)

    direction = arm.mean(0) - cut.joint_A
    others = [Rotation.from_rotvec(direction / np.linalg.norm(direction) * a).apply(turn.axis) for a in (0.5, 1.5, 3.1, 4.5)]
    assert all(hits(turn.axis) < hits(other) for other in others)


def test_maps_turn_too(dumbbell):
    volume = MapBody(dumbbell.density(GRID, np.array([15.0, 0, 0])).numpy(), 4.0)
    turn = Turn(cut_by_plane(volume, 0.25), 5)
    masses = [float(turn.body(state).volume.sum()) for state in range(5)]
    assert np.allclose(masses, masses[0], rtol=2e-3)
    back = turn.body(0).density(GRID, np.zeros(3)).numpy()
    assert np.linalg.norm(back - volume.volume) < 1e-4 * np.linalg.norm(volume.volume)
