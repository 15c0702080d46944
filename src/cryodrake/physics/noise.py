"""Noise spectra: variance σ²(|k|) of the complex coefficients, per optics group and shell.

The first estimate comes from the corners outside the particle's circle, where there is no signal; later ones from the
residuals against the model (Scheres 2012, J. Mol. Biol. 415, 406, eq. 8).
"""

from jaxtyping import Complex, Float
from torch import Tensor

from cryodrake.physics.disc import Disc
from cryodrake.physics.fourier import image_to_coeff


def background_spectrum(images: Float[Tensor, "b d d"], outside: Float[Tensor, "d d"], disc: Disc) -> Float[Tensor, " s"]:
    """Mean shell spectrum of the images' region where `outside` (0…1) is 1: signal-free there, so it is noise alone.

    The region is a part of the box; its spectrum is that of the noise smoothed over the region's own transform, scaled by the
    mean of outside². Means are taken off first.
    """
    weight = outside / outside.sum()
    centred = (images - (images * weight).sum((-2, -1), keepdim=True)) * outside
    power = disc.gather(image_to_coeff(centred)).abs() ** 2
    return disc.shell_mean(power.mean(0)) / (outside**2).mean()


def residual_spectrum(residual: Complex[Tensor, "b k"], disc: Disc) -> Float[Tensor, " s"]:
    """Mean |residual|² per shell."""
    return disc.shell_mean((residual.abs() ** 2).mean(0))
