"""What all neural fields share: a network of unit variance times the map's radial amplitude, evaluated in chunks."""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from cryodrake.fields.base import AbstractField
from cryodrake.fields.profile import RadialProfile

CHUNK = 1 << 14  # points at once: 64 MiB of features for 512 positions


class AbstractNetworkField(AbstractField):
    """V(k) = profile(|k|) · whitened(k), component by component."""

    def __init__(self, box: int, box_A: float, components: int = 1):
        super().__init__(box, box_A, components)
        self.band = box / 2 + 0.5
        self.profile = RadialProfile(box // 2 + 1, components)

    @abstractmethod
    def whitened(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p c"]:
        """The network's own answer, about unit variance in every shell: what is trained."""

    def half_space(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p c"]:
        """Memory is that of one chunk; with gradients, each chunk is computed again in the backward pass."""
        if len(points) <= CHUNK:
            return self._chunk(points)
        if torch.is_grad_enabled():
            return torch.cat([checkpoint(self._chunk, part, use_reentrant=False) for part in points.split(CHUNK)])
        return torch.cat([self._chunk(part) for part in points.split(CHUNK)])

    def coefficients(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p c"]:
        return self.half_space(points)

    def _chunk(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p c"]:
        return self.whitened(points).float() * self.profile(points)
