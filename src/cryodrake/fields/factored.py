"""V(k; z) = Σ_r a_r(z) B_r(k): a field that depends on a state z, of r maps that do not.

The B_r are evaluated and rasterised once for all images and states (`raster.rasterise(field.basis, …)`); a state only mixes
what is there. Modes U_j about a mean μ (r = z + 1, a = (1, z)) are the affine case (Tagare et al. 2015, J. Struct. Biol. 191, 245).
"""

from collections.abc import Iterator
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cryodrake.fields.base import AbstractField
from cryodrake.fields.mixer import AbstractMixer


@final
class FactoredField(nn.Module):
    """B_r as a field of r components, and the mixer a(z).

    Raises:
        ValueError: the two do not have the same r.
    """

    def __init__(self, basis: AbstractField, mixer: AbstractMixer):
        super().__init__()
        if basis.components != mixer.components:
            raise ValueError(f"the basis has {basis.components} components, the mixer {mixer.components}")
        self.basis = basis
        self.mixer = mixer

    @property
    def zdim(self) -> int:
        """Coordinates of a state."""
        return self.mixer.zdim

    def coefficients(self, z: Float[Tensor, "b z"]) -> Float[Tensor, "b r"]:
        """a(z), the first one 1."""
        return self.mixer(z)

    def to_volume(self, z: Float[Tensor, "b z"], box: int | None = None, box_A: float | None = None) -> Float[Tensor, "b d d d"]:
        """Maps of these states, of `box` voxels and `box_A` Å wide (default: the basis's own)."""
        return torch.stack(list(self.volumes(z, box, box_A)))

    def volumes(
        self, z: Float[Tensor, "b z"], box: int | None = None, box_A: float | None = None
    ) -> Iterator[Float[Tensor, "d d d"]]:
        """The same maps one by one, for more states than memory holds; the components' maps are made once."""
        components = self.basis.to_volume(box, box_A)
        for coefficients in self.coefficients(z):
            yield torch.tensordot(coefficients, components, dims=1)
