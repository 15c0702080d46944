"""What a small rigid motion does to a map: the six directions that heterogeneity must not take.

Moving a density by ε along a is -ε ∂_a V; turning it by ω is -ω·(x × ∇V). A component along these says that poses are wrong.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.physics.fourier import coeff_to_volume, volume_to_coeff


def rigid_motions(volume: Float[Tensor, "d d d"]) -> Float[Tensor, "6 d d d"]:
    """∂V/∂x, ∂V/∂y, ∂V/∂z (per voxel), then x × ∇V about the box's centre (per radian)."""
    box = volume.shape[-1]
    axis = torch.arange(box, device=volume.device, dtype=torch.float32) - box // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    coeff = volume_to_coeff(volume)
    # The frequency -d/2 has no partner: its derivative is not real.
    dx, dy, dz = (coeff_to_volume(coeff * (2j * torch.pi / box) * torch.where(k > -box // 2, k, 0)) for k in (x, y, z))
    return torch.stack([dx, dy, dz, y * dz - z * dy, z * dx - x * dz, x * dy - y * dx])


def without(volumes: Float[Tensor, "r d d d"], directions: Float[Tensor, "m d d d"]) -> Float[Tensor, "r d d d"]:
    """The volumes less their least-squares fits by the directions."""
    basis = torch.linalg.qr(directions.flatten(1).T).Q
    flat = volumes.flatten(1)
    return (flat - (flat @ basis) @ basis.T).view_as(volumes)
