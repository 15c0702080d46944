"""Solvent: what is flattened, which shape is found for the particle, and what that says about the half maps' agreement."""

import torch

from cryodrake.physics.fourier import volume_to_coeff
from cryodrake.physics.fsc import fsc, shell_index
from cryodrake.physics.masks import sphere
from cryodrake.training import solvent

BOX = 48
CPU = torch.device("cpu")


def two_maps(level, seed=0):
    """A dumbbell of two balls, and two halves of it in white noise of standard deviation `level`."""
    axis = torch.arange(BOX, dtype=torch.float32) - BOX // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    particle = (((x - 8) ** 2 + y**2 + z**2 < 36) | ((x + 8) ** 2 + y**2 + z**2 < 36)).float()
    g = torch.Generator().manual_seed(seed)
    return particle, torch.stack([particle + level * torch.randn(BOX, BOX, BOX, generator=g) for _ in range(2)])


def test_filters_multiply_shells():
    volume = torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(0))
    curve = torch.linspace(1, 0, 9)
    ratio = volume_to_coeff(solvent.apply_filter(volume, curve)) / volume_to_coeff(volume)
    shell = shell_index(16)
    inside = shell < 8  # in the corners and at -d/2 the mates of a real map differ
    torch.testing.assert_close(ratio.real[inside], curve[shell[inside]], atol=1e-3, rtol=0)


def test_the_solvent_is_flattened_to_zero_and_the_particle_kept():
    mask, particle = sphere(32, 10.0, 1.5), sphere(32, 5.0, 1.5)
    torch.testing.assert_close(solvent.flatten_solvent(particle + 3.0, mask), particle, atol=1e-4, rtol=0)


def test_the_mask_has_the_shape_of_the_particle():
    particle, maps = two_maps(0.5)
    whole = solvent.solvent_mask(BOX, 20.0, CPU)
    curve = fsc(*(solvent.flatten_solvent(v, whole) for v in maps))
    mask = solvent.particle_mask(maps, curve, whole)
    assert float(mask[particle > 0].mean()) > 0.99
    assert float(mask.sum()) < 0.5 * float(whole.sum())
    centre = BOX // 2
    assert float(mask[centre + 14, centre, centre]) < 0.05  # inside the sphere, outside the dumbbell
    assert 0 <= float(mask.min()) <= float(mask.max()) <= 1


def test_where_nothing_stands_out_the_sphere_stays():
    _, maps = two_maps(0.5)
    g = torch.Generator().manual_seed(5)
    noise = torch.randn(maps.shape, generator=g)
    whole = solvent.solvent_mask(BOX, 20.0, CPU)
    curve = fsc(*(solvent.flatten_solvent(v, whole) for v in noise))
    assert torch.equal(solvent.particle_mask(noise, curve, whole), whole)


def test_agreement_inside_a_part_is_what_a_mask_there_would_give():
    """Against the FSC measured under the mask, on maps that are nothing outside of it."""
    _, maps = two_maps(1.0)
    whole = solvent.solvent_mask(BOX, 20.0, CPU)
    curve = fsc(*(v * whole for v in maps))
    mask = solvent.particle_mask(maps, curve, whole)
    measured = fsc(*(v * mask for v in maps))
    reckoned = solvent.fsc_of_part(curve, float(mask.sum() / whole.sum()))
    shells = slice(2, 14)
    assert float((reckoned - measured)[shells].abs().mean()) < 0.08
    assert float((reckoned - curve)[shells].mean()) > 0.05
    torch.testing.assert_close(solvent.fsc_of_part(curve.clamp(min=0), 1.0), curve.clamp(min=0), atol=1e-4, rtol=0)
