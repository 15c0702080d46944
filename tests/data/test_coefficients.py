"""The coefficient store: what goes in comes out, wherever it is kept; the noise and the contrast are found."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cryodrake.data import coefficients_storage
from cryodrake.data.coefficients import CoefficientStore
from cryodrake.data.coefficients_background import coupling
from cryodrake.data.simulation_images import noise_filter
from cryodrake.errors import InputError
from cryodrake.io.mrc import StackWriter
from cryodrake.io.particles import read_particles
from cryodrake.io.table import CTFColumns
from cryodrake.physics.ctf import CTFParams, ctf
from cryodrake.physics.disc import Disc
from cryodrake.physics.fourier import coeff_to_image, crop_images, image_to_coeff
from cryodrake.physics.masks import circular_window


def noise(n, d, colour=0.0, seed=0):
    white = torch.randn(n, d, d, generator=torch.Generator().manual_seed(seed))
    return coeff_to_image(image_to_coeff(white) * noise_filter(d, colour)) if colour else white


def particles_of(folder, *stacks, optics=None):
    """A particle file of one stack per (images, pixel size); `optics` sets CTF columns."""
    names = []
    for i, (images, pixel_size_A) in enumerate(stacks):
        names.append(folder / f"stack{i}.mrcs")
        with StackWriter(names[-1], len(images), images.shape[-1], pixel_size_A) as writer:
            writer.write(images.numpy())
    (folder / "all.txt").write_text("\n".join(map(str, names)))
    particles = read_particles(folder / "all.txt")
    return particles if optics is None else replace(particles, table=replace(particles.table, ctf=optics))


def optics(n, seed=0):
    random = np.random.default_rng(seed)
    defocus_A = random.uniform(1e4, 2.5e4, n)
    constant = [np.full(n, value) for value in (300.0, 2.7, 0.1)]
    return CTFColumns(*constant, defocus_A, defocus_A - 300, random.uniform(0, 180, n), np.zeros(n), np.zeros(n))


def params(columns, pixel_size_A):
    n = len(columns.voltage_kV)
    return CTFParams(torch.full((n,), pixel_size_A), *(torch.from_numpy(c) for c in vars(columns).values()))


def rows_of(store):
    return torch.arange(store.n)


# What comes out


def test_coefficients_are_those_of_the_normalised_windowed_cropped_images(tmp_path):
    images = noise(6, 48) * 3 + 5
    store = CoefficientStore.build(particles_of(tmp_path, (images, 2.0)), 32)
    assert (store.n, store.box, store.box_A, store.pixel_size_A) == (6, 32, 96.0, 3.0)
    background = 1 - circular_window(48, 0.95 * 24, 1.0)
    background /= background.sum()
    normal = images - (images * background).sum((1, 2), keepdim=True)
    normal /= (normal.square() * background).sum((1, 2), keepdim=True).sqrt()
    window = circular_window(48, 0.9 * 24, 0.1 * 24)
    expected = store.disc.gather(image_to_coeff(crop_images(normal * window, 32)))
    torch.testing.assert_close(store.images(rows_of(store)), expected, atol=1e-4, rtol=0)
    assert store.window_power == pytest.approx(float(window.square().mean()), rel=1e-5)


def test_windowed_noise_is_lower_by_the_windows_power(tmp_path):
    store = CoefficientStore.build(particles_of(tmp_path, (noise(300, 32), 2.0)))
    power = store.images(rows_of(store)).abs().square().mean()
    assert float(power) == pytest.approx(store.window_power, rel=0.02)


def test_smaller_radii_are_prefixes_and_rows_come_in_the_order_asked_for(tmp_path):
    particles = particles_of(tmp_path, (noise(9, 32), 2.0), optics=optics(9))
    store = CoefficientStore.build(particles)
    every, transfer = store.images(rows_of(store)), store.ctf(rows_of(store))
    rows, k = torch.tensor([7, 2, 2, 8]), store.disc.count(5.5)
    assert torch.equal(store.images(rows, k), every[rows, :k])
    assert torch.equal(store.ctf(rows, k), transfer[rows, :k])
    fresh = CoefficientStore.build(particles)
    assert torch.equal(fresh.ctf(rows, k), transfer[rows, :k])  # before the whole disc was ever asked for
    assert torch.equal(fresh.ctf(rows_of(store)), transfer)


def test_the_ctf_is_that_of_the_table(tmp_path):
    columns = optics(5)
    store = CoefficientStore.build(particles_of(tmp_path, (noise(5, 32), 2.5), optics=columns))
    expected = ctf(params(columns, 2.5), store.disc.kxy, torch.full((5,), 80.0))
    torch.testing.assert_close(store.ctf(rows_of(store)), expected, atol=5e-4, rtol=0)


def test_without_a_ctf_it_is_1(tmp_path):
    store = CoefficientStore.build(particles_of(tmp_path, (noise(5, 32), 2.5)))
    assert torch.equal(store.ctf(torch.tensor([1, 4]), 7), torch.ones(2, 7))


def test_matched_images_are_weighted_by_ctf_over_noise(tmp_path):
    store = CoefficientStore.build(particles_of(tmp_path, (noise(5, 32), 2.5), (noise(3, 32), 2.4), optics=optics(8)))
    level = torch.rand(2, store.disc.n_shells) + 0.5
    rows, k = torch.tensor([0, 6, 3]), 50
    weighted, weight = store.matched(rows, k, level)
    assert sorted(set(store.group.tolist())) == [0, 1]
    sigma2 = torch.stack([level[store.group[row], store.disc.shell[:k]] for row in rows])
    transfer = store.ctf(rows, k)
    torch.testing.assert_close(weighted, store.images(rows, k) * transfer / sigma2)
    torch.testing.assert_close(weight, transfer**2 / sigma2)


# Where it is kept


def test_a_file_holds_the_same_bits_as_memory_and_any_chunk_size_gives_them(tmp_path):
    stacks = [(noise(23, 32), 2.0), (noise(8, 40, seed=1), 2.0)]
    particles = particles_of(tmp_path, *stacks, optics=optics(31))
    rows = torch.tensor([30, 0, 0, 17, 25])
    first = CoefficientStore.build(particles)
    scratch = tmp_path / "scratch"
    for memory_gib, chunk in ((1e-7, 1), (1e-7, 5), (4.0, 7), (4.0, 100)):
        store = CoefficientStore.build(particles, memory_gib=memory_gib, scratch=scratch, chunk=chunk)
        assert isinstance(store._storage, coefficients_storage.FileStorage) == (memory_gib < 1)
        assert torch.equal(store.images(rows_of(store)), first.images(rows_of(store)))
        assert torch.equal(store.images(rows, 20), first.images(rows, 20))
        assert torch.equal(store.ctf(rows, 20), first.ctf(rows, 20))
        assert torch.equal(store.noise, first.noise)
        assert store.notes == first.notes
    assert list(scratch.iterdir()) == []  # nothing to clean up, however the program ends


def test_progress_is_told(tmp_path):
    told = []
    particles = particles_of(tmp_path, (noise(10, 32), 2.0))
    CoefficientStore.build(particles, chunk=4, progress=lambda done, total: told.append((done, total)))
    assert told == [(4, 10), (8, 10), (10, 10)]


def test_a_full_disk_is_said_before_the_work(tmp_path, monkeypatch):
    usage = coefficients_storage.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(coefficients_storage.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="No space left") as caught:
        CoefficientStore.build(particles_of(tmp_path, (noise(10, 32), 2.0)), memory_gib=1e-7, scratch=tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "GiB free" in str(caught.value)


def test_a_scratch_folder_that_cannot_be_one_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot hold"):
        CoefficientStore.build(particles_of(tmp_path, (noise(10, 32), 2.0)), memory_gib=1e-7, scratch=tmp_path / "file")


def test_the_first_unusable_image_is_the_one_named(tmp_path):
    images = noise(40, 32)
    images[33, 3, 3] = torch.nan
    images[21] = 0
    particles = particles_of(tmp_path, (images, 2.0))
    with pytest.raises(InputError, match=r"particle 22 \(image 22 of .*stack0.mrcs\).*constant"):
        CoefficientStore.build(particles, chunk=3)
    assert torch.get_num_threads() >= 1


# Noise


def spectrum_of(images, disc):
    return disc.shell_mean(disc.gather(image_to_coeff(images)).abs().square().mean(0))


@pytest.mark.parametrize("colour", [0.0, 2.0])
def test_the_noise_is_recovered_from_the_background_of_images_with_a_strong_particle(tmp_path, colour):
    d, n = 64, 800
    noisy = noise(n, d, colour)
    axis = torch.arange(d) - d // 2
    particle = torch.exp(-(axis[:, None] ** 2 + axis**2) / 60.0)
    store = CoefficientStore.build(particles_of(tmp_path, (4 * noisy + 6 * particle, 2.0)))
    # The truth: the filter's own power, on the scale of images whose background has variance 1.
    truth = store.disc.shell_mean(store.disc.gather(noise_filter(d, colour).square().to(torch.complex64)).real)
    background = 1 - circular_window(d, 0.95 * d / 2, 1.0)
    background /= background.sum()
    centred = noisy - (noisy * background).sum((1, 2), keepdim=True)
    truth = truth * (1 / (centred.square() * background).sum((1, 2))).mean()
    found = store.noise[0] / truth
    assert float((found[3:] - 1).abs().max()) < 0.05
    assert float((found[1:3] - 1).abs().max()) < 0.2  # corners are too small for one or two cycles per box


def test_coupling_is_what_noise_does():
    d = 32
    disc = Disc.build(d)
    region = 1 - circular_window(d, 10, 2.0)
    amplitude = noise_filter(d, 3.0)
    noisy = coeff_to_image(image_to_coeff(noise(4000, d)) * amplitude)
    weight = region / region.sum()
    seen = spectrum_of((noisy - (noisy * weight).sum((1, 2), keepdim=True)) * region, disc) / region.square().mean()
    axis = torch.arange(d) - d // 2
    shell = torch.sqrt(axis[:, None] ** 2 + axis**2.0).round().long().flatten()
    power = amplitude.double().square().flatten()
    per_shell = torch.bincount(shell, power) / torch.bincount(shell)
    expected = coupling(region, disc) @ per_shell
    torch.testing.assert_close(seen[1:].double(), expected[1:], rtol=0.06, atol=0)


def test_each_optics_group_has_its_own_noise(tmp_path):
    store = CoefficientStore.build(particles_of(tmp_path, (noise(300, 32), 2.0), (noise(300, 32, 4.0, seed=1), 2.2)))
    white, coloured = store.noise[store.group[0]], store.noise[store.group[-1]]
    assert float(white[2:].std() / white[2:].mean()) < 0.1
    assert float(coloured[2] / coloured[14]) > 3


def test_a_selection_may_lack_an_optics_group(tmp_path):
    particles = particles_of(tmp_path, (noise(20, 32), 2.2), (noise(20, 32, seed=1), 2.0), (noise(9, 32), 2.1))
    groups = particles.table.optics_group
    store = CoefficientStore.build(particles.select(np.flatnonzero(groups != 1)))
    assert store.noise.shape[0] > int(store.group.max())
    assert bool((store.noise[store.group] > 0).all())


def test_images_with_an_empty_border_are_normalised_by_the_whole(tmp_path):
    images = noise(10, 32) * circular_window(32, 14, 1)
    store = CoefficientStore.build(particles_of(tmp_path, (images, 2.0)))
    assert bool(torch.isfinite(torch.view_as_real(store.images(rows_of(store)))).all())
    assert bool((store.noise > 0).all())
    assert any("10 images have a constant background" in note for note in store.notes)


# Contrast


def seen_particles(d=48, n=300, pixel_size_A=4.0, snr=0.05):
    """Gaussian blobs off centre, through a CTF, in noise."""
    columns = optics(n)
    disc = Disc.build(d)
    at_px = 3 * torch.randn(n, 2, generator=torch.Generator().manual_seed(3))
    axis = torch.arange(d) - d // 2
    x, y = axis[None, None, :] - at_px[:, :1, None], axis[None, :, None] - at_px[:, 1:, None]
    clean = disc.gather(image_to_coeff(torch.exp(-(x**2 + y**2) / (2 * 6.0**2))))
    clean = clean * ctf(params(columns, pixel_size_A), disc.kxy, torch.full((n,), pixel_size_A * d))
    images = coeff_to_image(disc.scatter(clean))
    return images * (snr / images.var()) ** 0.5 + noise(n, d), columns


def test_dark_particles_are_made_bright_and_bright_ones_left(tmp_path):
    images, columns = seen_particles()
    (tmp_path / "dark").mkdir()
    bright = CoefficientStore.build(particles_of(tmp_path, (images, 4.0), optics=columns))
    dark = CoefficientStore.build(particles_of(tmp_path / "dark", (-images, 4.0), optics=columns))
    assert bright.notes == ()
    assert "multiplied by -1" in dark.notes[0]
    torch.testing.assert_close(dark.images(rows_of(dark)), bright.images(rows_of(dark)), atol=1e-5, rtol=0)
    torch.testing.assert_close(dark.noise, bright.noise)


def test_noise_alone_has_no_contrast_and_it_is_said(tmp_path):
    store = CoefficientStore.build(particles_of(tmp_path, (noise(200, 32), 2.0)))
    assert any("cannot tell" in note for note in store.notes)


# Mixed pixel sizes


def field_of(px, coeff, hidden):
    """Images of px pixels with the half disc `coeff` of a smaller frame, and what a finer pixel also sees."""
    disc = Disc.build(px)
    k = coeff.shape[-1]
    full = hidden.clone()
    assert torch.equal(disc.kxy[:k], Disc.build(48).kxy)
    full[:, :k] = coeff
    return coeff_to_image(disc.scatter(full))


@pytest.mark.parametrize(("fine_px", "extra_px"), [(64, 0), (60, 0), (60, 20)])
def test_the_same_particle_at_two_pixel_sizes_has_the_same_coefficients(tmp_path, fine_px, extra_px):
    d, n, field_A = 48, 40, 192.0
    fine_A = field_A / fine_px
    # Noise that is white up to each pixel size's own Nyquist frequency: the same dose, seen more finely.
    hidden = Disc.build(fine_px).gather(image_to_coeff(noise(n, fine_px, seed=5)))
    axis = torch.arange(d) - d // 2
    blob = 3 * torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 5.0**2))
    coarse = crop_images(noise(n, d) + blob, d)
    coeff = Disc.build(d).gather(image_to_coeff(coarse))
    fine = field_of(fine_px, coeff, hidden)
    coarse = coeff_to_image(Disc.build(d).scatter(coeff))
    if extra_px:  # a larger field of view, with other things in it
        larger = noise(n, fine_px + extra_px, seed=6)
        inner = slice(extra_px // 2, extra_px // 2 + fine_px)
        larger[:, inner, inner] = fine
        fine = larger
    more = noise(60, d, seed=9)  # makes the coarse ones the most common
    store = CoefficientStore.build(particles_of(tmp_path, (fine, fine_A), (coarse, field_A / d), (more, field_A / d)))
    assert (store.box, store.box_A) == (d, field_A)
    assert "resampled" in store.notes[0]
    k = store.disc.count(16)  # the window mixes in what lies beyond the coarse Nyquist frequency
    ours, theirs = store.images(torch.arange(n), k), store.images(torch.arange(n, 2 * n), k)
    scale = (ours * theirs.conj()).sum(1, keepdim=True).real / theirs.abs().square().sum(1, keepdim=True)
    assert float((scale - 1).abs().mean()) < 0.06  # each is normalised by its own pixels
    assert float((ours - scale * theirs).abs().square().mean() / theirs.abs().square().mean()) < 3e-3


def test_a_smaller_field_of_view_is_padded_and_coarse_pixels_know_less(tmp_path):
    small, coarse = noise(20, 24, seed=1), noise(20, 20, seed=2)
    particles = particles_of(tmp_path, (noise(50, 32), 2.0), (small, 2.0), (coarse, 4.0), optics=optics(90))
    store = CoefficientStore.build(particles)
    assert store.box_A == 64
    unreached = store.disc.length >= 8  # 64 Å / (2 · 4 Å)
    assert bool((store.ctf(torch.arange(70, 90))[:, unreached] == 0).all())
    assert bool((store.images(torch.arange(70, 90))[:, unreached] == 0).all())
    assert bool((store.ctf(torch.arange(70)) != 0).any(0).all())
    power = store.images(torch.arange(50, 70)).abs().square().mean()
    assert float(power) < 0.6 * store.window_power  # a field of 24² in a frame of 32²
    for group in store.noise:  # all have white noise of one level inside
        assert float(group[2:].mean()) == pytest.approx(1, abs=0.15)
        assert bool((group > 0.5).all())
