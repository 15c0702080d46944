"""Images are cleaned as said, and transformed as `physics.fourier` does, only for any pixel size."""

import math
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from cryodrake.data.images import Cleaner, read_clean, sensible_diameter_A
from cryodrake.data.images_frame import Frame, Kind, choose_frame, friendly_size, kinds_of
from cryodrake.data.images_transform import FrameTransform
from cryodrake.errors import InputError
from cryodrake.io.particles import read_particles
from cryodrake.physics.disc import Disc
from cryodrake.physics.fourier import crop_images, image_to_coeff


def kind(n, image_px, pixel_size_A):
    return Kind(np.arange(n), image_px, pixel_size_A)


def stack(path: Path, images, pixel_size_A=2.0):
    with warnings.catch_warnings(), mrcfile.new(path) as file:
        warnings.simplefilter("ignore")  # of NaN, which is what some tests want
        file.set_data(images)
        file.set_image_stack()
        file.voxel_size = pixel_size_A
    return path


def noise(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d, d)).astype(np.float32)


# Frame


def test_sizes_that_ffts_like():
    assert [friendly_size(n) for n in (128, 64, 71, 92, 129, 118)] == [128, 64, 70, 90, 128, 112]


def test_the_most_common_kind_gives_the_field_of_view_and_the_others_are_mentioned():
    frame, notes = choose_frame([kind(5, 100, 2.0), kind(3, 64, 4.0)], None)
    assert (frame.box, frame.box_A, frame.pixel_size_A) == (100, 200.0, 2.0)
    assert len(notes) == 1
    assert "3 images of 64 px at 4 Å are cropped" in notes[0]
    frame, notes = choose_frame([kind(5, 300, 1.0)], None)
    assert (frame.box, frame.box_A) == (128, 300.0)
    assert "300 px are Fourier cropped to 128 px" in notes[0]
    assert "larger" in choose_frame([kind(5, 32, 1.0)], 64)[1][0]


def test_a_diameter_that_leaves_no_background_is_not_used():
    frame = Frame(64, 300.0)
    assert sensible_diameter_A(None, frame) == (None, [])
    assert sensible_diameter_A(150, frame) == (150, [])
    for senseless in (299, 20):
        diameter_A, notes = sensible_diameter_A(senseless, frame)
        assert diameter_A is None
        assert f"diameter {senseless} Å" in notes[0]


# Transform


@pytest.mark.parametrize(("d", "box"), [(32, 32), (48, 32), (50, 24)])
def test_transform_is_the_centred_fourier_transform_cropped(d, box):
    images = torch.from_numpy(noise(3, d))
    disc = Disc.build(box)
    ours = FrameTransform(disc, d, d // 2, 1 / d)(images)
    torch.testing.assert_close(ours, disc.gather(image_to_coeff(crop_images(images, box))), atol=2e-5, rtol=0)


def test_parseval():
    d = 32
    images = crop_images(torch.from_numpy(noise(4, 48)), d)  # nothing in the rows that have no partner
    disc = Disc.build(d)
    full = disc.scatter(FrameTransform(disc, d, d // 2, 1 / d)(images))
    outside_disc = image_to_coeff(images) - full
    power = full.abs().square().sum((1, 2)) + outside_disc.abs().square().sum((1, 2))
    torch.testing.assert_close(power, images.square().sum((1, 2)), rtol=1e-5, atol=0)
    assert float(full.abs().square().sum()) > 0.7 * float(power.sum())  # π/4 of the plane


@pytest.mark.parametrize(("px", "pixel_size_A"), [(64, 3.0), (75, 2.56), (121, 1.31), (80, 3.7)])
def test_any_pixel_size_gives_the_transform_of_the_same_density(px, pixel_size_A):
    # ∫ exp(-r²/2σ²) exp(-2πi k·(r + r0)/L): the sum over pixels of area a² is the integral, to float's precision.
    field_A, sigma_A, at_A = 192.0, 12.0, (7.0, -4.0)
    axis = (torch.arange(px, dtype=torch.float64) - px // 2) * pixel_size_A
    density = torch.exp(-((axis[None, :] - at_A[0]) ** 2 + (axis[:, None] - at_A[1]) ** 2) / (2 * sigma_A**2))
    disc = Disc.build(48)
    ours = FrameTransform(disc, px, px // 2, pixel_size_A / field_A)(density.float()[None])[0]
    s = disc.kxy.double() / field_A
    integral = 2 * math.pi * sigma_A**2 * torch.exp(-2 * math.pi**2 * sigma_A**2 * s.square().sum(1))
    phase = -2 * math.pi * (s[:, 0] * at_A[0] + s[:, 1] * at_A[1])
    torch.testing.assert_close(
        ours.to(torch.complex128), torch.polar(integral / (pixel_size_A * field_A), phase), atol=3e-5, rtol=0
    )


def test_nothing_is_known_beyond_an_images_own_nyquist_frequency():
    disc = Disc.build(32)
    transform = FrameTransform(disc, 16, 8, 1 / 16)
    assert torch.equal(transform.known, disc.length < 8)
    coeff = transform(torch.from_numpy(noise(1, 16)))
    assert bool((coeff[:, ~transform.known] == 0).all())


def test_white_noise_keeps_its_variance_at_any_pixel_size():
    disc = Disc.build(32)
    for px in (32, 48):  # the same field of view
        power = FrameTransform(disc, px, px // 2, 1 / px)(torch.from_numpy(noise(100, px))).abs().square().mean()
        assert float(power) == pytest.approx(1, abs=0.02)


# Cleaning


def cleaner(d=48, diameter_A=None):
    frame, _ = choose_frame([kind(1, d, 2.0)], d)
    return Cleaner(kind(1, d, 2.0), frame, Disc.build(d), diameter_A)


@pytest.mark.parametrize("diameter_A", [None, 60.0])
def test_the_background_has_mean_0_and_variance_1(diameter_A):
    clean = cleaner(diameter_A=diameter_A)
    images = clean.clean(torch.from_numpy(noise(5, 48) * 3 + 17))[0].images
    weight = clean.outside / clean.outside.sum()
    assert torch.allclose((images * weight).sum((1, 2)), torch.zeros(5), atol=1e-5)
    assert torch.allclose((images.square() * weight).sum((1, 2)), torch.ones(5), atol=1e-4)
    middle = slice(22, 26)
    assert float(clean.outside[middle, middle].max()) == 0
    assert float(clean.outside[0, 0]) == 1


def test_gain_and_offset_do_not_matter():
    images = torch.from_numpy(noise(5, 48))
    clean = cleaner()
    first = clean.clean(images)[0].images
    torch.testing.assert_close(clean.clean(images * 40 + 3000)[0].images, first, atol=1e-3, rtol=0)
    torch.testing.assert_close(clean.clean(images * 1e-4)[0].images, first, atol=1e-5, rtol=0)


def test_the_window_is_1_over_the_particle_and_0_from_half_the_box():
    window = cleaner().window
    assert float(window[24, 24]) == 1
    assert float(window[24, 24 + 21]) == 1  # 0.9 of 24 px is 21.6
    assert float(window[24, 0]) == 0
    assert float(window[2, 2]) == 0
    assert cleaner().window_power == pytest.approx(float(window.square().mean()), rel=1e-6)


def test_integer_stacks_are_read_as_numbers(tmp_path):
    whole = np.clip(np.round(noise(4, 32) * 20 + 100), 0, 255)
    results = []
    for dtype in (np.int16, np.uint16, np.float32):
        path = stack(tmp_path / f"{np.dtype(dtype).name}.mrcs", whole.astype(dtype))
        particles = read_particles(path)
        kinds = kinds_of(particles.table)
        frame, _ = choose_frame(kinds, None)
        clean = Cleaner(kinds[0], frame, Disc.build(32), None)
        results.append(read_clean(particles, np.arange(4), clean, "cpu").images)
    assert torch.equal(results[0], results[2])
    assert torch.equal(results[1], results[2])


def spoil(images, how):
    if how == "constant":
        images[7] = 5
    else:
        images[7, 16, 16] = {"NaN": np.nan, "infinite": np.inf}[how]
    return images


@pytest.mark.parametrize("how", ["NaN", "infinite", "constant"])
def test_an_unusable_image_is_named(tmp_path, how):
    path = stack(tmp_path / "some.mrcs", spoil(noise(12, 32), how))
    particles = read_particles(path).select(np.arange(5, 12))  # rows of the file, not of the selection, are named
    kinds = kinds_of(particles.table)
    frame, _ = choose_frame(kinds, None)
    with pytest.raises(InputError, match=r"particle 8 \(image 8 of .*some\.mrcs\)") as caught:
        read_clean(particles, np.arange(7), Cleaner(kinds[0], frame, Disc.build(32), None), "cpu")
    assert how in str(caught.value)
    assert str(path) in str(caught.value)
    assert "do:" in str(caught.value)
