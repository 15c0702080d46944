"""Rigid motions as directions: against maps that were really moved."""

import torch

from cryodrake.data.density import gaussian_density
from cryodrake.physics.rotations import axis_angle_to_matrix
from cryodrake.training.tangents import rigid_motions, without

BOX = 32


def density(positions):
    return gaussian_density(positions, torch.ones(len(positions)), BOX, 1.0, 5.0)


def test_they_are_the_differences_of_moved_maps():
    atoms = 3 * torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    directions = rigid_motions(density(atoms))
    step = 0.02
    for axis in range(3):
        along = torch.zeros(3)
        along[axis] = step / 2
        shifted = (density(atoms + along) - density(atoms - along)) / step
        torch.testing.assert_close(-directions[axis], shifted, atol=2e-3 * float(shifted.abs().max()), rtol=0)
        turn = axis_angle_to_matrix((along / 2)[None])[0]
        turned = (density(atoms @ turn.T) - density(atoms @ turn)) / (step / 2)
        torch.testing.assert_close(-directions[3 + axis], turned, atol=5e-3 * float(turned.abs().max()), rtol=0)


def test_what_is_taken_out_is_gone_and_the_rest_stays():
    g = torch.Generator().manual_seed(1)
    directions = torch.randn(3, 6, 6, 6, generator=g)
    other = without(torch.randn(2, 6, 6, 6, generator=g), directions)
    mixed = other + torch.einsum("rm,mijk->rijk", torch.randn(2, 3, generator=g), directions)
    assert float((other.flatten(1) @ directions.flatten(1).T).abs().max()) < 1e-4
    torch.testing.assert_close(without(mixed, directions), other, atol=1e-4, rtol=1e-4)
