"""V(k; z) as cryoDRGN2 has it: one coordinate network that is told the state beside the frequency's features.

Zhong et al. (2021) ICCV, p. 4066. It is no sum of maps, as `factored` fields are, so nothing can be made once for all states. But
at one state z only adds a constant to the first layer: V(·; z) is a plain `MLPField` with another bias (`at`), which is
rasterised and saved like any other.
"""

import copy
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cryodrake.fields.base import fold
from cryodrake.fields.mlp import MLPField
from cryodrake.fields.network import CHUNK
from cryodrake.fields.state_field import AbstractStateField, Decode


def first_layer(field: MLPField) -> nn.Linear:
    """The layer that sees the features."""
    first = field.network[0]
    assert isinstance(first, nn.Linear)
    return first


@final
class ConditionedField(AbstractStateField):
    """The network of `plain`, its first layer fed (features(k), z).

    Args:
        plain: of one component; becomes part of this field, and is V at z = 0.
        seed: of the first layer's weights for z, drawn as those for the features are.

    Raises:
        ValueError: plain has several components.
    """

    def __init__(self, plain: MLPField, zdim: int, seed: int = 0):
        if plain.components != 1:
            raise ValueError(f"a field with states is one map at each of them, not {plain.components}")
        super().__init__(plain.box, plain.box_A, zdim)
        self._seed = seed
        self.plain = plain
        width, n_features = first_layer(self.plain).weight.shape
        bound = (n_features + zdim) ** -0.5  # nn.Linear's own, were features and z one input
        generator = torch.Generator().manual_seed(seed)
        # A layer of the concatenation is the sum of a layer of each.
        self.from_state = nn.Parameter(bound * (2 * torch.rand(width, zdim, generator=generator) - 1))

    @classmethod
    def cryodrgn2(cls, box: int, box_A: float, zdim: int, seed: int = 0) -> "ConditionedField":
        """The published decoder."""
        return cls(MLPField.cryodrgn2(box, box_A, seed=seed), zdim, seed)

    def forward(self, points: Float[Tensor, "b k 3"], z: Float[Tensor, "b z"]) -> Float[Tensor, "b k 2"]:
        """Values at any frequencies, for each image's own state; memory as in `AbstractNetworkField`."""
        step = max(1, CHUNK // points.shape[1])
        parts = list(zip(points.split(step), z.split(step), strict=True))
        if torch.is_grad_enabled() and len(parts) > 1:
            return torch.cat([checkpoint(self._values, *part, use_reentrant=False) for part in parts])
        return torch.cat([self._values(*part) for part in parts])

    def _values(self, points: Float[Tensor, "b k 3"], z: Float[Tensor, "b z"]) -> Float[Tensor, "b k 2"]:
        plain, (b, k, _) = self.plain, points.shape
        folded, factors = fold(points.flatten(0, 1))
        hidden = first_layer(self.plain)(plain.encoding(folded)).unflatten(0, (b, k)) + (z @ self.from_state.T)[:, None]
        rest = nn.Sequential(*list(plain.network)[1:])
        values = plain.output(rest(hidden.flatten(0, 1))) * plain.profile(folded) * factors
        return values.unflatten(0, (b, k))

    def at(self, z: Float[Tensor, " z"]) -> MLPField:
        """The field of the map at one state; shares nothing with this one."""
        field = copy.deepcopy(self.plain)
        with torch.no_grad():
            first_layer(field).bias.add_(self.from_state @ z)
        return field

    def decoder(self, box: int | None = None, box_A: float | None = None) -> Decode:
        """Each state is the whole network's work."""

        def decode(z: Float[Tensor, " z"]) -> Float[Tensor, "d d d"]:
            with torch.no_grad():
                return self.at(z).to_volume(box, box_A)[0]

        return decode

    def settings(self) -> dict[str, Any]:
        """JSON-able: with the tensors of `state_dict`, all that is needed to build the field again."""
        return {"plain": self.plain.settings(), "zdim": self.zdim, "seed": self._seed}

    @classmethod
    def of_settings(cls, settings: dict[str, Any]) -> "ConditionedField":
        """Inverse of `settings`."""
        return cls(MLPField(**settings["plain"]), settings["zdim"], settings["seed"])
