"""Basins: which candidates are kept, which of the climbed ones wins, and how sure that is."""

import pytest
import torch

from cryodrake.inference.basins import Basins, nearest_deg
from cryodrake.inference.exhaustive import Candidates
from cryodrake.inference.reference import Reference
from cryodrake.physics.rotations import axis_angle_to_matrix, geodesic_deg, random_rotations
from cryodrake.physics.symmetry import operators

IDENTITY = torch.eye(3)[None]


def about_x(*degrees):
    return axis_angle_to_matrix(torch.deg2rad(torch.tensor(degrees))[:, None] * torch.tensor([1.0, 0.0, 0.0]))


def candidates(score, rotation):
    n, c = score.shape
    shift = torch.arange(n * c, dtype=torch.float32).view(n, c, 1).expand(-1, -1, 2)
    return Candidates(score, rotation.expand(n, c, 3, 3), shift)


def test_neighbours_are_one_basin_and_hopeless_ones_none():
    rotation = about_x(0.0, 4.0, 30.0, 33.0, 90.0)
    score = torch.tensor([[50.0, 49.0, 45.0, 46.0, 20.0], [10.0, 50.0, 49.0, 48.0, 49.5]])
    found = Basins.of(candidates(score, rotation), 10.0, 4, torch.tensor([10.0, 10.0]))
    assert found.member.tolist() == [0, 0, 1, 1, 1]
    assert found.score.tolist() == [50.0, 46.0, 50.0, 49.5, 49.0]
    torch.testing.assert_close(found.rotation, rotation[[0, 3, 1, 4, 2]])
    assert found.shift_px[:, 0].tolist() == [0.0, 3.0, 6.0, 9.0, 7.0]
    few = Basins.of(candidates(score, rotation), 10.0, 2, torch.tensor([100.0, 100.0]))
    assert few.member.tolist() == [0, 0, 1, 1]


def settled(score, rotation, group=IDENTITY):
    n, c = score.shape
    member = torch.arange(n).repeat_interleave(c)
    basins = Basins(n, member, rotation.expand(n, c, 3, 3).flatten(0, 1), torch.zeros(n * c, 2), score.flatten(), score.flatten())
    return basins.settled(5.0, group)


@pytest.mark.parametrize("gap", [0.5, 1.0, 5.0])
def test_confidence_is_the_share_of_the_best(gap):
    """One rival gap behind, and a neighbour of the best, which is no rival."""
    found = settled(torch.tensor([[-gap, 0.0, -0.1], [0.0, -gap, -1.0]]), about_x(60.0, 0.0, 3.0))
    expected = torch.sigmoid(torch.tensor(gap))
    assert float(found.confidence[0]) == pytest.approx(float(expected))
    torch.testing.assert_close(found.rotation[0], about_x(0.0)[0])
    torch.testing.assert_close(found.rival[0], about_x(60.0)[0])
    assert float(found.confidence[1]) == pytest.approx(1 / (1 + torch.exp(torch.tensor(-gap)) + torch.exp(torch.tensor(-1.0))))


def test_far_rivals_do_not_speak_of_symmetry():
    found = settled(torch.tensor([[0.0, -20.0]]), about_x(0.0, 60.0))
    assert bool(torch.isnan(found.rival).all())


def test_symmetric_poses_are_no_rivals():
    group = operators("C3").float()
    pose = random_rotations(1, torch.Generator().manual_seed(0))[0]
    score = torch.tensor([[0.0, -0.2, -0.4]])
    assert float(settled(score, pose @ group).confidence) < 0.5
    assert float(settled(score, pose @ group, group).confidence) == pytest.approx(1.0)
    assert float(nearest_deg(pose[None], pose[None] @ group[1], group)) < 0.1


def test_known_poses_are_joined_each_to_its_image():
    basins = Basins.of(candidates(torch.tensor([[5.0, 4.0], [7.0, -90.0]]), about_x(0.0, 50.0)), 10.0, 2, torch.full((2,), 9.0))
    known = about_x(10.0, 20.0)
    found = basins.joined(known, torch.ones(2, 2))
    assert found.member.tolist() == [0, 0, 0, 1, 1]
    torch.testing.assert_close(found.rotation[[2, 4]], known)


def test_what_climbs_to_one_top_is_one_basin():
    rotation = about_x(0.0, 1.0, 60.0, 0.5)
    basins = Basins(2, torch.tensor([0, 0, 0, 1]), rotation, torch.zeros(4, 2), torch.tensor([3.0, 4.0, 2.0, 9.0]), torch.zeros(4))
    found = basins.distinct(5.0, 10.0)
    assert found.member.tolist() == [0, 0, 1]
    assert found.score.tolist() == [4.0, 2.0, 9.0]
    assert basins.distinct(5.0, 1.0).score.tolist() == [4.0, 9.0]


def test_climbing_finds_the_true_basin(simulate):
    """Of two basins a third of a cell away from their tops, the lower start wins where it is the right one."""
    scene = simulate(12, 2.0, 1.0)
    reference = Reference.build(scene.density, 10.0)
    near = axis_angle_to_matrix(torch.tensor([[0.06, 0.0, 0.03]])) @ scene.rotation
    wrong = axis_angle_to_matrix(torch.tensor([[0.0, 1.5, 0.0]])) @ scene.rotation
    rotation = torch.stack([wrong, near], 1)
    shift_px = scene.shift_px[:, None].expand(-1, 2, -1)
    start = Candidates(torch.tensor([[1.0, 0.0]]).expand(12, -1), rotation, shift_px)
    basins = Basins.of(start, 10.0, 2, torch.full((12,), 5.0)).polished(scene.images, scene.rows, reference, 4)
    found = basins.settled(10.0, IDENTITY)
    assert float(geodesic_deg(found.rotation, scene.rotation).median()) < 3
    assert float(found.confidence.median()) > 0.9
