"""The data set as the searches see it: coefficients weighted by the CTF, the current noise spectrum and each image's scale."""

from dataclasses import dataclass
from typing import final

from jaxtyping import Complex, Float, Int64
from torch import Tensor

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.disc import Disc


@final
@dataclass(frozen=True, eq=False)
class WeightedImages(AbstractImages):
    """Images of a store with noise (g s) and scale (n,) as they are estimated at the moment."""

    store: CoefficientStore
    noise: Float[Tensor, "g s"]
    scale: Float[Tensor, " n"]

    @property
    def disc(self) -> Disc:  # type: ignore[override]
        return self.store.disc

    def matched(self, rows: Int64[Tensor, " b"], k: int) -> tuple[Complex[Tensor, "b k"], Float[Tensor, "b k"]]:
        """s·C·Y/σ² and (s·C)²/σ²."""
        matched, weight = self.store.matched(rows, k, self.noise)
        scale = self.scale[rows][:, None]
        return matched * scale, weight * scale**2
