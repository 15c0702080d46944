"""Contrast transfer function with RELION's sign: at zero frequency it equals the amplitude contrast (positive).

    γ(s) = 2π (¼ Cs λ³ |s|⁴ - ½ λ Δz(θ) |s|²) - φ,    C(s) = -sin(γ - asin w) · exp(-B|s|²/4)  (Cs in Å, s in 1/Å)
    Δz(θ) = ½ (U + V) + ½ (U - V) cos 2(θ - θ_ast),    λ = h/√(2meV(1 + eV/2mc²))

Mindell & Grigorieff (2003) J. Struct. Biol. 142, 334, eqs 2-4; electron wavelength: Reimer, Transmission Electron Microscopy.
Defocus is positive for underfocus, as in RELION, CTFFIND and cryoSPARC; cryoDRGN's CTF is exactly minus this one.
"""

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class CTFParams:
    """Per-particle optics; every field is a tensor (n,)."""

    pixel_size_A: Float[Tensor, " n"]
    voltage_kV: Float[Tensor, " n"]
    cs_mm: Float[Tensor, " n"]
    amplitude_contrast: Float[Tensor, " n"]
    defocus_u_A: Float[Tensor, " n"]
    defocus_v_A: Float[Tensor, " n"]
    defocus_angle_deg: Float[Tensor, " n"]
    phase_shift_deg: Float[Tensor, " n"]
    bfactor_A2: Float[Tensor, " n"]

    def __getitem__(self, rows: Tensor | slice) -> "CTFParams":
        return CTFParams(*(getattr(self, f.name)[rows] for f in fields(self)))

    def to(self, device: str | torch.device) -> "CTFParams":
        return CTFParams(*(getattr(self, f.name).to(device) for f in fields(self)))


def electron_wavelength_A(voltage_kV: Tensor) -> Tensor:
    """Relativistic wavelength in Å: 12.2643247 / sqrt(V + 0.978466e-6 V²), V in volts (CODATA constants)."""
    volts = voltage_kV * 1e3
    return 12.2643247 / torch.sqrt(volts * (1 + volts * 0.978466e-6))


def ctf(params: CTFParams, kxy: Float[Tensor, "k 2"], box_A: Float[Tensor, "#n"]) -> Float[Tensor, "n k"]:
    """CTF of each particle at image frequencies kxy (cycles per box of `box_A` Å); exact for astigmatism.

    The phase is computed in float64: at 2 Å and 3 µm it reaches 10² radians.
    """
    s = kxy.double()[None] / box_A.double()[:, None, None]
    s2 = (s**2).sum(-1)
    angle = torch.atan2(s[..., 1], s[..., 0])
    p = {f.name: getattr(params, f.name).double()[:, None] for f in fields(params)}
    wavelength_A = electron_wavelength_A(p["voltage_kV"])
    mean = (p["defocus_u_A"] + p["defocus_v_A"]) / 2
    half = (p["defocus_u_A"] - p["defocus_v_A"]) / 2
    defocus_A = mean + half * torch.cos(2 * (angle - torch.deg2rad(p["defocus_angle_deg"])))
    gamma = 2 * math.pi * (0.25 * p["cs_mm"] * 1e7 * wavelength_A**3 * s2**2 - 0.5 * wavelength_A * defocus_A * s2)
    gamma = gamma - torch.deg2rad(p["phase_shift_deg"])
    value = -torch.sin(gamma - torch.asin(p["amplitude_contrast"])) * torch.exp(-p["bfactor_A2"] * s2 / 4)
    return value.float()
