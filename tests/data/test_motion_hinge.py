"""Hinges of atoms and of maps: rigid parts, the right angle about the right axis, and a cut that leaves no trace."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from cryodrake.data.body import Grid
from cryodrake.data.body_atoms import AtomBody
from cryodrake.data.body_map import MapBody
from cryodrake.data.motion_cut import cut_by_chains, cut_by_plane, rotation_about
from cryodrake.data.motion_hinge import Hinge
from cryodrake.errors import InputError

GRID = Grid(box=64, pixel_size_A=2.5, resolution_A=10.0)


def as_map(atoms, grid=GRID):
    return MapBody(atoms.density(grid, np.zeros(3)).numpy(), grid.pixel_size_A)


def difference(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def test_each_part_keeps_all_its_distances_and_0_degrees_is_the_original(dumbbell):
    hinge = Hinge(cut_by_chains(dumbbell, ["B"]), -30, 30, 5)
    assert [state.coordinate for state in hinge.states] == [-30, -15, 0, 15, 30]
    assert np.allclose(hinge.body(2).positions_A, dumbbell.positions_A, atol=1e-9)
    is_arm = dumbbell.chain == "B"
    for state in (0, 1, 4):
        positions = hinge.body(state).positions_A
        assert np.array_equal(positions[~is_arm], dumbbell.positions_A[~is_arm])
        assert np.allclose(pdist(positions[is_arm]), pdist(dumbbell.positions_A[is_arm]), atol=1e-9)
        assert np.linalg.norm(positions - dumbbell.positions_A, axis=1)[is_arm].max() > 4


def test_the_part_turns_by_the_angle_about_an_axis_in_the_cut(dumbbell):
    cut = cut_by_chains(dumbbell, ["B"])
    hinge, is_arm = Hinge(cut, -20, 40, 3), dumbbell.chain == "B"
    for state in range(3):
        moved, start = hinge.body(state).positions_A[is_arm], dumbbell.positions_A[is_arm]
        found, _ = Rotation.align_vectors(moved - moved.mean(0), start - start.mean(0))
        assert np.allclose(found.as_rotvec(degrees=True), hinge.states[state].coordinate * cut.across, atol=1e-6)
        # The joint is the point that both positions of the arm have in common.
        assert np.allclose(found.apply(start - cut.joint_A) + cut.joint_A, moved, atol=1e-9)
    assert abs(cut.across @ cut.away) < 1e-9


def test_the_plane_cuts_off_its_share_across_the_longest_axis(dumbbell):
    cut = cut_by_plane(dumbbell, 0.25)
    longest = np.linalg.svd(dumbbell.positions_A - dumbbell.positions_A.mean(0))[2][0]
    assert abs(cut.away @ longest) > 0.999
    along = (dumbbell.positions_A - cut.joint_A) @ cut.away
    assert np.array_equal(cut.part, (along > 0).astype(float))
    share = dumbbell.weights[along > 0].sum() / dumbbell.weights.sum()
    assert share == pytest.approx(0.25, abs=1.01 / 400 * 8 / 7)
    assert cut.away[0] > 0.9  # the slender arm, not the body
    near = np.abs(along) <= np.sort(np.abs(along))[20]
    beside = cut.joint_A - dumbbell.positions_A[near].mean(0)
    assert np.linalg.norm(beside - (beside @ cut.away) * cut.away) < 3


def test_the_joint_of_chains_is_where_they_touch():
    rng = np.random.default_rng(0)
    balls = [rng.normal(size=(2000, 3)) for _ in range(2)]
    balls = [15 * ball / np.linalg.norm(ball, axis=1, keepdims=True) for ball in balls]
    positions = np.concatenate([balls[0], balls[1] + [0, 34, 0]])
    body = AtomBody(positions, np.ones(4000), np.repeat(["A", "B"], 2000), np.arange(4000))
    cut = cut_by_chains(body, ["B"])
    assert np.allclose(cut.joint_A, [0, 17, 0], atol=0.5)
    assert np.allclose(cut.away, [0, 1, 0], atol=0.05)
    assert np.array_equal(cut_by_chains(body, ["[B-Z]"]).part, cut.part)


def test_chains_that_are_not_there_or_all_of_them_are_refused(dumbbell):
    for names, says in ((["C"], "no chain C"), (["A", "B"], "all chains move")):
        with pytest.raises(InputError, match=says) as error:
            cut_by_chains(dumbbell, names)
        assert error.value.where == "--moving"


def test_what_cannot_be_cut_is_refused(dumbbell):
    is_first = np.arange(len(dumbbell)) == 0
    with pytest.raises(InputError, match="nothing is left on one side"):
        cut_by_plane(dumbbell.only(is_first), 0.35)
    with pytest.raises(InputError, match="no density above zero"):
        cut_by_plane(MapBody(-as_map(dumbbell).volume.clip(0.0), 2.5), 0.35)


def test_a_map_turns_as_the_atoms_it_is_made_of_and_keeps_its_mass(dumbbell):
    cut, volume = cut_by_chains(dumbbell, ["B"]), as_map(dumbbell)
    part = volume.beyond(np.array([1.0, 0, 0]), 26.0)
    for angle in (-25.0, 0.0, 40.0):
        rotation = rotation_about(cut.across, angle)
        turned = volume.with_turned(part, rotation, cut.joint_A)
        expected = as_map(cut.turned(cut.across, angle)).volume
        assert difference(turned.density(GRID, np.zeros(3)).numpy(), expected) < 4e-3
        assert float(turned.volume.sum()) == pytest.approx(float(volume.volume.sum()), rel=1e-4)


def test_a_map_is_cut_where_its_atoms_are():
    rng = np.random.default_rng(2)
    points = rng.uniform([-60, -30, -12], [60, 30, 12], (6000, 3))
    points = points[np.abs(points[:, 1]) < 30 - 0.2 * (points[:, 0] + 60)]  # a flat wedge that tapers towards +x
    atoms = AtomBody(points, np.full(len(points), 7.0), np.full(len(points), "A"), np.arange(len(points)))
    of_atoms, of_map = cut_by_plane(atoms, 0.25), cut_by_plane(as_map(atoms), 0.25)
    assert of_atoms.away[0] > 0.99
    assert of_atoms.away @ of_map.away > 0.999
    assert min(abs(of_atoms.across[1]), abs(of_map.across[1])) > 0.98  # the wedge is wider than thick
    assert np.linalg.norm(of_atoms.joint_A - of_map.joint_A) < 2
    assert of_map.moving.weights.sum() / of_map.body.mass().weights.sum() == pytest.approx(0.25, abs=0.005)
    hinge = Hinge(of_map, 0, 30, 2)
    assert difference(hinge.body(0).density(GRID, np.zeros(3)).numpy(), as_map(atoms).volume) < 1e-5


def test_the_cut_leaves_no_seam_and_no_hole_where_the_parts_stay_together():
    # A long block of even density: on the hinge's axis nothing moves, and at 0° nothing does anywhere.
    axis = np.arange(48) - 24
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    block = MapBody(((abs(x) < 18) & (abs(y) < 12) & (abs(z) < 5)).astype(np.float32), 3.0)
    cut = cut_by_plane(block, 0.35)
    assert np.allclose(np.abs(cut.across), [0, 1, 0], atol=1e-6)
    at = round(cut.joint_A[0] / 3) + 24
    for angle in (3.0, -20.0):
        volume = cut.turned(cut.across, angle).volume
        centre = len(volume) // 2 - 24
        on_axis = volume[24 + centre, centre + 14 : centre + 35, at + centre]
        assert np.abs(on_axis - 1).max() < 0.05
        assert float(volume.sum()) == pytest.approx(float(block.volume.sum()), rel=2e-3)


def test_the_box_grows_for_a_part_that_leaves_it(dumbbell):
    grid = Grid(box=48, pixel_size_A=2.5, resolution_A=10.0)
    centred = dumbbell.only(np.ones(400, bool))
    volume, origin = MapBody(centred.density(grid, np.array([10.0, 0, 0])).numpy(), 2.5), np.array([20.0, 0, 0])
    turned = volume.with_turned(volume.beyond(np.array([1.0, 0, 0]), 15.0), rotation_about(np.eye(3)[2], 180.0), -origin)
    assert len(turned.volume) > 48
    assert float(turned.volume.sum()) == pytest.approx(float(volume.volume.sum()), rel=1e-3)
    assert turned.mass().points_A[:, 0].min() < -60
    assert torch.equal(turned.density(Grid(len(turned.volume), 2.5, 10.0), np.zeros(3)), torch.from_numpy(turned.volume))
