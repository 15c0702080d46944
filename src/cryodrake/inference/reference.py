"""A map made ready for slicing: Fourier-cropped to what a radius needs, gridding-corrected, on an oversampled half ball."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.fields.base import AbstractField
from cryodrake.fields.raster import rasterise
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.fourier import centred_resize, coeff_to_volume, volume_to_coeff
from cryodrake.physics.slices import raster, slice_ball


def box_for_radius(radius: float, box: int) -> int:
    """Smallest convenient even box that holds frequencies up to `radius`, at most `box`."""
    return min(box, 2 * (math.ceil(radius) + 1))


def in_box(volume: Float[Tensor, "d d d"], box: int) -> Float[Tensor, "d2 d2 d2"]:
    """Fourier-crop or pad to `box`, keeping the *coefficients* (in the 1/d convention), not the density values."""
    if box == volume.shape[-1]:
        return volume
    return coeff_to_volume(centred_resize(volume_to_coeff(volume), box, 3))


class AbstractReference(ABC):
    """What a search compares images with: slices of one map."""

    @property
    @abstractmethod
    def radius(self) -> float:
        """Frequency up to which there are slices, cycles per box."""

    @abstractmethod
    def slices(self, rotations: Float[Tensor, "q 3 3"], kxy: Float[Tensor, "k 2"]) -> Float[Tensor, "q k c"]:
        """Central slices at frequencies up to the radius."""


@final
@dataclass(frozen=True, eq=False)
class Reference(AbstractReference):
    """Slices of one map up to `grid.radius` cycles per box."""

    ball: Float[Tensor, "v c"]
    grid: BallGrid

    @classmethod
    def build(cls, volume: Float[Tensor, "d d d"], radius: float) -> "Reference":
        box = box_for_radius(radius, volume.shape[-1])
        grid = BallGrid(box, radius)
        return cls(raster(in_box(volume, box), grid), grid)

    @classmethod
    def of_field(cls, field: AbstractField, radius: float) -> "Reference":
        """The field's map, without its gradient."""
        grid = BallGrid(box_for_radius(radius, field.box), radius)
        with torch.no_grad():
            return cls(rasterise(field, grid), grid)

    @property
    def radius(self) -> float:
        return self.grid.radius

    def slices(self, rotations: Float[Tensor, "q 3 3"], kxy: Float[Tensor, "k 2"]) -> Float[Tensor, "q k c"]:
        """Central slices at frequencies up to the reference's radius."""
        return slice_ball(self.ball, self.grid, rotations, kxy)
