"""Local refinement of poses: Levenberg-Marquardt on three rotation and two shift parameters of every image at once.

Derivatives are those of `inference.expansion`. A step that does not raise the likelihood is taken back and the damping raised
(Marquardt 1963, SIAM J. Appl. Math. 11, 431).
"""

from dataclasses import dataclass
from typing import final

import roma
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.inference import expansion, expansion_compiled
from cryodrake.inference.reference import Reference
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.blocks import at_once
from cryodrake.physics.compiled import is_compiled_for
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
    step = max(1, at_once(POINTS_PER_BLOCK, kxy.device) // len(kxy))
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
    moving = torch.arange(len(rows), device=rows.device)
    expand = expansion_compiled.expand if is_compiled_for(matched, weight, reference.ball) else expansion.expand
    score, gradient, hessian = expand(matched, weight, moving, reference, kxy, box, rotation, shift)
    damping = torch.full_like(score, 1e-2)
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
        trial = expand(matched, weight, moving, reference, kxy, box, trial_rotation, trial_shift)
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
