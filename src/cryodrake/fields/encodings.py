"""Gaussian Fourier features of frequency: cos and sin(2π k·x_j / box) with random positions x_j ~ N(0, σ²), in px.

Each pair of features is the transform of a point at x_j, so a network that is linear in them is a map of points at the
x_j, and σ is how far out it can put density: a compact-support prior. Tancik et al. (2020, NeurIPS 33, 7537) draw random
*frequencies* of a coordinate; here the coordinate is k, so what is drawn is a position. A uniform ball of radius a has
variance a²/5 per axis, σ = 0.45 a; products of features, which the network's layers make, reach further (positions add
and subtract), so the best σ is smaller: see `SIGMA_PER_RADIUS`.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

SIGMA_PER_RADIUS = 0.3  # measured on four particles, benchmarks/fields.py


def cryodrgn_sigma_px(box: int) -> float:
    """cryoDRGN's σ: phases are (k/box)·f with f ~ N(0, 0.5²)·box/2 rad (its default feat_sigma), so 2πσ/box = 0.25 rad."""
    return 0.5 * (box / 2) / (2 * math.pi)


class GaussianFourierFeatures(nn.Module):
    """(p 3) frequencies in cycles per box to (p 2f) features, cos before sin; positions are seeded and never trained."""

    positions: Float[Tensor, "f 3"]

    def __init__(self, box: int, n_positions: int, sigma_px: float, seed: int = 0):
        super().__init__()
        self.box = box
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("positions", sigma_px * torch.randn(n_positions, 3, generator=generator))

    def forward(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p features"]:
        angle = points @ (self.positions.T * (2 * math.pi / self.box))
        return torch.cat([angle.cos(), angle.sin()], dim=1)
