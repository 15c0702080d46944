"""From a state z to the coefficients a_r(z) of V(k; z) = Σ_r a_r(z) B_r(k); the affine kind, which has no parameters.

The first coefficient is always 1, so B_1 is the map at the origin of the states' space, or the mean map.
"""

from abc import ABC, abstractmethod
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn


class AbstractMixer(nn.Module, ABC):
    """a(z): z coordinates to r coefficients.

    Attributes:
        zdim: z.
        components: r.
    """

    def __init__(self, zdim: int, components: int):
        super().__init__()
        self.zdim = zdim
        self.components = components

    @abstractmethod
    def forward(self, z: Float[Tensor, "b z"]) -> Float[Tensor, "b r"]:
        """Coefficients, the first one 1."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """JSON-able constructor arguments."""


@final
class AffineMixer(AbstractMixer):
    """a = (1, z): V is the mean map plus z_j times mode j, r = z + 1; what a linear subspace of maps is."""

    def __init__(self, zdim: int):
        super().__init__(zdim, zdim + 1)

    def forward(self, z: Float[Tensor, "b z"]) -> Float[Tensor, "b r"]:
        return torch.cat([torch.ones_like(z[:, :1]), z], dim=1)

    def settings(self) -> dict[str, Any]:
        return {"zdim": self.zdim}
