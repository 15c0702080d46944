"""Whether images hold a structure at all, told by a decoy of its map: one that looks alike and is the map of nothing.

Even noise finds a pose at which it seems to hold some of a map, and images that a map was made from seem to hold it. What noise,
ice or another particle holds of a map by chance it holds of a decoy as well: of such images the gain, the score by the map less
that by the decoy, is as often below zero as above, and how far up chance goes is seen from how far down it does. This is the
knockoff filter (Barber & Candès 2015, Ann. Stat. 43, 2055).
"""

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cryodrake.inference.alignment import FourierSampler, lattice
from cryodrake.physics.fourier import coeff_to_volume

TWIST_RAD = 0.3  # for each factor e in |k|: no pose fits more than a few shells at once, and density moves by 0.05 of the box only;
# where it moves further, images of other complexes hold less of a decoy than of the map (docs/log.md)
AXIS = (0.27, 0.53, 0.8)  # of no symmetry
FALSE_SHARE = 0.1  # of the images that are said to hold the structure


def decoy(volume: Float[Tensor, "d d d"]) -> Float[Tensor, "d d d"]:
    """The map with each shell turned a little further than the one before: the same power, envelope and shape at low resolution."""
    k, inside = lattice(volume.shape[-1])
    k = k[inside].to(volume.device)
    axis = torch.nn.functional.normalize(torch.tensor(AXIS, device=k.device), dim=0)
    turn = roma.rotvec_to_rotmat(TWIST_RAD * k.norm(dim=1, keepdim=True).clamp(min=1).log() * axis)
    coeff = torch.zeros(volume.shape, dtype=torch.complex64, device=k.device)
    coeff[inside.to(k.device)] = FourierSampler(volume, volume.shape[-1] / 2)(torch.einsum("pij,pj->pi", turn, k))
    return coeff_to_volume(coeff)


def hold(gain: Float[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Images that hold the structure, of which FALSE_SHARE do not; none where chance explains all gains.

    Above the least threshold t for which 1 + the number of gains below -t is at most that share of the number above t.
    """
    tried = gain.abs().sort().values
    above = len(gain) - torch.searchsorted(gain.sort().values, tried)
    below = 1 + torch.searchsorted(gain.sort().values, -tried, right=True)
    enough = torch.nonzero(below <= FALSE_SHARE * above).squeeze(1)
    return gain >= tried[enough[0]] if len(enough) else torch.zeros_like(gain, dtype=torch.bool)
