"""The data set as this algorithm sees it: one global standard deviation, CTFs, no model of the noise."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.disc import Disc

MEASURED = 1000  # images that the standard deviation is taken from


@dataclass(frozen=True, eq=False)
class Batch:
    """Images at poses, over the whole half disc.

    Attributes:
        rows: in the data set.
        images: as they were taken; centred: moved by their shifts.
        transfer: CTFs.
        points: Rᵀ(kx, ky, 0), where the images see the map.
    """

    rows: Int64[Tensor, " b"]
    images: Complex[Tensor, "b k"]
    centred: Complex[Tensor, "b k"]
    transfer: Float[Tensor, "b k"]
    points: Float[Tensor, "b k 3"]

    @property
    def phase_flipped(self) -> Complex[Tensor, "b k"]:
        """The images with all contrast of the CTF's sign undone: what an encoder is shown."""
        return phase_flipped(self.images, self.transfer)


def phase_flipped(images: Complex[Tensor, "b k"], transfer: Float[Tensor, "b k"]) -> Complex[Tensor, "b k"]:
    """Images whose coefficients are negated where the CTF is negative."""
    return images * torch.where(transfer < 0, -1.0, 1.0)


@final
class NormalisedImages(AbstractImages):
    """Images of a store over `std`, the root mean square of their coefficients.

    With noise of variance 1 the engine's score, 2 Re⟨Y, Ŷ⟩ - ‖Ŷ‖² over half the disc, is ⟨y, ŷ⟩ - ½‖ŷ‖² over all of it: what
    cryoDRGN2 maximises.
    """

    def __init__(self, store: CoefficientStore):
        self.store = store
        some = torch.arange(0, store.n, max(1, -(-store.n // MEASURED)))
        power = [store.images(rows).abs().square().mean(1) for rows in some.split(100)]
        self.std = float(torch.cat(power).mean().sqrt())

    @property
    def disc(self) -> Disc:  # type: ignore[override]
        return self.store.disc

    def matched(self, rows: Int64[Tensor, " b"], k: int) -> tuple[Complex[Tensor, "b k"], Float[Tensor, "b k"]]:
        """C·Y and C²."""
        transfer = self.store.ctf(rows, k)
        return self.store.images(rows, k) / self.std * transfer, transfer**2

    def flipped(self, rows: Int64[Tensor, " b"]) -> Complex[Tensor, "b k"]:
        """Phase-flipped images."""
        return phase_flipped(self.store.images(rows) / self.std, self.store.ctf(rows))

    def batch(self, rows: Int64[Tensor, " b"], rotation: Float[Tensor, "b 3 3"], shift_px: Float[Tensor, "b 2"]) -> Batch:
        """Of these images at these poses."""
        kxy = self.disc.kxy
        images = self.store.images(rows) / self.std
        centred = images * shift_phases(shift_px, kxy, self.disc.box)
        return Batch(rows, images, centred, self.store.ctf(rows), torch.nn.functional.pad(kxy, (0, 1)) @ rotation)
