"""A map on voxels behind the field's interface: the density itself is the parameter.

Between the integer frequencies it is read by trilinear interpolation of a twofold oversampled, gridding-corrected half ball
(`cryodrake.physics.slices`), exactly as slices are; at the integer frequencies it is the discrete transform.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cryodrake.fields.base import AbstractField
from cryodrake.fields.lattice import gather
from cryodrake.physics import slices
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.fourier import volume_to_coeff


class GridField(AbstractField):
    """`density` (r d d d) over the reference box."""

    def __init__(self, box: int, box_A: float, components: int = 1):
        super().__init__(box, box_A, components)
        self.band = box / 2 + 0.5
        self.density = nn.Parameter(torch.zeros(components, box, box, box))

    def half_space(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p c"]:
        grid = BallGrid(self.box, self.band, 2)
        # slice_ball reads at (kx, ky, 0) R: with R's first row a point and (kx, ky) = (1, 0), at the point itself.
        rows = torch.nn.functional.pad(points[:, None, :], (0, 0, 0, 2))
        along = points.new_tensor([[1.0, 0.0]])
        inside = points.norm(dim=1, keepdim=True) < self.band
        return slices.slice_ball(slices.raster(self.density, grid), grid, rows * inside[:, None], along)[:, 0] * inside

    def coefficients(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p c"]:
        return gather(volume_to_coeff(self.density), points)

    def settings(self) -> dict[str, Any]:
        return {"box": self.box, "box_A": self.box_A, "components": self.components}
