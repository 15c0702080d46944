"""What of a map is particle: masks, and what they do to half maps' agreement.

Noise fills the whole box, the particle a small part of it. A reference without the solvent's noise gives poses that are
less wrong, so references are masked by the particle's own shape, which is found anew from unmasked half maps every time.
"""

import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from cryodrake.physics.fourier import coeff_to_volume, volume_to_coeff
from cryodrake.physics.fsc import shell_index
from cryodrake.physics.masks import around, sphere

SMOOTHING = 1.5 / 64  # of the box: standard deviation of the Gaussian under which density is compared with noise
SIGNIFICANT = 5.0  # standard deviations of the smoothed noise
GROWN = 2.0 / 64  # of the box, beyond the significant density
EDGE = 3.0 / 64  # of the box: the raised cosine around it all
ISLAND = 0.05  # of the largest piece: smaller ones are noise
LEAST = 0.02  # of the sphere: less than that is no particle


def solvent_mask(box: int, particle_radius_px: float, device: torch.device) -> Float[Tensor, "d d d"]:
    """The sphere that surely holds the particle."""
    return sphere(box, particle_radius_px, EDGE * box, device)


def flatten_solvent(volume: Float[Tensor, "d d d"], mask: Float[Tensor, "d d d"]) -> Float[Tensor, "d d d"]:
    """The mean outside the mask, which images do not tell, set to zero, and the outside removed."""
    outside = 1 - mask
    return (volume - (volume * outside).sum() / outside.sum().clamp(min=1)) * mask


def apply_filter(volume: Float[Tensor, "d d d"], curve: Float[Tensor, " s"]) -> Float[Tensor, "d d d"]:
    """Multiply each shell by curve[shell]: with an FSC, the Wiener filter of a half map."""
    box = volume.shape[-1]
    shell = shell_index(box, volume.device).clamp(max=box // 2)
    return coeff_to_volume(volume_to_coeff(volume) * curve[shell])


def particle_mask(
    half_maps: Float[Tensor, "2 d d d"], curve: Float[Tensor, " s"], within: Float[Tensor, "d d d"]
) -> Float[Tensor, "d d d"]:
    """Soft mask around density that stands out from the noise, inside the mask `within`, which it is where nothing stands out.

    Both maps are filtered by their FSC `curve` and smoothed; half their difference has the noise of their mean.
    """
    box = half_maps.shape[-1]
    shell = torch.arange(len(curve), device=curve.device)
    smooth = torch.exp(-2 * (torch.pi * SMOOTHING * shell) ** 2) * curve.clamp(min=0)
    first, second = (apply_filter(flatten_solvent(volume, within), smooth) for volume in half_maps)
    inside = within > 0.5
    noise = float(((first - second) / 2)[inside].std())
    density = torch.where(inside, (first + second) / 2, torch.zeros_like(first))
    pieces, n_pieces = ndimage.label((density > SIGNIFICANT * noise).cpu().numpy())
    size = torch.bincount(torch.from_numpy(pieces).long().flatten(), minlength=n_pieces + 1)
    size[0] = 0
    if int(size.sum()) < LEAST * float(inside.sum()):
        return within
    kept = (size > ISLAND * size.max())[torch.from_numpy(pieces).long()].to(within.device)
    return around(kept.float(), 0.5, GROWN * box, EDGE * box) * within


def fsc_of_part(curve: Float[Tensor, " s"], share: float) -> Float[Tensor, " s"]:
    """FSC of half maps inside a mask, from their FSC in a larger one of which the mask is the `share`.

    The noise inside is that share of the noise, the signal all of it: FSC/(1-FSC) grows by 1/share. No edge of a mask that both
    maps wear is in it.
    """
    signal = curve.clamp(0, 1 - 1e-6) / (1 - curve.clamp(0, 1 - 1e-6)) / share
    return signal / (1 + signal)
