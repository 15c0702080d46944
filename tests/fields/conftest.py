"""A small particle whose transform is known in closed form, and its back-projection from noisy slices."""

import math
from dataclasses import dataclass

import pytest
import torch

from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.disc import Disc
from cryodrake.physics.rotations import random_rotations
from cryodrake.physics.slices import backproject, raster, slice_ball, symmetrise

BOX = 32
RADIUS_PX = 12.0


@dataclass(frozen=True)
class Blobs:
    """Gaussian blobs: density (d d d), and `transform` of (p 3) frequencies to complex, in the 1/d convention."""

    density: torch.Tensor
    centre: torch.Tensor
    weight: torch.Tensor
    sigma_px: float = 1.2

    def transform(self, points: torch.Tensor) -> torch.Tensor:
        angle = -2 * math.pi * (points @ self.centre.T) / BOX
        envelope = torch.exp(-2 * math.pi**2 * self.sigma_px**2 * (points**2).sum(1, keepdim=True) / BOX**2)
        phases = torch.polar(torch.ones_like(angle), angle)
        return (phases * envelope * self.weight).sum(1) * (2 * math.pi * self.sigma_px**2) ** 1.5 / BOX


@pytest.fixture(scope="session")
def blobs() -> Blobs:
    g = torch.Generator().manual_seed(1)
    direction = torch.randn(30, 3, generator=g)
    centre = direction / direction.norm(dim=1, keepdim=True) * 8 * torch.rand(30, 1, generator=g) ** (1 / 3)
    weight = torch.rand(30, generator=g) + 0.5
    axis = torch.arange(BOX, dtype=torch.float32) - BOX // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    squared = ((torch.stack([x, y, z], -1)[..., None, :] - centre) ** 2).sum(-1)
    return Blobs((weight * torch.exp(-squared / (2 * 1.2**2))).sum(-1), centre, weight)


@pytest.fixture(scope="session")
def grid() -> BallGrid:
    return BallGrid(BOX, BOX / 2, 2)


@pytest.fixture(scope="session")
def half_sums(blobs: Blobs, grid: BallGrid) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of two half sets of 400 slices each, white noise of a variance that hides shells 12 and up."""
    g = torch.Generator().manual_seed(2)
    disc = Disc.build(BOX)
    variance = 1.0
    sums = []
    for _ in range(2):
        rotations = random_rotations(400, g)
        clean = slice_ball(raster(blobs.density, grid), grid, rotations, disc.kxy)
        noisy = clean + math.sqrt(variance / 2) * torch.randn(clean.shape, generator=g)
        weights = torch.full(clean.shape[:2], 1 / variance)
        sums.append(symmetrise(backproject(noisy / variance, weights, grid, rotations, disc.kxy), grid))
    return sums[0], sums[1]
