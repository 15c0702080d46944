"""A solvent mask for maps that stay on the half ball: what `unraster`, `flatten_solvent` and `raster` do, in a third of their time.

The half ball is what a real transform keeps, so two real transforms do. What back-projection leaves is the transform of sinc²
times the density; the mask is a product in real space like sinc², so that factor may stay on.
"""

from typing import final

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.fourier import centred_resize
from cryodrake.physics.slices import gridding_window


@final
class BallMask:
    """Takes off the mean outside of `mask`, then all that is outside."""

    def __init__(self, grid: BallGrid, mask: Float[Tensor, "d d d"]):
        self.grid = grid
        self._padded = grid.box * grid.oversampling
        window = gridding_window(grid.box, self._padded, mask.device)
        self._mask, self._pedestal = self._place(mask), self._place(mask * window)
        self._outside = self._place((1 - mask) / window / (1 - mask).sum().clamp(min=1))

    def __call__(self, ball: Float[Tensor, "v 2"]) -> Float[Tensor, "v 2"]:
        """From num/den on the half ball to what num/den of the masked map would be."""
        density = torch.fft.irfftn(self._to_transform(ball), s=(self._padded,) * 3)
        offset = (density * self._outside).sum()
        return self._to_ball(torch.fft.rfftn(density * self._mask - self._pedestal * offset))

    def _place(self, volume: Float[Tensor, "d d d"]) -> Float[Tensor, "p p p"]:
        # The centre goes to index 0: the ball's phases count from it.
        return torch.fft.ifftshift(centred_resize(volume, self._padded, 3))

    def _blocks(self) -> list[tuple[tuple[slice, slice, slice], tuple[slice, slice, slice]]]:
        """Where each quarter (signs of z and y) of the half ball is, in the ball and in the transform; Nyquist is in neither."""
        m, reach = self.grid.half, min(self.grid.half, self._padded // 2 - 1)
        parts = [(slice(m, m + reach + 1), slice(0, reach + 1)), (slice(m - reach, m), slice(self._padded - reach, self._padded))]
        x = slice(0, min(self.grid.half + 1, self._padded // 2 - 1) + 1)  # one more column than rows, for the interpolation
        return [((bz, by, x), (tz, ty, x)) for bz, tz in parts for by, ty in parts]

    def _to_transform(self, ball: Float[Tensor, "v 2"]) -> Complex[Tensor, "p p h"]:
        half = torch.view_as_complex(ball.contiguous()).reshape(self.grid.shape)
        full = half.new_zeros(self._padded, self._padded, self._padded // 2 + 1)
        for here, there in self._blocks():
            full[there] = half[here]
        return full

    def _to_ball(self, full: Complex[Tensor, "p p h"]) -> Float[Tensor, "v 2"]:
        half = full.new_zeros(self.grid.shape)
        for here, there in self._blocks():
            half[here] = full[there]
        return torch.view_as_real(half).reshape(-1, 2)
