"""What the searches need of a data set."""

from abc import ABC, abstractmethod

from jaxtyping import Complex, Float, Int64
from torch import Tensor

from cryodrake.physics.disc import Disc


class AbstractImages(ABC):
    """Images as half-disc coefficients, with their CTF and noise."""

    disc: Disc

    @abstractmethod
    def matched(self, rows: Int64[Tensor, " b"], k: int) -> tuple[Complex[Tensor, "b k"], Float[Tensor, "b k"]]:
        """C·s·Y/σ² and (C·s)²/σ² of these images at the first k points of `disc`."""
