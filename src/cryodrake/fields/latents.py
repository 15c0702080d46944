"""Where images' states come from while a field is trained: the interface, and the Gaussian that it answers with."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class StatePosterior:
    """q(z) of each image: a Gaussian with independent coordinates."""

    mean: Float[Tensor, "b z"]
    log_variance: Float[Tensor, "b z"]

    def sample(self, noise: Float[Tensor, "b z"]) -> Float[Tensor, "b z"]:
        """mean + σ·noise: with standard normal noise a sample, differentiable in both (Kingma & Welling 2014, §2.4)."""
        return self.mean + torch.exp(0.5 * self.log_variance) * noise

    def divergence(self) -> Float[Tensor, " b"]:
        """KL(q ‖ N(0, 1)) = ½ Σ (μ² + σ² - 1 - log σ²), never negative (Kingma & Welling 2014, appendix B)."""
        return 0.5 * (self.mean**2 + self.log_variance.exp() - 1 - self.log_variance).sum(1)


class AbstractLatents(nn.Module, ABC):
    """Attributes:
    zdim: coordinates of a state.
    """

    def __init__(self, zdim: int):
        super().__init__()
        self.zdim = zdim

    @abstractmethod
    def forward(self, rows: Int64[Tensor, " b"], images: Complex[Tensor, "b k"]) -> StatePosterior:
        """Of these images, given their rows in the data set and their phase-flipped half discs."""

    @abstractmethod
    def optimiser(self, learning_rate: float) -> torch.optim.Optimizer:
        """The optimiser that these parameters need, where the field is trained at `learning_rate`."""
