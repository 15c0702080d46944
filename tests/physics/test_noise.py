"""Noise spectra: white and coloured noise of known power is found, with a particle in the middle or without."""

import pytest
import torch

from cryodrake.physics.disc import Disc
from cryodrake.physics.fourier import coeff_to_image, image_to_coeff
from cryodrake.physics.masks import circular_window
from cryodrake.physics.noise import background_spectrum, residual_spectrum

BOX = 48


def amplitude(falls):
    """Amplitude at each coefficient and power per shell of noise that falls with frequency, or is white."""
    axis = torch.arange(BOX) - BOX // 2
    length = torch.sqrt(axis[:, None] ** 2 + axis**2.0)
    return (0.2 + torch.exp(-length / 12)).sqrt() if falls else torch.full((BOX, BOX), 1.3)


def noisy(n, falls):
    white = torch.randn(n, BOX, BOX, generator=torch.Generator().manual_seed(0))
    return coeff_to_image(image_to_coeff(white) * amplitude(falls))


def truth(disc, falls):
    return disc.shell_mean(disc.gather((amplitude(falls) ** 2).to(torch.complex64)).real)


@pytest.mark.parametrize("falls", [False, True])
def test_residuals(falls):
    disc = Disc.build(BOX)
    found = residual_spectrum(disc.gather(image_to_coeff(noisy(600, falls))), disc)
    torch.testing.assert_close(found[1:-1], truth(disc, falls)[1:-1], rtol=0.1, atol=0)


@pytest.mark.parametrize("falls", [False, True])
def test_the_background_tells_the_noise_under_a_strong_particle(falls):
    disc = Disc.build(BOX)
    axis = torch.arange(BOX) - BOX // 2
    particle = 20 * torch.exp(-(axis[:, None] ** 2 + axis**2) / 40.0)
    outside = 1 - circular_window(BOX, 17.0, 3.0)
    found = background_spectrum(noisy(600, falls) + particle + 5.0, outside, disc)
    # The region's own transform smears the lowest shells.
    torch.testing.assert_close(found[4:-1], truth(disc, falls)[4:-1], rtol=0.1, atol=0)
