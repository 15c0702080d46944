"""The half disc against a brute-force list of its points; what is gathered is scattered back."""

import math

import pytest
import torch

from cryodrake.physics.disc import Disc
from cryodrake.physics.fourier import coeff_to_image, image_to_coeff

BOX = 20


def brute_force(box, radius):
    """(kx, ky) of the half disc, sorted by |k|, then ky, then kx."""
    half = box // 2
    points = [
        (kx, ky)
        for ky in range(-half, half)
        for kx in range(-half, half)
        if (kx > 0 or (kx == 0 and ky > 0)) and math.hypot(kx, ky) < min(radius, half)
    ]
    return sorted(points, key=lambda k: (k[0] ** 2 + k[1] ** 2, k[1], k[0]))


def real_images(n, disc):
    """Images that have nothing outside the disc, and no mean."""
    coeff = image_to_coeff(torch.randn(n, disc.box, disc.box, generator=torch.Generator().manual_seed(2)))
    axis = torch.arange(disc.box) - disc.box // 2
    length = torch.sqrt(axis[:, None] ** 2 + axis**2.0)
    return coeff_to_image(coeff * ((length > 0) & (length < disc.radius)))


@pytest.mark.parametrize("radius", [None, 1.0, 1.001, 4.5, 5.0, 7.07, 100.0])
def test_points_are_those_of_half_the_disc_in_order(radius):
    disc = Disc.build(BOX, radius)
    expected = brute_force(BOX, math.inf if radius is None else radius)
    assert disc.kxy.tolist() == [list(map(float, k)) for k in expected]
    assert disc.n_points == len(expected)
    torch.testing.assert_close(disc.length, disc.kxy.norm(dim=1))
    assert disc.shell.tolist() == [round(math.hypot(*k)) for k in expected]
    assert disc.radius == min(BOX / 2, BOX if radius is None else radius)


def test_every_frequency_or_its_mate_is_there_once_and_the_origin_is_not():
    disc = Disc.build(BOX)
    both = torch.cat([disc.flat, disc.mate])
    assert len(both.unique()) == len(both)
    axis = torch.arange(BOX) - BOX // 2
    length = torch.sqrt(axis[:, None] ** 2 + axis**2.0).flatten()
    assert sorted(both.tolist()) == torch.nonzero((length > 0) & (length < BOX / 2)).squeeze(1).tolist()


def test_a_smaller_radius_is_a_prefix_and_so_is_a_smaller_box():
    disc = Disc.build(BOX)
    for radius in (1.0, 2.5, 5.0, math.sqrt(50), 9.99, 10.0, 50.0):
        smaller = Disc.build(BOX, radius)
        k = disc.count(radius)
        assert k == smaller.n_points == len(brute_force(BOX, radius))
        assert torch.equal(disc.kxy[:k], smaller.kxy)
        assert torch.equal(disc.flat[:k], smaller.flat)
    assert torch.equal(Disc.build(16).kxy, disc.kxy[: disc.count(8)])


def test_what_is_gathered_is_scattered_back():
    disc = Disc.build(BOX, 8.0)
    images = real_images(3, disc)
    coeff = image_to_coeff(images)
    points = disc.gather(coeff)
    for (kx, ky), value in zip(disc.kxy.long().tolist(), points[1].tolist(), strict=True):
        assert complex(coeff[1, ky + BOX // 2, kx + BOX // 2]) == value
    torch.testing.assert_close(disc.scatter(points), coeff, atol=1e-5, rtol=0)
    torch.testing.assert_close(coeff_to_image(disc.scatter(points)), images, atol=1e-5, rtol=0)
    few = disc.count(4.0)
    low = disc.scatter(points[:, :few])
    assert torch.equal(disc.gather(low)[:, :few], points[:, :few])
    assert bool((disc.gather(low)[:, few:] == 0).all())


def test_scattered_transforms_belong_to_real_images():
    disc = Disc.build(BOX)
    points = torch.randn(2, disc.n_points, 2, generator=torch.Generator().manual_seed(0))
    full = disc.scatter(torch.view_as_complex(points))
    space = torch.fft.ifftn(torch.fft.ifftshift(full, (-2, -1)), dim=(-2, -1))
    assert float(space.imag.abs().max()) < 1e-6 * float(space.real.abs().max())
    # Half the power is in the half disc.
    torch.testing.assert_close(2 * points.square().sum((1, 2)), full.abs().square().sum((1, 2)))


def test_shell_means():
    disc = Disc.build(BOX, 6.0)
    values = torch.rand(2, disc.n_points, generator=torch.Generator().manual_seed(0))
    means = disc.shell_mean(values)
    assert means.shape == (2, disc.n_shells) == (2, BOX // 2 + 1)
    for shell in range(disc.n_shells):
        members = [i for i, k in enumerate(disc.kxy.tolist()) if round(math.hypot(*k)) == shell]
        expected = values[:, members].mean(1) if members else torch.zeros(2)
        torch.testing.assert_close(means[:, shell], expected)
    few = disc.count(3.0)
    torch.testing.assert_close(disc.shell_mean(values[:, :few])[:, :3], means[:, :3])


def test_an_odd_box_has_no_such_disc():
    with pytest.raises(ValueError, match="even"):
        Disc.build(21)
