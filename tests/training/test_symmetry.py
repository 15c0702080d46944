"""Symmetry is found from rivals that agree, and from no others."""

import roma
import torch

from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.reference import Reference
from cryodrake.physics.disc import Disc
from cryodrake.physics.rotations import axis_angle_to_matrix, geodesic_deg, random_rotations
from cryodrake.physics.symmetry import operators
from cryodrake.training.symmetry import mates, offsets_px, operators_of


def near(rotations, deg, g):
    return axis_angle_to_matrix(torch.deg2rad(torch.tensor(deg)) * torch.randn(len(rotations), 3, generator=g)) @ rotations


def test_groups_are_found():
    g = torch.Generator().manual_seed(0)
    for name in ("C3", "D2", "C7"):
        group = operators(name).float()
        votes = near(group[torch.randint(1, len(group), (900,), generator=g)], 1.5, g)
        turn = random_rotations(1, g)[0]
        votes = turn @ votes @ turn.T  # the axes lie anywhere
        votes[::3] = torch.nan  # images without a rival
        votes[1::9] = random_rotations(len(votes[1::9]), g)  # and some whose rival is chance
        found = operators_of(votes)
        assert len(found) == len(group)
        expected = turn @ group @ turn.T
        distance = geodesic_deg(found[:, None].expand(-1, len(group), 3, 3), expected.expand(len(found), -1, 3, 3))
        assert float(distance.amin(1).max()) < 2
        assert roma.is_rotation_matrix(found, 1e-4)


def test_mates_are_the_same_view_wherever_the_axis_is(threefold):
    """Slices of the map, moved to the centre by each mate's shift, at an image of its own pose."""
    g = torch.Generator().manual_seed(1)
    volume, group = threefold
    rotation, shift_px = random_rotations(5, g), torch.randn(5, 2, generator=g)
    disc = Disc.build(32)
    kxy = disc.kxy[: disc.count(8.0)]
    reference = Reference.build(volume, 8.0)

    def image(rotation, shift_px):
        return torch.view_as_complex(reference.slices(rotation, kxy)) * shift_phases(-shift_px, kxy, 32)

    expected = image(rotation, shift_px)
    found = mates(rotation, shift_px, group, offsets_px(volume, group))
    torch.testing.assert_close(found[0][0], rotation)
    torch.testing.assert_close(found[1][0], shift_px)
    for mate in zip(*found, strict=True):
        assert float((image(*mate) - expected).norm() / expected.norm()) < 0.03
    uncorrected = image(rotation @ group[1], shift_px)
    assert float((uncorrected - expected).norm() / expected.norm()) > 0.3


def test_chance_is_no_symmetry():
    g = torch.Generator().manual_seed(1)
    assert torch.equal(operators_of(random_rotations(3000, g)), torch.eye(3)[None])
    assert len(operators_of(torch.full((500, 3, 3), torch.nan))) == 1


def test_a_few_images_do_not_make_a_symmetry():
    g = torch.Generator().manual_seed(2)
    votes = torch.full((2000, 3, 3), torch.nan)
    votes[:60] = near(operators("C2").float()[1].expand(60, 3, 3), 1.0, g)
    assert len(operators_of(votes)) == 1
