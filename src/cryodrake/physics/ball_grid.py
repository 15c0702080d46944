"""Geometry of the oversampled half ball that maps are sliced on."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class BallGrid:
    """Geometry of a half ball: frequencies up to `radius` cycles per box at `oversampling` points per cycle.

    A flat array of n_voxels rows indexes (z, y, x) with z, y in -m…m, x in 0…m+1 and m = ceil(radius·oversampling) + 1.
    """

    box: int
    radius: float
    oversampling: int = 2

    @property
    def half(self) -> int:
        return int(-(-self.radius * self.oversampling // 1)) + 1

    @property
    def shape(self) -> tuple[int, int, int]:
        return (2 * self.half + 1, 2 * self.half + 1, self.half + 2)

    @property
    def n_voxels(self) -> int:
        z, y, x = self.shape
        return z * y * x

    def lengths(self, device: str | torch.device = "cpu") -> Float[Tensor, " v"]:
        """|k| of each voxel, cycles per box."""
        zy = torch.arange(-self.half, self.half + 1, device=device, dtype=torch.float32).square()
        x = torch.arange(self.half + 2, device=device, dtype=torch.float32).square()
        return (zy[:, None, None] + zy[:, None] + x).sqrt().flatten() / self.oversampling

    def shells(self, device: str | torch.device = "cpu") -> Int64[Tensor, " v"]:
        """Shell round(|k|) of each voxel."""
        return self.lengths(device).round().long()
