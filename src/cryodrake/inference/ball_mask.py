"""A solvent mask for maps that stay on the half ball: what `unraster`, `flatten_solvent` and `raster` do.

What back-projection leaves is the transform of sinc² times the density; the mask is a product in real space like sinc², so that
factor may stay on.
"""

from typing import final

from jaxtyping import Float
from torch import Tensor

from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.ball_transform import ball_of, density_of
from cryodrake.physics.slices import gridding_window


@final
class BallMask:
    """Takes off the mean outside of `mask`, then all that is outside."""

    def __init__(self, grid: BallGrid, mask: Float[Tensor, "d d d"]):
        self.grid, self._mask = grid, mask
        window = gridding_window(grid.box, grid.box * grid.oversampling, mask.device)
        self._pedestal, self._outside = mask * window, (1 - mask) / window / (1 - mask).sum().clamp(min=1)

    def __call__(self, ball: Float[Tensor, "v 2"]) -> Float[Tensor, "v 2"]:
        """From num/den on the half ball to what num/den of the masked map would be."""
        density = density_of(ball, self.grid)
        return ball_of(density * self._mask - self._pedestal * (density * self._outside).sum(), self.grid)
