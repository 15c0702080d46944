"""A Wiener filter that knows where in the map each scale of detail is.

The FSC says how much of a shell is signal, averaged over the map; detail is not spread evenly over a particle, and the noise of
a back-projection nearly is. So the map is cut into bands of shells, and each band weighted, voxel by voxel, by the share of its
local power that noise does not explain (after Ramlaul, Palmer & Aylett 2019, J. Struct. Biol. 205, 30).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.physics.fourier import coeff_to_volume, volume_to_coeff
from cryodrake.physics.fsc import shell_index

BANDS = 8  # of the shells up to the box's edge; neighbours overlap, and all add up to 1
SMOOTHING_PX = 1.5  # standard deviation of the Gaussian under which power is local: a band's own correlation is 2.5 px wide


def bands(box: int, device: torch.device) -> Float[Tensor, "b d d d"]:
    """Triangular windows over the shells: they add up to 1 up to the box's edge, and on from there in the last band."""
    shell = shell_index(box, device).clamp(max=box // 2) / (box / 2 / BANDS)
    return torch.stack([(1 - (shell - i).abs()).clamp(min=0) for i in range(BANDS + 1)])


def local_weights(half_maps: Float[Tensor, "2 d d d"], mask: Float[Tensor, "d d d"]) -> Float[Tensor, "b d d d"]:
    """Share of the signal in the mean of the half maps, in each band at each voxel; half their difference has its noise.

    Args:
        half_maps: unfiltered, nothing outside `mask`.
        mask: in which noise is measured.
    """
    box = mask.shape[-1]
    inside = mask > 0.5
    frequency = shell_index(box, mask.device) / box
    blur = torch.exp(-2 * (torch.pi * SMOOTHING_PX * frequency) ** 2)
    mean, difference = (volume_to_coeff(x) for x in (half_maps.mean(0), (half_maps[0] - half_maps[1]) / 2))
    weights = []
    for band in bands(box, mask.device):
        noise = coeff_to_volume(difference * band)[inside].square().mean()
        power = coeff_to_volume(volume_to_coeff(coeff_to_volume(mean * band).square()) * blur)
        weights.append((1 - noise / power.clamp(min=1e-30)).clamp(0, 1))
    return torch.stack(weights)


def apply_local(volume: Float[Tensor, "d d d"], weights: Float[Tensor, "b d d d"]) -> Float[Tensor, "d d d"]:
    """Each band of the map times its weights."""
    coeff, filtered = volume_to_coeff(volume), torch.zeros_like(volume)
    for band, weight in zip(bands(volume.shape[-1], volume.device), weights, strict=True):
        filtered += coeff_to_volume(coeff * band) * weight
    return filtered
