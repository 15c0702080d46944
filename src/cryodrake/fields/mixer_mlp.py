"""Coefficients from a small network: states on a curved sheet of the space that the components span."""

from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cryodrake.fields.mixer import AbstractMixer


@final
class MLPMixer(AbstractMixer):
    """a = (1, W₂ silu(W₁ z + b₁) + b₂): with few coordinates, more components than a linear subspace of z would have.

    Args:
        width: of the hidden layer.
        seed: of its weights.

    Raises:
        ValueError: components < 2: nothing would depend on z.
    """

    def __init__(self, zdim: int, components: int, width: int = 64, seed: int = 0):
        if components < 2:
            raise ValueError(f"components must be 2 or more, got {components}")
        super().__init__(zdim, components)
        self._settings = {"width": width, "seed": seed}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = nn.Sequential(nn.Linear(zdim, width), nn.SiLU(), nn.Linear(width, components - 1))

    def forward(self, z: Float[Tensor, "b z"]) -> Float[Tensor, "b r"]:
        return torch.cat([torch.ones_like(z[:, :1]), self.network(z)], dim=1)

    def settings(self) -> dict[str, Any]:
        return {"zdim": self.zdim, "components": self.components, **self._settings}
