"""Clean images of one density, and noise.

An image is s·C(k)·exp(-2πi k·t/d)·V(Rᵀ(kx, ky, 0)) over 0 < |k| < d/2 (physics/fourier.py). The slice is interpolated
on an oversampled half ball; against exact Gaussians its error is, relative in power, 2e-4 two-fold, 3e-5 three-fold.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.ctf import CTFParams, ctf
from cryodrake.physics.disc import Disc
from cryodrake.physics.fourier import coeff_to_image, image_to_coeff
from cryodrake.physics.slices import raster, slice_ball

POINTS_PER_CHUNK = 100_000
_LARGEST_BOX_AT_3 = 96  # three-fold oversampling of a larger box needs gigabytes


def chunk_length(box: int) -> int:
    """Images that are formed at once: bounded memory, whatever the box."""
    return max(1, POINTS_PER_CHUNK // (box * box // 3))


@dataclass(frozen=True)
class Projector:
    """Clean images of one density."""

    disc: Disc
    grid: BallGrid
    ball: Float[Tensor, "v 2"]
    pixel_size_A: float

    @classmethod
    def of(cls, density: Float[Tensor, "d d d"], pixel_size_A: float, smallest_pixel_A: float) -> "Projector":
        """Slices go as far out as images of the smallest pixel size need."""
        box = density.shape[-1]
        grid = BallGrid(box, box / 2 * max(1.0, pixel_size_A / smallest_pixel_A), 3 if box <= _LARGEST_BOX_AT_3 else 2)
        return cls(Disc.build(box), grid, raster(density, grid), pixel_size_A)

    def images(
        self,
        rotations: Float[Tensor, "b 3 3"],
        particle_at_px: Float[Tensor, "b 2"],
        optics: CTFParams,
        contrast: Float[Tensor, " b"],
    ) -> Float[Tensor, "b d d"]:
        """Images of particles that sit at (x, y) from the centre; all of one pixel size, `optics.pixel_size_A`."""
        box = self.disc.box
        # In an image with smaller pixels, k cycles per box are a higher frequency of the density.
        magnification = self.pixel_size_A / float(optics.pixel_size_A[0])
        values = slice_ball(self.ball, self.grid, rotations, self.disc.kxy * magnification)
        coeff = torch.view_as_complex(values)
        phase = -2 * torch.pi / box * (particle_at_px @ self.disc.kxy.T)
        transfer = ctf(optics, self.disc.kxy, optics.pixel_size_A * box) * contrast[:, None]
        return coeff_to_image(self.disc.scatter(coeff * torch.polar(transfer, phase)))


def noise_filter(box: int, colour: float) -> Float[Tensor, "d d"]:
    """Amplitude of the noise at each coefficient, mean square 1: white (colour 0), or falling with frequency.

    Power: 0.1 + 0.9/(1 + (s/5)²)^(colour/2) at s cycles per box: inelastic background on the detector's white noise.
    """
    axis = torch.arange(box, dtype=torch.float64) - box // 2
    squared = axis[:, None] ** 2 + axis**2
    power = 0.1 + 0.9 * (1 + squared / 25) ** (-colour / 2)
    return (power / power.mean()).sqrt().float()


def unit_noise(rows: Int[np.ndarray, " b"], seed: int, box: int, amplitude: Float[Tensor, "d d"] | None) -> Float[Tensor, "b d d"]:
    """Noise of unit variance for the particles `rows`: each from its own stream, so it depends on nothing else.

    `amplitude` as from `noise_filter`; None is white.
    """
    images = torch.empty(len(rows), box, box)
    for image, row in zip(images.numpy(), rows, strict=True):
        np.random.default_rng([seed, 3, int(row)]).standard_normal(out=image, dtype=np.float32)
    return images if amplitude is None else coeff_to_image(image_to_coeff(images) * amplitude)
