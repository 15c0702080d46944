"""The half disc of Fourier points on which images are compared.

A real image is fixed by half of its plane: the k with kx > 0, or kx = 0 and ky > 0. The origin is left out everywhere: the
mean of an image is set by the microscope's background, not by the particle. Points are sorted by |k|, so the half disc of
any smaller radius is a *prefix* of a larger one and marching the radius is a slice, never a copy.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Disc:
    """Half disc 0 < |k| < min(radius, box/2) of a centred transform of `box` pixels.

    Attributes:
        kxy: (k 2) frequencies (kx, ky) in cycles per box, sorted by length.
        length: (k,) |k|.
        shell: (k,) round(|k|).
        flat: (k,) index of each point into a flattened centred (d d) transform; `mate` that of -k.
    """

    box: int
    radius: float
    kxy: Float[Tensor, "k 2"] = field(repr=False)
    length: Float[Tensor, " k"] = field(repr=False)
    shell: Int64[Tensor, " k"] = field(repr=False)
    flat: Int64[Tensor, " k"] = field(repr=False)
    mate: Int64[Tensor, " k"] = field(repr=False)

    @classmethod
    def build(cls, box: int, radius: float | None = None, device: str | torch.device = "cpu") -> "Disc":
        """The half disc of a centred `box` × `box` transform, on `device`.

        Raises:
            ValueError: odd box.
        """
        if box % 2:
            raise ValueError(f"box must be even, got {box}")
        limit = min(float(radius) if radius is not None else box / 2, box / 2)
        axis = torch.arange(box, dtype=torch.float64) - box // 2
        ky, kx = torch.meshgrid(axis, axis, indexing="ij")
        length = torch.sqrt(kx**2 + ky**2)
        keep = ((kx > 0) | ((kx == 0) & (ky > 0))) & (length < limit)
        flat = torch.nonzero(keep.flatten()).squeeze(1)
        flat = flat[torch.argsort(length.flatten()[flat], stable=True)]
        kxy = torch.stack([kx.flatten()[flat], ky.flatten()[flat]], dim=1)
        mate = ((-kxy[:, 1] + box // 2) * box + (-kxy[:, 0] + box // 2)).long()
        lengths = length.flatten()[flat]
        return cls(
            box,
            limit,
            kxy.float().to(device),
            lengths.float().to(device),
            lengths.round().long().to(device),
            flat.to(device),
            mate.to(device),
        )

    @property
    def n_points(self) -> int:
        return self.kxy.shape[0]

    @property
    def n_shells(self) -> int:
        return self.box // 2 + 1

    def count(self, radius: float) -> int:
        """Number of leading points with |k| < radius."""
        return int(torch.searchsorted(self.length, torch.tensor(float(radius), device=self.length.device)))

    def gather(self, coeff: Complex[Tensor, "*b d d"]) -> Complex[Tensor, "*b k"]:
        """The half disc's points of full centred transforms."""
        return coeff.flatten(-2).index_select(-1, self.flat)

    def scatter(self, points: Complex[Tensor, "*b k"]) -> Complex[Tensor, "*b d d"]:
        """Full centred transforms, conjugate half included, zero outside the disc; inverse of `gather` for real images."""
        full = points.new_zeros(*points.shape[:-1], self.box * self.box)
        k = points.shape[-1]
        full[..., self.mate[:k]] = points.conj()
        full[..., self.flat[:k]] = points
        return full.unflatten(-1, (self.box, self.box))

    def shell_mean(self, values: Float[Tensor, "*b k"]) -> Float[Tensor, "*b s"]:
        """Mean of per-point values over each shell; shells without points give 0."""
        k = values.shape[-1]
        total = values.new_zeros(*values.shape[:-1], self.n_shells).index_add_(-1, self.shell[:k], values)
        weight = torch.bincount(self.shell[:k], minlength=self.n_shells).clamp(min=1)
        return total / weight
