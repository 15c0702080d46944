"""Classes that are states or parts of one structure.

A complex that comes apart gives images that fit the whole badly, and a class of their own (`training.mixture`). Yet what is left
of it is better known from all images than from those few, and states hold it: such classes belong together. They are told by their
maps: one is aligned to the other, in either hand. Maps of unrelated particles agree as well in the wrong hand as in the right
one, because what they share is a shape at low resolution; of one structure the right hand stands out (docs/log.md).
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from skimage.filters import threshold_otsu
from torch import Tensor

from cryodrake.inference.alignment import align, move
from cryodrake.physics.masks import around, sphere
from cryodrake.training.mixture import Mixture
from cryodrake.training.solvent import EDGE, GROWN

Structure = dict[int, Float[Tensor, "d d d"]]  # classes of a structure, each with its map in the frame of the first
STANDS_OUT = 0.1  # in mean FSC: half of a structure and more 0.12 to 0.43, unrelated maps below 0.06 (docs/log.md)


def placed(part: Float[Tensor, "d d d"], whole: Float[Tensor, "d d d"]) -> Float[Tensor, "d d d"] | None:
    """The map, of any pose and hand, where it belongs in that of the whole; None where they are of different structures."""
    found = align(whole.cpu(), part.cpu())
    if found.score - found.other_score < STANDS_OUT:
        return None
    return move(part.cpu(), found).to(part.device)


def structures_of(mixture: Mixture) -> list[Structure]:
    """Of all classes, in their order."""
    structures: list[Structure] = []
    for c, volume in enumerate(mixture.maps):
        for structure in structures:
            there = placed(volume, next(iter(structure.values())))
            if there is not None:
                structure[c] = there
                break
        else:
            structures.append({c: volume})
    return structures


def joined(mixture: Mixture, structures: list[Structure]) -> Mixture:
    """One class for each structure, with its first class's map."""
    posterior = torch.stack([mixture.posterior[:, list(classes)].sum(1) for classes in structures], 1)
    return replace(mixture, maps=torch.stack([next(iter(classes.values())) for classes in structures]), posterior=posterior)


def region(part: Float[Tensor, "d d d"], particle_radius_px: float) -> Float[Tensor, "d d d"]:
    """Soft mask around the density of a part."""
    box = part.shape[-1]
    inside = sphere(box, particle_radius_px, 0.0, part.device) > 0.5
    return around(part, float(threshold_otsu(part[inside].cpu().numpy())), GROWN * box, EDGE * box)
