"""Fourier shell correlation. Shells are spheres: round(|k|) in all three axes; cycles per box; shell 0 is the mean."""

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.physics.fourier import volume_to_coeff


def shell_index(box: int, device: str | torch.device = "cpu") -> Tensor:
    """(d d d) shell number round(|k|) of each coefficient of a centred transform."""
    axis = torch.arange(box, device=device, dtype=torch.float32) - box // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.sqrt(x**2 + y**2 + z**2).round().long()


def fsc(a: Float[Tensor, "d d d"], b: Float[Tensor, "d d d"], mask: Float[Tensor, "d d d"] | None = None) -> Float[Tensor, " s"]:
    """FSC for shells 0 … d/2 of two maps, both multiplied by `mask` (Harauz & van Heel 1986, Optik 73, 146)."""
    if mask is not None:
        a, b = a * mask, b * mask
    fa, fb = volume_to_coeff(a), volume_to_coeff(b)
    box = a.shape[-1]
    shell = shell_index(box, a.device).flatten()
    keep = shell <= box // 2

    def shell_sum(x: Tensor) -> Tensor:
        return x.new_zeros(box // 2 + 1).index_add_(0, shell[keep], x.flatten()[keep])

    cross = shell_sum((fa * fb.conj()).real)
    power = shell_sum(fa.abs() ** 2) * shell_sum(fb.abs() ** 2)
    return cross / power.sqrt().clamp(min=1e-30)


def crossing_shell(curve: Float[Tensor, " s"], threshold: float) -> float:
    """First frequency (cycles per box, linear between shells) where the curve falls below `threshold`; the last shell if never."""
    values = curve.tolist()
    for s in range(1, len(values)):
        if values[s] < threshold:
            before = values[s - 1] if s > 1 else 1.0
            return s - 1 + (before - threshold) / max(before - values[s], 1e-12) if before > threshold else float(s - 1)
    return float(len(values) - 1)


def resolution_A(curve: Float[Tensor, " s"], threshold: float, box_A: float) -> float:
    """Resolution in Å at which the curve falls below `threshold`; box_A (worse than any) when it does at once."""
    return box_A / max(crossing_shell(curve, threshold), 1.0)


def area_under(curve: Float[Tensor, " s"]) -> float:
    """FSC-AUC: mean of the curve over shells 1 … d/2, the Nyquist shell counted (CryoBench, NeurIPS 2024, normalised to 1)."""
    return float(curve[1:].mean())
