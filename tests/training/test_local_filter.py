"""The local filter: bands that add up, the Wiener weights of signal in noise, and detail that is kept where it is."""

import torch

from cryodrake.physics.fourier import coeff_to_volume, volume_to_coeff
from cryodrake.physics.fsc import shell_index
from cryodrake.physics.masks import sphere
from cryodrake.training.local_filter import BANDS, apply_local, band_noise, bands, filter_locally, local_weights
from cryodrake.training.solvent import apply_filter

BOX = 32
CPU = torch.device("cpu")


def noise(seed, *shape):
    return torch.randn(*shape, BOX, BOX, BOX, generator=torch.Generator().manual_seed(seed))


def whole_window(number):
    """A band's window over the whole of Fourier space."""
    position = shell_index(BOX).clamp(max=BOX // 2) / (BOX / 2 / BANDS)
    return (1 - (position - number).abs()).clamp(min=0)


def test_bands_add_up_to_one():
    torch.testing.assert_close(sum(bands(BOX, CPU)), torch.ones(BOX, BOX, BOX // 2 + 1))


def test_even_weights_are_a_filter_of_shells():
    """With one weight to a band the filter is linear between the bands' middles."""
    volume, level = noise(0), torch.rand(BANDS + 1, generator=torch.Generator().manual_seed(1))
    weights = level[:, None, None, None].expand(-1, BOX, BOX, BOX)
    shells, width = torch.arange(BOX // 2 + 1), BOX / 2 / BANDS
    below = (shells / width).long().clamp(max=BANDS - 1)
    curve = torch.lerp(level[below], level[below + 1], shells / width - below)
    torch.testing.assert_close(apply_local(volume, weights), apply_filter(volume, curve), atol=1e-4, rtol=0)


def test_noise_has_little_weight_and_signal_all():
    whole = torch.ones(BOX, BOX, BOX)
    alone, same = noise(2, 2), noise(3).expand(2, -1, -1, -1)
    assert float(local_weights(alone.mean(0), band_noise(alone, whole))[1:].mean()) < 0.35  # of two maps that share nothing
    torch.testing.assert_close(local_weights(same[0], band_noise(same, whole)), torch.ones(BANDS + 1, BOX, BOX, BOX))


def test_noise_is_half_the_difference_in_each_band():
    """By Parseval's theorem, on all of Fourier space; for white noise of unit variance half the window's power."""
    halves = noise(8, 2)
    found = band_noise(halves, torch.ones(BOX, BOX, BOX))
    power = volume_to_coeff((halves[0] - halves[1]) / 2).abs().square() / BOX**4
    windows = torch.stack([whole_window(number) for number in range(BANDS + 1)])
    torch.testing.assert_close(found, (power * windows.square()).sum((1, 2, 3)), rtol=1e-4, atol=0)
    torch.testing.assert_close(found[2:], windows[2:].square().mean((1, 2, 3)) / 2, rtol=0.1, atol=0)


def test_detail_in_one_place_is_kept_there_and_noise_elsewhere_is_not():
    """A particle that is fine on one side and smooth on the other: nearer to the truth than the best filter of shells."""
    mask = sphere(BOX, 0.42 * BOX, 3.0, CPU)
    shell = shell_index(BOX)
    right = sphere(BOX, 5.0, 2.0, CPU).roll(6, 2)
    fine = coeff_to_volume(volume_to_coeff(noise(4)) * (shell < 13))
    truth = coeff_to_volume(volume_to_coeff(noise(5)) * (shell < 4)) * 6 * mask + fine * right * 2
    halves = torch.stack([truth + level * mask for level in noise(6, 2)])
    mean = halves.mean(0)
    level = band_noise(halves, mask)
    local = apply_local(mean, local_weights(mean, level))
    torch.testing.assert_close(filter_locally(mean, level), local)
    keep = shell <= BOX // 2
    index = shell[keep]

    def shells_of(x):
        return torch.zeros(BOX // 2 + 1).index_add_(0, index, x[keep])

    seen, true = volume_to_coeff(mean), volume_to_coeff(truth)
    best = shells_of((seen * true.conj()).real) / shells_of(seen.abs().square())  # knows the truth

    def error(volume):
        return float((volume - truth).square().sum())

    assert error(local) < 0.9 * error(apply_filter(mean, best))
