"""The state of each image under a linear model V(k; z) = B_0 + Σ_j z_j B_j, z ~ N(0, 1), when its pose is known.

The log likelihood is quadratic in z, so the posterior is normal: with y = C·Y/σ² centred, w = C²/σ², half-disc sums

    g_r = Re ⟨B_r, y⟩,   A_rs = Re ⟨B_r, w B_s⟩,   precision Λ = 1 + 2 A_zz,   mean = Λ⁻¹ 2 (g_z - A_z0)

(Tipping & Bishop 1999, J. R. Stat. Soc. B 61, 611, for images seen through their own CTF and slice). The marginal likelihood over z
follows in closed form.
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Complex, Float
from torch import Tensor


@final
@dataclass(frozen=True, eq=False)
class States:
    """Posterior of b images: mean, covariance, and the log likelihood of the image with its state integrated out."""

    mean: Float[Tensor, "b z"]
    covariance: Float[Tensor, "b z z"]
    log_marginal: Float[Tensor, " b"]

    @property
    def weights(self) -> Float[Tensor, "b r"]:
        """Expected coefficients (1, z) of the components."""
        return torch.nn.functional.pad(self.mean, (1, 0), value=1.0)

    @property
    def moments(self) -> Float[Tensor, "b r r"]:
        """Expected products of the coefficients."""
        outer = self.weights[:, :, None] * self.weights[:, None]
        outer[:, 1:, 1:] += self.covariance
        return outer


def infer_states(
    centred: Complex[Tensor, "b k"], weight: Float[Tensor, "b k"], slices: Float[Tensor, "b k r2"]
) -> tuple[States, Float[Tensor, "b r k2"]]:
    """The states, and the slices as they are needed again: component by component, re and im as pairs.

    Args:
        centred: C·Y/σ², moved to the centre. weight: C²/σ².
        slices: of all components at the images' poses, (re, im) of the mean first.
    """
    b, k = weight.shape
    columns = slices.view(b, k, -1, 2).transpose(1, 2).flatten(2)
    cross = (columns @ torch.view_as_real(centred).reshape(b, 2 * k, 1)).squeeze(2)
    gram = (columns * weight.repeat_interleave(2, dim=1)[:, None]) @ columns.transpose(1, 2)
    pull = 2 * (cross[:, 1:] - gram[:, 1:, 0])
    precision = 2 * gram[:, 1:, 1:] + torch.eye(pull.shape[1], device=pull.device)
    factor = torch.linalg.cholesky(precision)
    covariance = torch.cholesky_inverse(factor)
    mean = (covariance @ pull[:, :, None]).squeeze(2)
    log_det = 2 * torch.diagonal(factor, dim1=1, dim2=2).log().sum(1)
    log_marginal = 2 * cross[:, 0] - gram[:, 0, 0] + 0.5 * (pull * mean).sum(1) - 0.5 * log_det
    return States(mean, covariance, log_marginal), columns


def expected_residual(
    states: States, centred: Complex[Tensor, "b k"], weight: Float[Tensor, "b k"], columns: Float[Tensor, "b r k2"]
) -> Float[Tensor, "b r k2"]:
    """E[a_r (y - w Σ_s a_s B_s)]: half the gradient of the expected log likelihood with respect to each component's slice."""
    y = torch.view_as_real(centred).flatten(1)
    model = (states.moments @ columns) * weight.repeat_interleave(2, dim=1)[:, None]
    return states.weights[:, :, None] * y[:, None] - model
