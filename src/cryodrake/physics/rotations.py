"""Rotations: tensors (… 3 3), conversions through roma.

R is RELION's Euler matrix A(rot, tilt, psi): the *transpose* of scipy's Rotation.from_euler("ZYZ", (rot, tilt, psi)), and
an image frequency (kx, ky) sees the volume at Rᵀ (kx, ky, 0). cryoSPARC's axis-angle pose gives R = expmap(pose)ᵀ.
"""

import math

import roma
import torch
from jaxtyping import Float
from torch import Tensor


def euler_deg_to_matrix(euler_deg: Float[Tensor, "*q 3"]) -> Float[Tensor, "*q 3 3"]:
    """(rot, tilt, psi) in degrees to R."""
    return roma.euler_to_rotmat("ZYZ", euler_deg, degrees=True).transpose(-1, -2)


def matrix_to_euler_deg(rotation: Float[Tensor, "*q 3 3"]) -> Float[Tensor, "*q 3"]:
    """R to (rot, tilt, psi) in degrees, tilt in [0, 180]; at tilt 0 or 180 rot is 0."""
    r = rotation
    sin_tilt = torch.hypot(r[..., 2, 0], r[..., 2, 1])
    tilt = torch.atan2(sin_tilt, r[..., 2, 2])
    polar = sin_tilt < 1e-6
    rot = torch.where(polar, torch.zeros_like(tilt), torch.atan2(r[..., 2, 1], r[..., 2, 0]))
    # At the poles only rot ± psi is defined; with rot = 0 the first row is (±cos psi, sin psi, 0).
    psi_pole = torch.atan2(r[..., 0, 1], r[..., 1, 1])
    psi = torch.where(polar, psi_pole, torch.atan2(r[..., 1, 2], -r[..., 0, 2]))
    return torch.rad2deg(torch.stack([rot, tilt, psi], dim=-1))


def axis_angle_to_matrix(axis_angle: Float[Tensor, "*q 3"]) -> Float[Tensor, "*q 3 3"]:
    """exp of the cross-product matrix of axis × angle (radians); (0, 0, 0) is the identity."""
    return roma.rotvec_to_rotmat(axis_angle)


def matrix_to_axis_angle(rotation: Float[Tensor, "*q 3 3"]) -> Float[Tensor, "*q 3"]:
    """log map, the inverse of `axis_angle_to_matrix`, angle in [0, π]."""
    return roma.rotmat_to_rotvec(rotation)


def random_rotations(n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n 3 3"]:
    """n rotations, uniform over SO(3): normalised Gaussian quaternions."""
    q = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return roma.unitquat_to_rotmat(q / q.norm(dim=1, keepdim=True)).float()


def geodesic_deg(a: Float[Tensor, "*q 3 3"], b: Float[Tensor, "*q 3 3"]) -> Float[Tensor, " *q"]:
    """Angle of aᵀb in degrees; accurate near 0 (computed from the chord, not from the trace's arccos)."""
    chord = (a.double() - b.double()).flatten(-2).norm(dim=-1)
    return torch.rad2deg(2 * torch.asin((chord / math.sqrt(8)).clamp(max=1))).float()
