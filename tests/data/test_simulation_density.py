"""Densities against closed forms: sums of Gaussians in Fourier space, written out here in numpy."""

import numpy as np
import pytest
import torch

from cryodrake.data.density import centre_of_mass_px, gaussian_density, resample
from cryodrake.physics.fourier import resample_volume

BOX, PIXEL_A = 24, 3.0


@pytest.fixture(scope="module")
def atoms():
    rng = np.random.default_rng(4)
    return rng.uniform(-18, 18, (20, 3)), rng.uniform(1, 3, 20)


def closed_form(positions_A, weights, frequencies_inv_A, resolution_A):
    """Σ w exp(-2πi s·x) exp(-(s·resolution)²) at s (k 3): each atom falls to 1/e at s = 1/resolution."""
    phase = np.exp(-2j * np.pi * frequencies_inv_A @ positions_A.T)
    return (phase @ weights) * np.exp(-((np.linalg.norm(frequencies_inv_A, axis=1) * resolution_A) ** 2))


def transform(volume, pixel_size_A, frequencies_inv_A):
    """∫ density exp(-2πi s·x) dx as a plain sum over voxels; voxel d//2 is the origin."""
    d = volume.shape[-1]
    axis = (np.arange(d) - d // 2) * pixel_size_A
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = np.stack([x, y, z], -1).reshape(-1, 3)
    return np.exp(-2j * np.pi * frequencies_inv_A @ points.T) @ volume.numpy().reshape(-1) * pixel_size_A**3


def lattice_frequencies(limit, field_A):
    rng = np.random.default_rng(0)
    return rng.integers(-limit, limit + 1, (40, 3)) / field_A


@pytest.mark.parametrize("resolution_A", [3.0, 6.0, 20.0])
def test_density_has_the_atoms_exact_coefficients_up_to_nyquist(atoms, resolution_A):
    positions, weights = atoms
    volume = gaussian_density(torch.from_numpy(positions), torch.from_numpy(weights), BOX, PIXEL_A, resolution_A)
    s = lattice_frequencies(11, BOX * PIXEL_A)
    found, exact = transform(volume, PIXEL_A, s), closed_form(positions, weights, s, resolution_A)
    assert np.abs(found - exact).max() < 2e-4 * weights.sum()


def test_density_leaves_out_what_is_outside_the_box():
    positions = torch.tensor([[0.0, 0, 0], [200.0, 0, 0]])
    volume = gaussian_density(positions, torch.tensor([1.0, 1.0]), BOX, PIXEL_A, 8.0)
    assert float(volume.sum()) * PIXEL_A**3 == pytest.approx(1.0, abs=1e-3)


def test_resample_at_the_same_field_is_the_fourier_crop(atoms):
    positions, weights = atoms
    volume = gaussian_density(torch.from_numpy(positions), torch.from_numpy(weights), BOX, PIXEL_A, 6.0)
    assert torch.allclose(resample(volume, PIXEL_A, 16, PIXEL_A * BOX / 16), resample_volume(volume, 16), atol=1e-5)


def test_resample_to_any_pixel_size_and_origin_is_the_density_there(atoms):
    positions, weights = atoms
    volume = gaussian_density(torch.from_numpy(positions), torch.from_numpy(weights), 36, PIXEL_A, 8.0)
    origin = np.array([5.0, -3.0, 8.0])
    new = resample(volume, PIXEL_A, 30, 4.1, torch.from_numpy(origin))
    s = lattice_frequencies(8, 30 * 4.1)
    found, exact = transform(new, 4.1, s), closed_form(positions - origin, weights, s, 8.0)
    assert np.abs(found - exact).max() < 3e-3 * weights.sum()


def test_a_smaller_field_cuts_and_does_not_wrap():
    # One blob in the middle, one outside the new field, which must not come back in at the other side.
    positions = torch.tensor([[0.0, 0, 0], [27.0, 0, 0]])
    volume = gaussian_density(positions, torch.tensor([1.0, 5.0]), BOX, PIXEL_A, 8.0)
    small = resample(volume, PIXEL_A, 12, PIXEL_A)
    assert float(small.sum()) * PIXEL_A**3 == pytest.approx(1.0, abs=0.02)


def test_centre_of_mass_is_that_of_the_atoms(atoms):
    positions, weights = atoms
    volume = gaussian_density(torch.from_numpy(positions), torch.from_numpy(weights), 36, PIXEL_A, 12.0)
    expected = (positions * weights[:, None]).sum(0) / weights.sum() / PIXEL_A
    assert np.allclose(centre_of_mass_px(volume).numpy(), expected, atol=0.02)
