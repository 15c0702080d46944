"""Log likelihood of images at poses, its gradient and its curvature with respect to them: in torch, for cards, and the twin of
`inference.expansion_compiled`.

Residual at half-disc points: (Y·exp(-2πi k·s/d) - C V(Rᵀk))/σ. The rotation moves as R ← exp(ω) R; the derivative
is that of the interpolated map along Rᵀ(k × ω). The shift's is the model's, 2πi k/d · CV.
"""

import math

import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor

from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.reference import Reference
from cryodrake.physics.cells import read_with_gradient


def expand(
    matched: Complex[Tensor, "n k"],
    weight: Float[Tensor, "n k"],
    which: Int64[Tensor, " b"],
    reference: Reference,
    kxy: Float[Tensor, "k 2"],
    box: int,
    rotation: Float[Tensor, "b 3 3"],
    shift_px: Float[Tensor, "b 2"],
) -> tuple[Float[Tensor, " b"], Float[Tensor, "b 5"], Float[Tensor, "b 5 5"]]:
    """Log likelihood, half its gradient, and half its Gauss-Newton Hessian (sign flipped) of images `which` at a pose each.

    Args:
        matched, weight: C·Y/σ² and C²/σ² at the frequencies kxy, cycles per box.
    """
    value, gradient_xyz = read_with_gradient(reference.ball, reference.grid, rotation, kxy)
    moved = torch.view_as_real(matched[which] * shift_phases(shift_px, kxy, box)).permute(0, 2, 1)
    w = weight[which]
    residual = moved - w[:, None] * value
    score = (value * (moved + residual)).sum((1, 2))
    jacobian = _jacobian(value, rotation[:, None] @ gradient_xyz, kxy, box)
    gradient = (jacobian @ residual.reshape(len(score), -1, 1)).squeeze(2)
    weighted = (jacobian.unflatten(2, (2, -1)) * w[:, None, None]).flatten(2)
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
