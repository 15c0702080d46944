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

POINTS_PER_BLOCK = 1 << 18
ITERATIONS = 4
STILL = 0.02  # a fifth of a standard deviation; below it the interpolant's kinks speak


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
    iterations: int = ITERATIONS,
) -> Poses:
    """Maximise each image's likelihood from the given pose at the reference's radius, in at most `iterations` steps.

    An image is left alone as soon as a step promises less than STILL of log likelihood.
    """
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
    rotation, shift = rotation.clone(), shift.clone()
    score, gradient, hessian = _expand(matched, weight, reference, kxy, box, rotation, shift)
    damping = torch.full_like(score, 1e-2)
    moving = torch.arange(len(rows), device=rows.device)
    for _ in range(iterations):
        h = hessian[moving]
        damped = h + torch.diag_embed(damping[moving, None] * torch.diagonal(h, dim1=1, dim2=2) + 1e-6)
        move = torch.linalg.solve(damped, gradient[moving])
        # What a quadratic model promises: gradient and Hessian are both half of the likelihood's.
        worth = (gradient[moving] * move).sum(1) > STILL
        moving, move = moving[worth], move[worth]
        if not len(moving):
            break
        # No step beyond what the map resolves at this radius.
        limit = 1.0 / reference.grid.radius
        move = move * (limit / move[:, :3].norm(dim=1).clamp(min=limit))[:, None]
        trial_rotation = axis_angle_to_matrix(move[:, :3]) @ rotation[moving]
        trial_shift = shift[moving] + move[:, 3:]
        trial = _expand(matched[moving], weight[moving], reference, kxy, box, trial_rotation, trial_shift)
        better = trial[0] > score[moving]
        damping[moving] = torch.where(better, damping[moving] / 4, damping[moving] * 8).clamp(1e-4, 1e4)
        moved = moving[better]
        rotation[moved], shift[moved] = trial_rotation[better], trial_shift[better]
        score[moved], gradient[moved], hessian[moved] = (x[better] for x in trial)
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
    moved = torch.view_as_real(matched * shift_phases(shift, kxy, box)).permute(0, 2, 1)
    residual = moved - weight[:, None] * value
    score = (value * (moved + residual)).sum((1, 2))
    jacobian = _jacobian(value, rotation[:, None] @ gradient_xyz, kxy, box)
    gradient = (jacobian @ residual.reshape(len(score), -1, 1)).squeeze(2)
    weighted = (jacobian.unflatten(2, (2, -1)) * weight[:, None, None]).flatten(2)
    return score, gradient, weighted @ jacobian.transpose(1, 2)


def _jacobian(
    value: Float[Tensor, "b 2 k"], gradient: Float[Tensor, "b 2 3 k"], kxy: Float[Tensor, "k 2"], box: int
) -> Float[Tensor, "b 5 k2"]:
    """Derivatives of the slice with respect to ω and the shift; `gradient` is the map's in the image's frame, R∇V.

    d/dω_a V(Rᵀ exp(-ω)k) = (k × e_a)·R∇V with k in the image plane, and the shift's is i(2π/d)k V.
    """
    kx, ky = kxy.T.contiguous()
    along_x, along_y = (2 * math.pi / box) * kx, (2 * math.pi / box) * ky
    out = value.new_empty(len(value), 5, 2, len(kxy))
    torch.mul(gradient[:, :, 2], -ky, out=out[:, 0])
    torch.mul(gradient[:, :, 2], kx, out=out[:, 1])
    torch.mul(gradient[:, :, 0], ky, out=out[:, 2])
    out[:, 2].addcmul_(gradient[:, :, 1], kx, value=-1)
    for parameter, along in ((3, along_x), (4, along_y)):
        torch.mul(value[:, 1], -along, out=out[:, parameter, 0])
        torch.mul(value[:, 0], along, out=out[:, parameter, 1])
    return out.flatten(2)
