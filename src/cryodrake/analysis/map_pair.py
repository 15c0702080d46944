"""Maps read with care: finite, and, where several must go together, all on one grid."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.errors import InputError
from cryodrake.io.mrc import read_map

SAME_SIZE = 1e-3  # relative: programs write voxel sizes with three to six digits


def read_finite(path: Path) -> tuple[Float[Tensor, "d d d"], float]:
    """A map and its voxel size in Å.

    Raises:
        InputError: it cannot be read, or holds values that are not finite.
    """
    volume, pixel_size_A = read_map(path)
    found = torch.from_numpy(volume)
    if not torch.isfinite(found).all():
        raise InputError("holds values that are not finite", where=path, expected="a map of numbers")
    return found, pixel_size_A


def read_pair(first: Path, second: Path) -> tuple[Float[Tensor, "d d d"], Float[Tensor, "d d d"], float]:
    """Both maps and their voxel size in Å.

    Raises:
        InputError: a file cannot be read, or the maps differ in box or voxel size.
    """
    a, pixel_size_A = read_finite(first)
    return a, read_like(second, a.shape[0], pixel_size_A, first), pixel_size_A


def read_like(path: Path, box: int, pixel_size_A: float, other: Path) -> Float[Tensor, "d d d"]:
    """The map, which must lie on the grid of another one.

    Raises:
        InputError: as `read_finite`, or it has another box or voxel size.
    """
    volume, own_A = read_finite(path)
    if volume.shape[0] != box:
        expected = f"{box} voxels, as {other}"
        raise InputError(f"has {volume.shape[0]} voxels a side", where=path, expected=expected, do="resample one of them")
    if abs(own_A / pixel_size_A - 1) > SAME_SIZE:
        do = "correct the header of the wrong one"
        raise InputError(f"has voxels of {own_A:.4f} Å", where=path, expected=f"{pixel_size_A:.4f} Å, as {other}", do=do)
    return volume


def read_mask(path: Path, box: int, pixel_size_A: float, other: Path) -> Float[Tensor, "d d d"]:
    """A mask on the same grid, with values from 0 to 1.

    Raises:
        InputError: as `read_like`, or it is empty or not a mask.
    """
    mask = read_like(path, box, pixel_size_A, other)
    low, high = float(mask.min()), float(mask.max())
    if low < -1e-3 or high > 1 + 1e-3 or high <= 0:
        do = "cryodrake mask makes one of a map"
        raise InputError(f"values from {low:.4g} to {high:.4g}", where=path, expected="a mask: values from 0 to 1", do=do)
    return mask.clamp(0, 1)
