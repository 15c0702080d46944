"""A field asked at the very points of every slice: the slow twin of rasterising it, and what cryoDRGN2 does."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.fields.base import AbstractField
from cryodrake.inference.reference import AbstractReference


@final
@dataclass(frozen=True, eq=False)
class FieldReference(AbstractReference):
    """No interpolation; the cost of a slice is that of the network at each of its points."""

    field: AbstractField
    limit: float

    @property
    def radius(self) -> float:
        return self.limit

    def slices(self, rotations: Float[Tensor, "q 3 3"], kxy: Float[Tensor, "k 2"]) -> Float[Tensor, "q k c"]:
        """The field at Rᵀ(kx, ky, 0), without its gradient."""
        points = torch.nn.functional.pad(kxy, (0, 1)) @ rotations
        with torch.no_grad():
            return self.field(points.flatten(0, 1)).unflatten(0, points.shape[:2])
