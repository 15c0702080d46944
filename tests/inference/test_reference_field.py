"""Slices of a field by asking it, and by its raster: the one is the other's slow twin."""

import pytest
import torch

from cryodrake.fields.fit import FitSettings, fit_network
from cryodrake.fields.mlp import MLPField
from cryodrake.fields.target import from_density
from cryodrake.inference.reference import Reference
from cryodrake.inference.reference_field import FieldReference
from cryodrake.physics.disc import Disc
from cryodrake.physics.rotations import random_rotations


def test_asked_and_rasterised_slices_agree(simulate):
    """Of a field of a map: one that was never trained has no bounds in real space, and is not continuous where kx = 0."""
    field = MLPField(32, 160.0, 3.0, positions=128, width=64, seed=3)
    fit_network(field, from_density(simulate(1).density[None], torch.full((17,), 10.0)), FitSettings(epochs=12, batch=512))
    kxy = Disc.build(32, 9.0).kxy
    rotations = random_rotations(20, torch.Generator().manual_seed(0))
    asked, raster = FieldReference(field, 9.0), Reference.of_field(field, 9.0)
    assert asked.radius == raster.radius == 9.0
    a, b = asked.slices(rotations, kxy), raster.slices(rotations, kxy)
    assert a.shape == b.shape == (20, len(kxy), 2)
    assert not a.requires_grad
    assert not b.requires_grad
    # The field's map does not end at the box, as its raster's does, and the raster is interpolated: a hundredth of the power.
    assert float((a - b).norm() / a.norm()) < 0.12
    assert float(torch.cosine_similarity(a.flatten(1), b.flatten(1)).min()) > 0.985


def test_points_are_those_of_the_convention():
    field = MLPField.cryodrgn2(16, 80.0, width=16)
    rotation = random_rotations(1, torch.Generator().manual_seed(1))
    kxy = torch.tensor([[2.0, -1.0]])
    with torch.no_grad():
        direct = field((rotation[0].T @ torch.tensor([2.0, -1.0, 0.0]))[None])
    assert FieldReference(field, 4.0).slices(rotation, kxy)[0, 0].tolist() == pytest.approx(direct[0].tolist(), abs=1e-5)
