"""The state of each image under a linear model V(k; z) = B_0 + Σ_j z_j B_j, z ~ N(0, 1), at its pose or about it.

The log likelihood is quadratic in z, so the posterior is normal: with y = C·Y/σ² centred, w = C²/σ², half-disc sums

    g_r = Re ⟨B_r, y⟩,   A_rs = Re ⟨B_r, w B_s⟩,   precision Λ = 1 + 2 A_zz,   mean = Λ⁻¹ 2 (g_z - A_z0)

(Tipping & Bishop 1999, J. R. Stat. Soc. B 61, 611, for images seen through their own CTF and slice). The marginal likelihood over z
follows in closed form. What else changes an image, such as small errors of its pose, may be integrated out in the same way: as
further columns with normal coefficients, of which nobody asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import final

import torch
from jaxtyping import Complex, Float
from torch import Tensor


@final
@dataclass(frozen=True, eq=False)
class States:
    """Posterior of n images.

    Attributes:
        mean, precision: of z.
        log_marginal: log likelihood of the image with its state integrated out, over that of an empty image.
        cross, power: Re ⟨V, y⟩ and ⟨V, w V⟩ of its model at the mean, of what is integrated out besides too: cross/power is
            the image's amplitude.
    """

    mean: Float[Tensor, "n z"]
    precision: Float[Tensor, "n z z"]
    log_marginal: Float[Tensor, " n"]
    cross: Float[Tensor, " n"]
    power: Float[Tensor, " n"]

    def __getitem__(self, rows: slice | Tensor) -> "States":
        return States(*(getattr(self, f.name)[rows] for f in fields(self)))

    @classmethod
    def cat(cls, parts: Sequence["States"]) -> "States":
        return cls(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    @classmethod
    def known(cls, latents: Float[Tensor, "n z"]) -> "States":
        """States beyond doubt."""
        n, z = latents.shape
        nothing = latents.new_zeros(n)
        sure = 1e6 * torch.eye(z, device=latents.device).expand(n, z, z)
        return cls(latents, sure, nothing, nothing, nothing)

    @property
    def weights(self) -> Float[Tensor, "n r"]:
        """Expected coefficients (1, z) of the components."""
        return torch.nn.functional.pad(self.mean, (1, 0), value=1.0)

    @property
    def moments(self) -> Float[Tensor, "n r r"]:
        """Expected products of the coefficients."""
        outer = self.weights[:, :, None] * self.weights[:, None]
        outer[:, 1:, 1:] += torch.linalg.inv(self.precision)
        return outer


def component_columns(slices: Float[Tensor, "b k r2"]) -> Float[Tensor, "b r k2"]:
    """Slices of all components, component by component: (re, im) pairs along the points."""
    return slices.unflatten(2, (-1, 2)).transpose(1, 2).flatten(2)


def infer_states(
    centred: Complex[Tensor, "b k"],
    weight: Float[Tensor, "b k"],
    columns: Float[Tensor, "b r k2"],
    besides: Float[Tensor, "b m k2"] | None = None,
) -> States:
    """The states of images.

    Args:
        centred: C·Y/σ², moved to the centre. weight: C²/σ².
        columns: of `component_columns`, the mean first.
        besides: what is integrated out, by a standard deviation each.
    """
    z = columns.shape[1] - 1
    if besides is not None:
        columns = torch.cat([columns, besides], 1)
    cross = (columns @ torch.view_as_real(centred).flatten(1)[:, :, None]).squeeze(2)
    gram = (columns * weight.repeat_interleave(2, dim=1)[:, None]) @ columns.transpose(1, 2)
    pull = 2 * (cross[:, 1:] - gram[:, 1:, 0])
    precision = 2 * gram[:, 1:, 1:] + torch.eye(pull.shape[1], device=pull.device)
    factor = torch.linalg.cholesky(precision)
    mean = torch.cholesky_solve(pull[:, :, None], factor).squeeze(2)
    log_det = 2 * torch.diagonal(factor, dim1=1, dim2=2).log().sum(1)
    log_marginal = 2 * cross[:, 0] - gram[:, 0, 0] + 0.5 * (pull * mean).sum(1) - 0.5 * log_det
    a = torch.nn.functional.pad(mean, (1, 0), value=1.0)
    power = torch.einsum("br,brs,bs->b", a, gram, a)
    return States(mean[:, :z], _marginal(precision, z), log_marginal, (a * cross).sum(1), power)


def _marginal(precision: Float[Tensor, "b p p"], z: int) -> Float[Tensor, "b z z"]:
    """Precision of the first z coordinates where the others are unknown: the Schur complement."""
    if precision.shape[1] == z:
        return precision
    own, mixed, rest = precision[:, :z, :z], precision[:, z:, :z], precision[:, z:, z:]
    factor = torch.linalg.cholesky(rest)
    half = torch.linalg.solve_triangular(factor, mixed, upper=False)
    return own - half.transpose(1, 2) @ half


def expected_residual(
    states: States, centred: Complex[Tensor, "b k"], weight: Float[Tensor, "b k"], columns: Float[Tensor, "b r k2"]
) -> Float[Tensor, "b k r2"]:
    """E[a_r (y - w Σ_s a_s B_s)]: half the gradient of the expected log likelihood with respect to each component's slice."""
    y = torch.view_as_real(centred).flatten(1)
    model = (states.moments @ columns) * weight.repeat_interleave(2, dim=1)[:, None]
    return (states.weights[:, :, None] * y[:, None] - model).unflatten(2, (-1, 2)).transpose(1, 2).flatten(2)
