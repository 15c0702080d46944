"""Classes that are states or parts of one structure.

A complex that comes apart gives images that fit the whole badly, and a class of their own (`training.mixture`). Yet what is left
of it is better known from all images than from those few, and states hold it: such classes belong together. They are told by their
maps (`training.likeness`).
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from skimage.filters import threshold_otsu
from torch import Tensor

from cryodrake.physics.masks import around, sphere
from cryodrake.training.likeness import placed
from cryodrake.training.mixture import Mixture
from cryodrake.training.solvent import EDGE, GROWN

Structure = dict[int, Float[Tensor, "d d d"]]  # classes of a structure, each with its map in the frame of the first


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
