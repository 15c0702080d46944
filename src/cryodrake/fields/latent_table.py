"""States as a table with a row for each image, each moved only by its own image's gradient.

Adam on a whole table keeps moving rows by their momentum while their images are not in the batch. Here gradients are sparse and
so are the updates (`torch.optim.SparseAdam`): moments and values of all other rows stay as they are, bit for bit.
"""

from typing import final

import torch
from jaxtyping import Complex, Int64
from torch import Tensor, nn

from cryodrake.fields.latents import AbstractLatents, StatePosterior

RATE = 0.05  # Adam's steps are of this size, one an epoch: thirty can cross the prior (a standard normal)
START = 0.1  # standard deviation of the first means
START_LOG_VARIANCE = -2.0


@final
class LatentTable(AbstractLatents):
    """mean and log variance of n images."""

    def __init__(self, n: int, zdim: int, seed: int = 0):
        super().__init__(zdim)
        self.rows = nn.Embedding(n, 2 * zdim, sparse=True)
        with torch.no_grad():
            self.rows.weight[:, :zdim] = START * torch.randn(n, zdim, generator=torch.Generator().manual_seed(seed))
            self.rows.weight[:, zdim:] = START_LOG_VARIANCE

    def forward(self, rows: Int64[Tensor, " b"], images: Complex[Tensor, "b k"]) -> StatePosterior:
        """Whatever the images look like."""
        return StatePosterior(*self.rows(rows).chunk(2, dim=1))

    def optimiser(self, learning_rate: float) -> torch.optim.Optimizer:
        """Sparse, at a rate of its own: a row has one step an epoch where a network's weights have thousands."""
        return torch.optim.SparseAdam(self.parameters(), lr=RATE)
