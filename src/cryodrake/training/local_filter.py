"""A Wiener filter that knows where in a map each scale of detail is.

The FSC says how much of a shell is signal, averaged over the map; detail is not spread evenly over a particle, still less what
changes between its states, and the noise of a back-projection nearly is. So the map is cut into bands of shells, and each band
weighted, voxel by voxel, by the share of its local power that noise does not explain (after Ramlaul, Palmer & Aylett 2019,
J. Struct. Biol. 205, 30).
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.physics.fourier import half_to_volume, volume_to_half
from cryodrake.physics.fsc import shell_index

BANDS = 8  # of the shells up to the box's edge; neighbours overlap, and all add up to 1
SMOOTHING_PX = 1.5  # standard deviation of the Gaussian under which power is local: a band's own correlation is 2.5 px wide


def bands(box: int, device: torch.device) -> Iterator[Float[Tensor, "d d h"]]:
    """Triangular windows over the shells: they add up to 1 up to the box's edge, and on from there in the last band."""
    shell = half_shells(box, device).clamp(max=box // 2) / (box / 2 / BANDS)
    return ((1 - (shell - i).abs()).clamp(min=0) for i in range(BANDS + 1))


def band_noise(half_maps: Float[Tensor, "2 d d d"], mask: Float[Tensor, "d d d"]) -> Float[Tensor, " b"]:
    """Variance of the noise in the mean of two half maps, in each band: half their difference has it.

    Args:
        half_maps: unfiltered, nothing outside `mask`.
        mask: in which noise is measured.
    """
    inside = mask > 0.5
    difference = (half_maps[0] - half_maps[1]) / 2
    return torch.stack([band[inside].square().mean() for band in _split(difference)])


def local_weights(volume: Float[Tensor, "d d d"], noise: Float[Tensor, " b"]) -> Float[Tensor, "b d d d"]:
    """Share of the signal in the map, in each band at each voxel."""
    return torch.stack([weight for _, weight in _weighted(volume, noise)])


def apply_local(volume: Float[Tensor, "d d d"], weights: Float[Tensor, "b d d d"]) -> Float[Tensor, "d d d"]:
    """Each band of the map times its weights."""
    filtered = torch.zeros_like(volume)
    for band, weight in zip(_split(volume), weights, strict=True):
        filtered += band * weight
    return filtered


def filter_locally(volume: Float[Tensor, "d d d"], noise: Float[Tensor, " b"]) -> Float[Tensor, "d d d"]:
    """`apply_local` with the map's own `local_weights`, band by band: none of them is kept."""
    filtered = torch.zeros_like(volume)
    for band, weight in _weighted(volume, noise):
        filtered += band * weight
    return filtered


def _weighted(
    volume: Float[Tensor, "d d d"], noise: Float[Tensor, " b"]
) -> Iterator[tuple[Float[Tensor, "d d d"], Float[Tensor, "d d d"]]]:
    """Each band and its weights."""
    box = volume.shape[-1]
    blur = torch.exp(-2 * (torch.pi * SMOOTHING_PX * half_shells(box, volume.device) / box) ** 2)
    for band, level in zip(_split(volume), noise, strict=True):
        power = half_to_volume(volume_to_half(band.square()) * blur)
        yield band, (1 - level / power.clamp(min=1e-30)).clamp(0, 1)


def _split(volume: Float[Tensor, "d d d"]) -> Iterator[Float[Tensor, "d d d"]]:
    """The map band by band."""
    half = volume_to_half(volume)
    return (half_to_volume(half * window) for window in bands(volume.shape[-1], volume.device))


def half_shells(box: int, device: torch.device) -> Float[Tensor, "d d h"]:
    """Shells of `volume_to_half`."""
    shell = shell_index(box, device)
    return torch.cat([shell[..., box // 2 :], shell[..., :1]], 2).float()
