"""Radial amplitude of a map: a field's network answers with unit variance in every shell, and this gives it its size.

A map's amplitude falls by 10³ from the centre of Fourier space to Nyquist; without it, the loss is decided by the first few shells.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class RadialProfile(nn.Module):
    """Amplitude per shell, linear between shells, zero beyond half a shell past the last."""

    amplitude: Float[Tensor, " s"]

    def __init__(self, n_shells: int):
        super().__init__()
        self.register_buffer("amplitude", torch.ones(n_shells))

    def forward(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p 1"]:
        length = points.norm(dim=1)
        last = self.amplitude.shape[0] - 1
        lower = length.floor().long().clamp(max=max(last - 1, 0))
        between = torch.lerp(self.amplitude[lower], self.amplitude[(lower + 1).clamp(max=last)], (length - lower).clamp(max=1))
        return torch.where(length <= last + 0.5, between, 0.0)[:, None]
