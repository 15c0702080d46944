"""Images for measuring speed without a data set: slices of a random blob with a CTF, in white noise, poses known."""

import math

import torch
from torch import Tensor

from cryodrake.inference.reference import Reference
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.disc import Disc
from cryodrake.physics.fourier import coeff_to_volume, volume_to_coeff
from cryodrake.physics.masks import sphere
from cryodrake.physics.rotations import random_rotations

SIGNAL = 200.0  # Σ|CV|²/σ² of an image over the half disc: about that of SNR 0.1 at 64 px


class SyntheticImages(AbstractImages):
    """n images of a blob in a box of `box` pixels, noise variance 1, resident on `device`; true poses beside them."""

    def __init__(self, n: int, box: int, radius: float, device: torch.device):
        generator = torch.Generator().manual_seed(0)
        self.disc = Disc.build(box, radius + 1, device)
        density = torch.randn(box, box, box, generator=generator) * sphere(box, 0.25 * box, 0.1 * box)
        axis = torch.arange(box, dtype=torch.float32) - box // 2
        length = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt()
        volume = coeff_to_volume(volume_to_coeff(density) / (1 + (length / 6) ** 2)).to(device)
        self.rotation = random_rotations(n, generator).to(device)
        defocus = (0.02 + 0.03 * torch.rand(n, 1, generator=generator)).to(device)
        self.transfer = torch.sin(defocus * self.disc.length**2 + 0.1)
        reference = Reference.build(volume, radius + 1)
        clean = torch.cat([torch.view_as_complex(reference.slices(r, self.disc.kxy)) for r in self.rotation.split(1024)])
        amplitude = math.sqrt(SIGNAL / float((clean * self.transfer).abs().square().sum(1).mean()))
        self.volume = volume * amplitude
        torch.manual_seed(0)
        self.coeff = clean.mul_(amplitude).mul_(self.transfer).add_(torch.randn_like(clean))

    def matched(self, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
        transfer = self.transfer[rows, :k]
        return self.coeff[rows, :k] * transfer, transfer**2
