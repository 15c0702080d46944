"""Transforms against their defining sums in double precision; the projection theorem; what cropping and resampling keep."""

import numpy as np
import pytest
import torch

from cryodrake.physics.fourier import (
    centred_resize,
    coeff_to_image,
    coeff_to_volume,
    crop_images,
    half_to_volume,
    image_to_coeff,
    resample_volume,
    volume_to_coeff,
    volume_to_half,
)

D = 12


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gaussian_volume(d, pixel, centre=(0.0, 0.0, 0.0), sigma=4.0):
    """exp(-|x - centre|²/2σ²) on d voxels of `pixel`; lengths in any one unit, centre (x, y, z)."""
    axis = (torch.arange(d, dtype=torch.float64) - d // 2) * pixel
    gx, gy, gz = (torch.exp(-((axis - c) ** 2) / (2 * sigma**2)) for c in centre)
    return (gz[:, None, None] * gy[:, None] * gx).float()


@pytest.mark.parametrize(("n_axes", "transform"), [(2, image_to_coeff), (3, volume_to_coeff)])
def test_transforms_are_their_defining_sum(n_axes, transform):
    f = noise(*[D] * n_axes)
    coeff = transform(f)
    x = np.stack(np.meshgrid(*[np.arange(D) - D // 2] * n_axes, indexing="ij"), -1)
    random = np.random.default_rng(1)
    for k in [np.zeros(n_axes), *random.integers(-D // 2, D // 2, (8, n_axes))]:
        expected = (f.double().numpy() * np.exp(-2j * np.pi * (x @ k) / D)).sum() / D
        assert complex(coeff[tuple((k + D // 2).astype(int))]) == pytest.approx(expected, abs=1e-5)


def test_a_particle_moved_to_t_has_the_phase_of_minus_t():
    axis = torch.arange(D) - D // 2
    for tx, ty in [(3, 0), (0, -2), (-1, 4)]:
        image = torch.zeros(D, D)
        image[D // 2 + ty, D // 2 + tx] = D  # images are (y, x)
        expected = torch.exp(-2j * torch.pi * (axis[None, :] * tx + axis[:, None] * ty) / D)
        torch.testing.assert_close(image_to_coeff(image), expected.to(torch.complex64), atol=1e-5, rtol=0)


def test_parseval():
    images, volume = noise(3, D, D), noise(D, D, D)
    power = image_to_coeff(images).abs().square().sum((1, 2))
    torch.testing.assert_close(power, images.square().sum((1, 2)))
    # Volumes have 1/d instead of d^-3/2, hence d times the power.
    torch.testing.assert_close(volume_to_coeff(volume).abs().square().sum(), D * volume.square().sum())


def test_inverses():
    images, volumes = noise(2, D, D), noise(2, D, D, D)
    torch.testing.assert_close(coeff_to_image(image_to_coeff(images)), images)
    torch.testing.assert_close(coeff_to_volume(volume_to_coeff(volumes)), volumes)


def test_white_noise_has_its_variance_at_every_coefficient():
    power = image_to_coeff(1.7 * noise(4000, D, D)).abs().square().mean(0)
    assert float((power / 1.7**2 - 1).abs().max()) < 0.15  # 4.5 standard errors of a real coefficient's power
    assert float(power.mean()) == pytest.approx(1.7**2, rel=0.01)


def test_projection_theorem():
    """The central slices of a volume's transform are the transforms of its projections, with no factor between."""
    volume = noise(D, D, D)
    coeff = volume_to_coeff(volume)
    centre = D // 2
    torch.testing.assert_close(coeff[centre], image_to_coeff(volume.sum(0)), atol=1e-5, rtol=0)  # along z: image (y, x)
    torch.testing.assert_close(coeff[:, centre], image_to_coeff(volume.sum(1)), atol=1e-5, rtol=0)
    torch.testing.assert_close(coeff[:, :, centre], image_to_coeff(volume.sum(2)), atol=1e-5, rtol=0)


def test_cropping_keeps_coefficients_and_the_variance_of_noise():
    images = noise(400, 32, 32)
    small = crop_images(images, 20)
    inner = slice(16 - 9, 16 + 10)  # -9 … 9: the row at -10 has no mate
    torch.testing.assert_close(image_to_coeff(small)[:, 1:, 1:], image_to_coeff(images)[:, inner, inner], atol=1e-5, rtol=0)
    power = image_to_coeff(small).abs().square()
    assert float(power[:, 1:, 1:].mean()) == pytest.approx(1, rel=0.01)
    assert float(power[:, 0].max()) < 1e-9
    assert float(power[:, :, 0].max()) < 1e-9


def test_cropping_keeps_the_field_of_view():
    image = gaussian_volume(64, 1.0, (5.0, -7.0, 0.0))[32]
    small = crop_images(image[None], 32)[0]
    # Every second pixel is at the same place; coefficients are kept, so values double (d/d2).
    torch.testing.assert_close(small, 2 * image[::2, ::2], atol=1e-3, rtol=0)
    assert crop_images(image[None], 64)[0] is not None
    torch.testing.assert_close(crop_images(image[None], 64)[0], image)


@pytest.mark.parametrize("box", [24, 48, 60])
def test_resampling_keeps_densities_and_places(box):
    centre = (6.0, -4.0, 3.0)
    volume = gaussian_volume(40, 1.0, centre)
    found = resample_volume(volume, box)
    torch.testing.assert_close(found, gaussian_volume(box, 40 / box, centre), atol=2e-3, rtol=0)


def test_finer_sampling_goes_through_the_old_points():
    volume = noise(10, 10, 10)
    torch.testing.assert_close(resample_volume(volume, 20)[::2, ::2, ::2], volume, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("d", "box"), [(8, 12), (12, 8), (8, 7), (7, 10), (9, 5)])
def test_resizing_keeps_the_centre_at_the_centre(d, box):
    x = torch.zeros(2, d, d)
    x[:, d // 2, d // 2] = 1
    resized = centred_resize(x, box, 2)
    assert resized.shape == (2, box, box)
    assert bool((resized[:, box // 2, box // 2] == 1).all())
    assert float(resized.sum()) == 2


@pytest.mark.parametrize("d", [D, D + 2])  # one of them is no multiple of four
def test_half_a_transform_is_that_half_of_the_whole(d):
    volumes = noise(2, d, d, d, seed=5)
    half, whole = volume_to_half(volumes), volume_to_coeff(volumes)
    torch.testing.assert_close(half[..., :-1], whole[..., d // 2 :], atol=1e-5, rtol=0)
    torch.testing.assert_close(half[..., -1].abs(), whole[..., 0].abs().flip(-2, -1).roll((1, 1), (-2, -1)), atol=1e-5, rtol=0)
    torch.testing.assert_close(half_to_volume(half), volumes, atol=1e-5, rtol=0)
