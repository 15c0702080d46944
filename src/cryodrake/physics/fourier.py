"""Centred Fourier transforms of images and volumes.

Convention: index d//2 is the origin in real space and in Fourier space, k counts cycles per box, and

    F(k) = (1/d) Σ_x f(x) exp(-2πi k·(x - d//2)/d)            for images *and* volumes.

For images this is the orthonormal transform, so white noise of variance σ² per pixel has E|F|² = σ². Volumes share the
factor 1/d (not d^-3/2), so a central slice of a volume's F is the F of its projection (the projection theorem).
"""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

_IMAGE_AXES = (-2, -1)
_VOLUME_AXES = (-3, -2, -1)


def _centred_fft(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    # ifftshift brings the centre (index d//2) to index 0, where the FFT has its origin; fftshift brings k = 0 back to d//2.
    return torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(x, axes), dim=axes), axes)


def _centred_ifft(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(x, axes), dim=axes), axes)


def image_to_coeff(images: Float[Tensor, "*b d d"]) -> Complex[Tensor, "*b d d"]:
    """Centred orthonormal 2-D transform of real images."""
    return _centred_fft(images, _IMAGE_AXES) / images.shape[-1]


def coeff_to_image(coeff: Complex[Tensor, "*b d d"]) -> Float[Tensor, "*b d d"]:
    """Inverse of `image_to_coeff`; the imaginary rest (a real image has none) is dropped."""
    return _centred_ifft(coeff, _IMAGE_AXES).real * coeff.shape[-1]


def volume_to_coeff(volume: Float[Tensor, "*r d d d"]) -> Complex[Tensor, "*r d d d"]:
    """Centred 3-D transform with factor 1/d, so that central slices are transforms of projections."""
    return _centred_fft(volume, _VOLUME_AXES) / volume.shape[-1]


def coeff_to_volume(coeff: Complex[Tensor, "*r d d d"]) -> Float[Tensor, "*r d d d"]:
    """Inverse of `volume_to_coeff`."""
    return _centred_ifft(coeff, _VOLUME_AXES).real * coeff.shape[-1]


def volume_to_half(volume: Float[Tensor, "*r d d d"]) -> Complex[Tensor, "*r d d h"]:
    """The half of `volume_to_coeff` with kx = 0 … d/2, h = d/2 + 1 of them, z and y centred as there; d is even.

    On an even axis a shift by d/2 is a change of every other sign in the other space, which is cheaper than moving all values.
    """
    sign = _signs(volume.shape[-1], volume)
    plane = (sign[:, None] * sign)[:, :, None]
    half = torch.fft.rfftn(volume * plane, dim=_VOLUME_AXES)
    return half.mul_(plane * (sign[: half.shape[-1]] / volume.shape[-1]))


def half_to_volume(half: Complex[Tensor, "*r d d h"]) -> Float[Tensor, "*r d d d"]:
    """Inverse of `volume_to_half`; values on the plane kx = 0 must be conjugate at k and -k, as those of a real volume are."""
    d = half.shape[-2]
    sign = _signs(d, half.real)
    plane = (sign[:, None] * sign)[:, :, None]
    shifted = half * (plane * (sign[: half.shape[-1]] * d))
    return torch.fft.irfftn(shifted, s=(d, d, d), dim=_VOLUME_AXES).mul_(plane)


def _signs(n: int, like: Tensor) -> Tensor:
    """1, -1, 1, …"""
    sign = like.new_ones(n)
    sign[1::2] = -1
    return sign


def centred_resize(x: Tensor, box: int, n_axes: int) -> Tensor:
    """Crop, or pad with zeros, the last `n_axes` axes to `box`, keeping index d//2 on index box//2."""
    for axis in range(-n_axes, 0):
        d = x.shape[axis]
        if box <= d:
            x = x.narrow(axis, d // 2 - box // 2, box)
        else:
            before = box // 2 - d // 2
            pad = [0, 0] * (-axis - 1) + [before, box - d - before]
            x = torch.nn.functional.pad(x, pad)
    return x


def crop_images(images: Float[Tensor, "*b d d"], box: int) -> Float[Tensor, "*b d2 d2"]:
    """Fourier-crop images to `box` pixels: same field of view in Å, pixel size × d/box.

    White noise keeps its variance per coefficient, hence per pixel: the transform is orthonormal at both sizes.
    The rows at -box/2 are set to zero: cropping leaves them without their conjugate partners.
    """
    if box == images.shape[-1]:
        return images
    coeff = centred_resize(image_to_coeff(images), box, 2).clone()
    coeff[..., 0, :] = 0
    coeff[..., :, 0] = 0
    return coeff_to_image(coeff)


def resample_volume(volume: Float[Tensor, "d d d"], box: int) -> Float[Tensor, "d2 d2 d2"]:
    """Fourier-crop or -pad a volume to `box` voxels over the same field of view, density values kept."""
    d = volume.shape[-1]
    if box == d:
        return volume
    coeff = centred_resize(volume_to_coeff(volume), box, 3).clone()
    if box < d:
        for axis in range(3):
            coeff.select(axis, 0).zero_()
    # F carries 1/d and the inverse d2: (1/d) d^3 samples against (1/d2) d2^3, so densities scale by (d2/d)^2.
    return coeff_to_volume(coeff) * (box / d) ** 2
