"""Amortised states: a network that reads an image's state from the image (the encoder of a VAE, Kingma & Welling 2014)."""

from typing import final

import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor, nn

from cryodrake.fields.latents import AbstractLatents, StatePosterior
from cryodrake.fields.mlp import ResidualLayer


@final
class LatentEncoder(AbstractLatents):
    """(re, im) of k half-disc points -> linear, relu -> `depth` residual layers of `width` -> mean and log variance.

    cryoDRGN2's: 3 × 256 on phase-flipped images. The half disc is all of an image that the decoder is compared with, so the
    encoder is shown the same and nothing else.
    """

    def __init__(self, n_points: int, zdim: int, width: int = 256, depth: int = 3, seed: int = 0):
        super().__init__(zdim)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers: list[nn.Module] = [nn.Linear(2 * n_points, width), nn.ReLU()]
            layers += [ResidualLayer(width) for _ in range(depth)]
            self.network = nn.Sequential(*layers, nn.Linear(width, 2 * zdim))

    def forward(self, rows: Int64[Tensor, " b"], images: Complex[Tensor, "b k"]) -> StatePosterior:
        """From the images alone."""
        columns: Float[Tensor, "b k2"] = torch.view_as_real(images).flatten(1)
        return StatePosterior(*self.network(columns).chunk(2, dim=1))

    def optimiser(self, learning_rate: float) -> torch.optim.Optimizer:
        """Adam at the field's rate: both are networks."""
        return torch.optim.Adam(self.parameters(), lr=learning_rate)
