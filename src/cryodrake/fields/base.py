"""The interface of every field: V at any frequency, and as a map of any box.

Points are (kx, ky, kz) in cycles per the field's own box (`box_A` Å wide); values follow the 1/d convention of
`cryodrake.physics.fourier` for `box` voxels. So they are the coefficients of that box's images, and of images
Fourier-cropped or -padded from them, which keep their coefficients. A map is real: V(-k) is the conjugate of V(k), and
only the half space kx > 0 (then ky > 0, then kz > 0) is computed, as in cryoDRGN (Zhong et al. 2021, Nat. Methods 18, 176).
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cryodrake.fields.lattice import half_lattice, scatter
from cryodrake.physics.fourier import coeff_to_volume


def fold(points: Float[Tensor, "p 3"]) -> tuple[Float[Tensor, "p 3"], Float[Tensor, "p 2"]]:
    """The points of the half space with the same values or their conjugates, and the factors of (re, im) that make them so."""
    x, y, z = points.unbind(1)
    mate = (x < 0) | ((x == 0) & ((y < 0) | ((y == 0) & (z < 0))))
    sign = torch.where(mate, -1.0, 1.0)
    # V(0) is the map's mean: real, whatever a network says.
    imaginary = torch.where((points == 0).all(1), 0.0, sign)
    return points * sign[:, None], torch.stack([torch.ones_like(sign), imaginary], dim=1)


class AbstractField(nn.Module, ABC):
    """V(k) with r components: r = 1 is a map, more are the B_r of V(k; z) = Σ_r a_r(z) B_r(k).

    Attributes:
        box: voxels of the reference box.
        box_A: its width in Å.
        components: r.
        band: radius in cycles per box up to which the field means anything; maps are zero beyond it.
    """

    band: float

    def __init__(self, box: int, box_A: float, components: int = 1):
        super().__init__()
        self.box = box
        self.box_A = float(box_A)
        self.components = components

    @property
    def device(self) -> torch.device:
        """Where the field's tensors are."""
        return next(iter(self.state_dict().values())).device

    def forward(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p c"]:
        """Values at any frequencies; c = 2r columns (re₁, im₁, re₂, im₂, …)."""
        folded, factors = fold(points)
        return self.half_space(folded) * factors.repeat(1, self.components)

    @abstractmethod
    def half_space(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p c"]:
        """Values at any points with kx >= 0."""

    @abstractmethod
    def coefficients(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p c"]:
        """Values at integer points with kx >= 0, exact where `half_space` interpolates."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """JSON-able constructor arguments: with the tensors of `state_dict`, all that is needed to build the field again."""

    def to_volume(self, box: int | None = None, box_A: float | None = None) -> Float[Tensor, "r d d d"]:
        """Maps of `box` voxels, `box_A` Å wide (default: the reference box's). Densities do not depend on the sampling.

        F = (1/d) Σ f(x) is (1/d)(d/box_A)³ times the integral of the density, hence the factor.
        """
        box, box_A = box or self.box, box_A or self.box_A
        wider = box_A / self.box_A
        points = half_lattice(box, self.band * wider, self.device)
        values = self.coefficients(points) if wider == 1 else self.half_space(points / wider)
        scale = (box / self.box) ** 2 / wider**3
        return coeff_to_volume(scatter(values, points, box)) * scale
