"""Radial amplitude of a map: a field's network answers with unit variance in every shell, and this gives it its size.

A map's amplitude falls by 10³ from the centre of Fourier space to Nyquist; without it, the loss is decided by the first few shells.
Likewise a mean map and the modes about it: each component has its own.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class RadialProfile(nn.Module):
    """Amplitude per shell, linear between shells, zero beyond half a shell past the last; (s) for one component, else (r s)."""

    amplitude: Float[Tensor, "*r s"]

    def __init__(self, n_shells: int, components: int = 1):
        super().__init__()
        self.register_buffer("amplitude", torch.ones(n_shells) if components == 1 else torch.ones(components, n_shells))

    def forward(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p c"]:
        """One column for one component, else each component's twice, for re and im."""
        length = points.norm(dim=1)
        last = self.amplitude.shape[-1] - 1
        lower = length.floor().long().clamp(max=max(last - 1, 0))
        upper = (lower + 1).clamp(max=last)
        between = torch.lerp(self.amplitude[..., lower], self.amplitude[..., upper], (length - lower).clamp(max=1))
        inside = torch.where(length <= last + 0.5, between, 0.0)
        return inside[:, None] if inside.ndim == 1 else inside.T.repeat_interleave(2, dim=1)
