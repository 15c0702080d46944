"""A soft mask around a map's density, and how much of a molecule the density is.

The map is low-passed, the level chosen, small islands dropped, the rest grown and given a soft edge. Volume and mass are those of
the low-passed density above the level. A protein of partial specific volume 0.73 cm³/g takes 1.212 Å³ a dalton, which is 0.825
Da/Å³ (Erickson 2009, Biol. Proced. Online 11, 32, eq. 2.1); nucleic acid is denser, so of a ribosome it is an underestimate.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.analysis.figures_surface import contour_level, without_dust
from cryodrake.errors import InputError
from cryodrake.physics.masks import around
from cryodrake.training.solvent import apply_filter

PROTEIN_A3_PER_DA = 1.212
EDGE_SHELLS = 4  # over which the low-pass filter falls


@dataclass(frozen=True, eq=False)
class MapMask:
    """Attributes:
    mask: 0 to 1.
    level: of the low-passed map.
    volume_A3: above the level.
    mass_kDa: of that volume, were all of it protein.
    share: of the box that the mask takes, soft edge counted by its values.
    """

    mask: Float[Tensor, "d d d"]
    level: float
    volume_A3: float
    mass_kDa: float
    share: float


def mask_of_map(
    volume: Float[Tensor, "d d d"],
    pixel_size_A: float,
    lowpass_A: float,
    extend_px: float,
    edge_px: float,
    level: float | None = None,
    mass_kDa: float | None = None,
) -> MapMask:
    """The mask at a level: the given one, that which encloses a given mass, or Otsu's between particle and surroundings.

    Raises:
        InputError: nothing, or everything, is above the level.
    """
    smooth = low_passed(volume, pixel_size_A, lowpass_A)
    if level is None:
        level = contour_level(smooth) if mass_kDa is None else level_of_mass(smooth, pixel_size_A, mass_kDa)
    inside = without_dust(smooth, level) > level
    voxels = int(inside.sum())
    if voxels in (0, inside.numel()):
        what = f"{'nothing' if voxels == 0 else 'everything'} in the low-passed map is above {level:.4g}"
        raise InputError(what, where="--level", expected=f"between {float(smooth.min()):.4g} and {float(smooth.max()):.4g}")
    mask = around(inside.float(), 0.5, extend_px, edge_px)
    volume_A3 = voxels * pixel_size_A**3
    return MapMask(mask, level, volume_A3, volume_A3 / PROTEIN_A3_PER_DA / 1000, float(mask.mean()))


def low_passed(volume: Float[Tensor, "d d d"], pixel_size_A: float, lowpass_A: float) -> Float[Tensor, "d d d"]:
    """Without what is finer than `lowpass_A`: a raised cosine over a few shells, half way down at that resolution."""
    box = volume.shape[0]
    shell = torch.arange(box // 2 + 1, dtype=volume.dtype)
    ramp = ((shell - box * pixel_size_A / lowpass_A) / EDGE_SHELLS + 0.5).clamp(0, 1)
    return apply_filter(volume, 0.5 * (1 + torch.cos(torch.pi * ramp)))


def level_of_mass(volume: Float[Tensor, "d d d"], pixel_size_A: float, mass_kDa: float) -> float:
    """The level above which there is the volume of a protein of this mass.

    Raises:
        InputError: the box is smaller than that.
    """
    voxels = round(mass_kDa * 1000 * PROTEIN_A3_PER_DA / pixel_size_A**3)
    if voxels >= volume.numel():
        largest = volume.numel() * pixel_size_A**3 / PROTEIN_A3_PER_DA / 1000
        raise InputError(f"{mass_kDa:g} kDa do not fit into the box", where="--mass-kDa", expected=f"less than {largest:,.0f}")
    return float(volume.flatten().kthvalue(volume.numel() - voxels).values)
