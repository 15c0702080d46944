"""Rasterised fields: right on slices, the right gradients, nothing lost by cutting at a radius."""

import pytest
import torch

from cryodrake.fields import network
from cryodrake.fields.grid import GridField
from cryodrake.fields.mlp import MLPField
from cryodrake.fields.raster import rasterise
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.disc import Disc
from cryodrake.physics.rotations import random_rotations
from cryodrake.physics.slices import raster, slice_ball

BOX = 32


@pytest.fixture
def gridded(blobs):
    field = GridField(BOX, 96.0)
    with torch.no_grad():
        field.density.copy_(blobs.density)
    return field


def test_slices_of_a_rasterised_field_match_the_closed_form(gridded, blobs):
    disc = Disc.build(BOX, 10)
    grid = BallGrid(BOX, 10, 2)
    rotations = random_rotations(8, torch.Generator().manual_seed(3))
    with torch.no_grad():
        values = torch.view_as_complex(slice_ball(rasterise(gridded, grid), grid, rotations, disc.kxy))
    exact = blobs.transform((disc.kxy @ rotations[:, :2]).reshape(-1, 3)).reshape(8, -1)
    assert (values - exact).norm() < 0.02 * exact.norm()


def test_cutting_at_a_radius_changes_nothing_inside(gridded, blobs):
    whole, cut = BallGrid(BOX, 14, 2), BallGrid(BOX, 6, 2)
    disc = Disc.build(BOX, 6)
    rotations = random_rotations(4, torch.Generator().manual_seed(4))
    with torch.no_grad():
        a = slice_ball(raster(blobs.density, whole), whole, rotations, disc.kxy)
        b = slice_ball(rasterise(gridded, cut), cut, rotations, disc.kxy)
    assert (a - b).norm() < 1e-2 * a.norm()


def test_gradients_match_finite_differences_and_do_not_depend_on_chunks(monkeypatch):
    field = MLPField(BOX, 96.0, 3.0, positions=16, width=16, seed=2)
    grid = BallGrid(BOX, 4, 2)
    target = torch.randn(grid.n_voxels, 2, generator=torch.Generator().manual_seed(0))

    def loss() -> torch.Tensor:
        return (rasterise(field, grid) * target).sum()

    def gradient() -> dict[str, torch.Tensor]:
        field.zero_grad()
        loss().backward()
        return {name: p.grad.clone() for name, p in field.named_parameters()}

    whole = gradient()
    monkeypatch.setattr(network, "CHUNK", 100)
    chunked = gradient()
    for name, parameter in field.named_parameters():
        assert torch.allclose(whole[name], chunked[name], rtol=1e-3, atol=1e-3 * float(whole[name].abs().max()))
        flat, step = parameter.data.view(-1), 1e-2
        index = int(whole[name].abs().argmax())
        before = float(flat[index])
        flat[index] = before + step
        up = float(loss().detach())
        flat[index] = before - step
        down = float(loss().detach())
        flat[index] = before
        assert float(whole[name].flatten()[index]) == pytest.approx((up - down) / (2 * step), rel=5e-2)
