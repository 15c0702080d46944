"""V(k; z) = Σ_r a_r(z) B_r(k): a field that depends on a state z, of r maps that do not.

The B_r are evaluated and rasterised once for all images and states (`raster.rasterise(field.basis, …)`); a state only mixes
what is there. Modes U_j about a mean μ (r = z + 1, a = (1, z)) are the affine case (Tagare et al. 2015, J. Struct. Biol. 191, 245).
"""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.fields.base import AbstractField
from cryodrake.fields.mixer import AbstractMixer
from cryodrake.fields.state_field import AbstractStateField, Decode


@final
class FactoredField(AbstractStateField):
    """B_r as a field of r components, and the mixer a(z).

    Raises:
        ValueError: the two do not have the same r.
    """

    def __init__(self, basis: AbstractField, mixer: AbstractMixer):
        super().__init__(basis.box, basis.box_A, mixer.zdim)
        if basis.components != mixer.components:
            raise ValueError(f"the basis has {basis.components} components, the mixer {mixer.components}")
        self.basis = basis
        self.mixer = mixer

    def coefficients(self, z: Float[Tensor, "b z"]) -> Float[Tensor, "b r"]:
        """a(z), the first one 1."""
        return self.mixer(z)

    def decoder(self, box: int | None = None, box_A: float | None = None) -> Decode:
        """The components' maps are made once; a state only mixes them."""
        components = self.basis.to_volume(box, box_A)

        def decode(z: Float[Tensor, " z"]) -> Float[Tensor, "d d d"]:
            return torch.tensordot(self.coefficients(z[None])[0], components, dims=1)

        return decode
