"""Local refinement of poses: Levenberg-Marquardt on three rotation and two shift parameters of every image at once.

Residual at half-disc points: (Y·exp(-2πi k·s/d) - C V(Rᵀk))/σ. The rotation moves as R ← exp(ω) R; the derivative
is that of the interpolated map along Rᵀ(k × ω). The shift's is the model's, 2πi k/d · CV. A step that does not raise the likelihood
is taken back and the damping raised (Marquardt 1963, SIAM J. Appl. Math. 11, 431).
"""

import math
from dataclasses import dataclass
from typing import final

import roma
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.reference import Reference
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.rotations import axis_angle_to_matrix

POINTS_PER_BLOCK = 1 << 16  # stays in the cache


@final
@dataclass(frozen=True, eq=False)
class Poses:
    """Refined poses with their log likelihood; sigma_deg is the standard deviation that the curvature promises."""

    rotation: Float[Tensor, "n 3 3"]
    shift_px: Float[Tensor, "n 2"]
    score: Float[Tensor, " n"]
    sigma_deg: Float[Tensor, " n"]


def refine(
    images: AbstractImages,
    rows: Int64[Tensor, " n"],
    reference: Reference,
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    iterations: int = 4,
) -> Poses:
    """Maximise each image's likelihood from the given pose at the reference's radius."""
    kxy = images.disc.kxy[: images.disc.count(reference.grid.radius)]
    step = max(1, POINTS_PER_BLOCK // len(kxy))
    parts = [
        _refine_block(images, rows[i : i + step], reference, kxy, rotation[i : i + step], shift_px[i : i + step], iterations)
        for i in range(0, len(rows), step)
    ]
    return Poses(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _refine_block(
    images: AbstractImages, rows: Tensor, reference: Reference, kxy: Tensor, rotation: Tensor, shift: Tensor, iterations: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    matched, weight = images.matched(rows, len(kxy))
    box = images.disc.box
    score, gradient, hessian = _expand(matched, weight, reference, kxy, box, rotation, shift)
    damping = torch.full_like(score, 1e-2)
    for _ in range(iterations):
        diagonal = torch.diagonal(hessian, dim1=1, dim2=2)
        damped = hessian + torch.diag_embed(damping[:, None] * diagonal + 1e-6)
        move = torch.linalg.solve(damped, gradient)
        # No step beyond what the map resolves at this radius.
        limit = 1.0 / reference.grid.radius
        move = move * (limit / move[:, :3].norm(dim=1).clamp(min=limit))[:, None]
        trial_rotation = axis_angle_to_matrix(move[:, :3]) @ rotation
        trial_shift = shift + move[:, 3:]
        trial = _expand(matched, weight, reference, kxy, box, trial_rotation, trial_shift)
        better = trial[0] > score
        rotation = torch.where(better[:, None, None], trial_rotation, rotation)
        shift = torch.where(better[:, None], trial_shift, shift)
        score = torch.where(better, trial[0], score)
        gradient = torch.where(better[:, None], trial[1], gradient)
        hessian = torch.where(better[:, None, None], trial[2], hessian)
        damping = torch.where(better, damping / 4, damping * 8).clamp(1e-4, 1e4)
    covariance = torch.linalg.inv(hessian + 1e-3 * torch.eye(5, device=hessian.device)) / 2
    variance = torch.diagonal(covariance, dim1=1, dim2=2)[:, :3].sum(1)
    # Products of many small turns drift off SO(3) by float32's rounding.
    rotation = roma.special_gramschmidt(rotation[..., :2])
    return rotation, shift, score, torch.rad2deg(variance.clamp(min=0).sqrt())


def _expand(
    matched: Tensor, weight: Tensor, reference: Reference, kxy: Tensor, box: int, rotation: Tensor, shift: Tensor
) -> tuple[Float[Tensor, " b"], Float[Tensor, "b 5"], Float[Tensor, "b 5 5"]]:
    """Log likelihood, half its gradient, and half its Gauss-Newton Hessian (sign flipped) at a pose."""
    value, gradient_xyz = reference.slices_with_gradient(rotation, kxy)
    moved = torch.view_as_real(matched * shift_phases(shift, kxy, box))
    weighted = weight[..., None] * value
    score = (2 * moved * value - weighted * value).sum((1, 2))
    along = (2 * math.pi / box) * kxy  # derivative of exp(2πi k·s/d)
    times_i = torch.stack([-value[..., 1], value[..., 0]], dim=-1)
    turning = _turning(rotation, kxy)  # (b 3 3 k): how the point moves in x, y, z for each rotation parameter
    turned = (turning[..., None] * gradient_xyz[:, None]).sum(2)
    jacobian = torch.cat([turned, along.T[None, :, :, None] * times_i[:, None]], dim=1)
    residual = moved - weighted
    gradient = (jacobian * residual[:, None]).sum((2, 3))
    flat = jacobian.flatten(2)
    hessian = (flat * weight.repeat_interleave(2, dim=1)[:, None]) @ flat.transpose(1, 2)
    return score, gradient, hessian


def _turning(rotation: Float[Tensor, "b 3 3"], kxy: Float[Tensor, "k 2"]) -> Float[Tensor, "b 3 3 k"]:
    """d/dω_a of (exp(ω)R)ᵀk at ω = 0, which is Rᵀ(k × e_a): axes (image, a, xyz, point)."""
    kx, ky = kxy.T
    zero = torch.zeros_like(kx)
    cross = torch.stack([torch.stack([zero, zero, -ky]), torch.stack([zero, zero, kx]), torch.stack([ky, -kx, zero])])  # (a xyz k)
    return torch.einsum("bji,ajk->baik", rotation, cross)
