"""Images of Gaussian blobs whose transform is known in closed form, seen through astigmatic CTFs."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from cryodrake.inference.source import AbstractImages
from cryodrake.physics.ctf import CTFParams, ctf
from cryodrake.physics.disc import Disc
from cryodrake.physics.fourier import coeff_to_image, image_to_coeff
from cryodrake.physics.rotations import random_rotations

BOX, PIXEL_A = 32, 5.0
N_BLOBS, SIGMA_PX = 14, 1.1


class ArrayImages(AbstractImages):
    """coeff, transfer (n k) and the noise's variance per shell, in memory."""

    def __init__(self, disc: Disc, coeff: Tensor, transfer: Tensor, variance: Tensor):
        self.disc, self.coeff, self.transfer, self.variance = disc, coeff, transfer, variance

    def matched(self, rows, k):
        transfer = self.transfer[rows, :k]
        weighted = transfer / self.variance[self.disc.shell[:k]]
        return self.coeff[rows, :k] * weighted, transfer * weighted


@dataclass(frozen=True)
class Scene:
    """What is true of n images: where particles are is -shift_px."""

    density: Tensor
    transform: Callable[[Tensor], Tensor]
    images: ArrayImages
    rotation: Tensor
    shift_px: Tensor

    @property
    def rows(self) -> Tensor:
        return torch.arange(len(self.rotation))


def blobs(seed=1):
    """Density (d d d), and its transform at (p 3) cycles per box in the 1/d convention."""
    g = torch.Generator().manual_seed(seed)
    centre = (torch.rand(N_BLOBS, 3, generator=g) - 0.5) * 15
    weight = torch.rand(N_BLOBS, generator=g) + 0.5
    axis = torch.arange(BOX, dtype=torch.float32) - BOX // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    squared = ((torch.stack([x, y, z], -1)[..., None, :] - centre) ** 2).sum(-1)
    density = (weight * torch.exp(-squared / (2 * SIGMA_PX**2))).sum(-1)

    def transform(points):
        angle = -2 * math.pi * (points @ centre.T) / BOX
        envelope = torch.exp(-2 * math.pi**2 * SIGMA_PX**2 * (points**2).sum(-1) / BOX**2)
        waves = (torch.polar(torch.ones_like(angle), angle) * weight).sum(-1)
        return waves * envelope * (2 * math.pi * SIGMA_PX**2) ** 1.5 / BOX

    return density, transform


def astigmatic(n, g):
    """n microscopes' settings."""
    u = 9000 + 9000 * torch.rand(n, generator=g)
    constant = [torch.full((n,), value) for value in (PIXEL_A, 300.0, 2.7, 0.1)]
    angle = 180 * torch.rand(n, generator=g)
    return CTFParams(*constant, u, u - 2500, angle, torch.zeros(n), torch.full((n,), 20.0))


@pytest.fixture(scope="session")
def simulate() -> Callable[..., Scene]:
    """simulate(n, extent_px, sigma, seed): images made in real space, with white noise of standard deviation sigma."""

    def build(n, extent_px=2.0, sigma=0.0, seed=0):
        g = torch.Generator().manual_seed(seed)
        density, transform = blobs()
        disc = Disc.build(BOX)
        rotation = random_rotations(n, g)
        shift_px = extent_px * (2 * torch.rand(n, 2, generator=g) - 1)
        transfer = ctf(astigmatic(n, g), disc.kxy, torch.full((n,), BOX * PIXEL_A))
        at = -shift_px
        phase = -2 * math.pi / BOX * (at @ disc.kxy.T)
        points = torch.nn.functional.pad(disc.kxy, (0, 1)) @ rotation  # (kx, ky, 0) R is Rᵀ(kx, ky, 0)
        clean = coeff_to_image(disc.scatter(transform(points) * transfer * torch.polar(torch.ones_like(phase), phase)))
        noisy = clean + sigma * torch.randn(n, BOX, BOX, generator=g)
        variance = torch.full((disc.n_shells,), sigma**2 if sigma else 1.0)
        images = ArrayImages(disc, disc.gather(image_to_coeff(noisy)), transfer, variance)
        return Scene(density, transform, images, rotation, shift_px)

    return build
