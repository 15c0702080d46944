"""Density on a grid: atoms as Gaussians at a resolution, and maps brought to another box and pixel size.

Positions are (x, y, z) in Å from the centre of the box, which is voxel box//2. An atom of weight w is a Gaussian whose
transform falls to w/e at 1/resolution (the convention of UCSF Chimera's molmap): σ = resolution/(π√2).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.physics.fourier import centred_resize

_OVERSAMPLING = 2
_HALF_WIDTH = 5  # voxels of the oversampled grid that the spreading Gaussian reaches to each side
_CHUNK = 8192


def gaussian_density(
    positions_A: Float[Tensor, "a 3"], weights: Float[Tensor, " a"], box: int, pixel_size_A: float, resolution_A: float
) -> Float[Tensor, "d d d"]:
    """Band-limited density (weight per Å³) of Gaussian atoms: exact Fourier coefficients up to Nyquist, to about 1e-4.

    A Gaussian that is narrow against the pixel cannot be sampled in real space without aliasing. So atoms are spread
    by a wider Gaussian on a two-fold finer grid and its transform is exchanged for the wanted one in Fourier space
    (Greengard & Lee 2004, SIAM Review 46, 443, eqs 8-13). Atoms outside the box are left out.
    """
    fine = box * _OVERSAMPLING
    spread = _spread(positions_A.double() / pixel_size_A * _OVERSAMPLING + fine // 2, weights.float(), fine)
    # Real transform to save memory; the phase of the centre fine//2 is left in, and comes out again in the inverse.
    coeff = torch.fft.rfftn(spread)
    frequency = torch.fft.fftfreq(fine, dtype=torch.float64)
    spread_variance = _spread_sigma() ** 2
    wanted_variance = (resolution_A / (math.pi * math.sqrt(2)) / pixel_size_A * _OVERSAMPLING) ** 2
    filter_1d = torch.exp(-2 * math.pi**2 * frequency**2 * (wanted_variance - spread_variance)).float()
    filter_1d[frequency.abs() >= 0.5 / _OVERSAMPLING] = 0
    coeff *= filter_1d[:, None, None]
    coeff *= filter_1d[:, None]
    coeff *= filter_1d[: fine // 2 + 1]
    smooth = torch.fft.irfftn(coeff, s=(fine,) * 3)
    # Every second voxel: fine//2 is the centre box//2, and nothing is left beyond the coarse grid's Nyquist frequency.
    return smooth[::_OVERSAMPLING, ::_OVERSAMPLING, ::_OVERSAMPLING] * (_OVERSAMPLING / pixel_size_A) ** 3


def _spread_sigma() -> float:
    # Greengard & Lee eq. 10 with oversampling 2: the error of cutting equals that of aliasing.
    return math.sqrt(_HALF_WIDTH / (2 * math.pi * (1 - 0.5 / _OVERSAMPLING)))


def _spread(points: Float[Tensor, "a 3"], weights: Float[Tensor, " a"], size: int) -> Float[Tensor, "f f f"]:
    """Sum of normalised Gaussians at `points` (x, y, z in voxels) on a grid of `size` voxels."""
    padded = size + 2 * _HALF_WIDTH
    grid = torch.zeros(padded**3)
    inside = ((points >= 0) & (points <= size - 1)).all(1)
    points, weights = points[inside], weights[inside]
    offset = torch.arange(-_HALF_WIDTH, _HALF_WIDTH + 1)
    sigma = _spread_sigma()
    for start in range(0, len(points), _CHUNK):
        here = points[start : start + _CHUNK]
        nearest = here.round().long()
        distance = nearest[..., None] + offset - here[..., None]
        kernel = (torch.exp(-(distance**2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma)).float()
        x, y, z = kernel.unbind(1)
        index = nearest[..., None] + offset + _HALF_WIDTH
        flat = (index[:, 2, :, None, None] * padded + index[:, 1, None, :, None]) * padded + index[:, 0, None, None, :]
        weight = weights[start : start + _CHUNK, None, None, None]
        values = weight * z[:, :, None, None] * y[:, None, :, None] * x[:, None, None]
        grid.index_add_(0, flat.flatten(), values.flatten())
    return centred_resize(grid.view(padded, padded, padded), size, 3).contiguous()


def resample(
    volume: Float[Tensor, "d d d"],
    pixel_size_A: float,
    box: int,
    new_pixel_size_A: float,
    origin_A: Float[Tensor, " 3"] | None = None,
) -> Float[Tensor, "d2 d2 d2"]:
    """The map on another grid, by trigonometric interpolation: any ratio of pixel sizes, density values kept.

    `origin_A` is the point (x, y, z) of the old map that comes to the new centre; default its centre. Where the new
    field of view is the old one this is the Fourier crop of `physics.fourier.resample_volume`; a larger field is zero
    outside the old one, a smaller one cuts. Frequencies beyond either Nyquist frequency are left out.
    """
    d = volume.shape[-1]
    if d == box and math.isclose(pixel_size_A, new_pixel_size_A, rel_tol=1e-6) and origin_A is None:
        return volume
    origin = torch.zeros(3) if origin_A is None else origin_A
    x, y, z = (_dirichlet(d, pixel_size_A, box, new_pixel_size_A, float(o)).to(volume.dtype) for o in origin)
    return torch.einsum("ijk,ai,bj,ck->abc", volume, z, y, x)


def _dirichlet(d: int, pixel_size_A: float, box: int, new_pixel_size_A: float, origin_A: float) -> Float[Tensor, "d2 d"]:
    """One axis of the interpolation: the sum over frequencies -k … k of exp(2πi k (new - old)/field)."""
    old = (torch.arange(d, dtype=torch.float64) - d // 2) * pixel_size_A - origin_A
    new = (torch.arange(box, dtype=torch.float64) - box // 2) * new_pixel_size_A
    field_A = box * new_pixel_size_A
    k = torch.arange(1, box // 2, dtype=torch.float64)
    k = k[k < field_A / (2 * pixel_size_A) * (1 - 1e-9)]
    kernel = 1 + 2 * torch.cos(2 * math.pi * (new[:, None] - old)[..., None] / field_A * k).sum(-1)
    # What lies outside the new field would come back in at the other side.
    kernel[:, (old < -field_A / 2 - 1e-6) | (old >= field_A / 2 - 1e-6)] = 0
    return kernel * (pixel_size_A / field_A)


def centre_of_mass_px(volume: Float[Tensor, "d d d"]) -> Float[Tensor, " 3"]:
    """(x, y, z) of the centre of the density above zero, in voxels from the box's centre."""
    positive = volume.clamp(min=0).double()
    axis = torch.arange(volume.shape[-1], dtype=torch.float64) - volume.shape[-1] // 2
    along = (positive.sum((0, 1)), positive.sum((0, 2)), positive.sum((1, 2)))
    return torch.stack([(axis * profile).sum() / positive.sum().clamp(min=1e-30) for profile in along]).float()
