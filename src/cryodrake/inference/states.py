"""The state of each image under a linear model V(k; z) = B_0 + Σ_j z_j B_j, z ~ N(0, 1), when its pose is known.

The log likelihood is quadratic in z, so the posterior is normal: with y = C·Y/σ² centred, w = C²/σ², half-disc sums

    g_r = Re ⟨B_r, y⟩,   A_rs = Re ⟨B_r, w B_s⟩,   precision Λ = 1 + 2 A_zz,   mean = Λ⁻¹ 2 (g_z - A_z0)

(Tipping & Bishop 1999, J. R. Stat. Soc. B 61, 611, for images seen through their own CTF and slice). The marginal likelihood over z
follows in closed form.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import final

import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor

from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.slices import slice_ball

POINTS_PER_BLOCK = 1 << 17


@final
@dataclass(frozen=True, eq=False)
class States:
    """Posterior of n images.

    Attributes:
        mean, precision: of z.
        log_marginal: log likelihood of the image with its state integrated out, over that of an empty image.
        cross, power: Re ⟨V, y⟩ and ⟨V, w V⟩ of its map at the mean: cross/power is the image's amplitude.
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


def infer_states(centred: Complex[Tensor, "b k"], weight: Float[Tensor, "b k"], columns: Float[Tensor, "b r k2"]) -> States:
    """The states of images at their poses.

    Args:
        centred: C·Y/σ², moved to the centre. weight: C²/σ².
        columns: of `component_columns`, the mean first.
    """
    cross = (columns @ torch.view_as_real(centred).flatten(1)[:, :, None]).squeeze(2)
    gram = (columns * weight.repeat_interleave(2, dim=1)[:, None]) @ columns.transpose(1, 2)
    pull = 2 * (cross[:, 1:] - gram[:, 1:, 0])
    precision = 2 * gram[:, 1:, 1:] + torch.eye(pull.shape[1], device=pull.device)
    factor = torch.linalg.cholesky(precision)
    mean = torch.cholesky_solve(pull[:, :, None], factor).squeeze(2)
    log_det = 2 * torch.diagonal(factor, dim1=1, dim2=2).log().sum(1)
    log_marginal = 2 * cross[:, 0] - gram[:, 0, 0] + 0.5 * (pull * mean).sum(1) - 0.5 * log_det
    a = torch.nn.functional.pad(mean, (1, 0), value=1.0)
    return States(mean, precision, log_marginal, (a * cross).sum(1), torch.einsum("br,brs,bs->b", a, gram, a))


def expected_residual(
    states: States, centred: Complex[Tensor, "b k"], weight: Float[Tensor, "b k"], columns: Float[Tensor, "b r k2"]
) -> Float[Tensor, "b k r2"]:
    """E[a_r (y - w Σ_s a_s B_s)]: half the gradient of the expected log likelihood with respect to each component's slice."""
    y = torch.view_as_real(centred).flatten(1)
    model = (states.moments @ columns) * weight.repeat_interleave(2, dim=1)[:, None]
    return (states.weights[:, :, None] * y[:, None] - model).unflatten(2, (-1, 2)).transpose(1, 2).flatten(2)


def infer_all(
    images: AbstractImages,
    rows: Int64[Tensor, " n"],
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    ball: Float[Tensor, "v r2"],
    grid: BallGrid,
) -> States:
    """The states of these images, a few at a time, from the components rasterised on `grid`."""
    kxy = images.disc.kxy[: images.disc.count(grid.radius)]
    step = max(1, POINTS_PER_BLOCK // len(kxy))
    parts = []
    for i in range(0, len(rows), step):
        matched, weight = images.matched(rows[i : i + step], len(kxy))
        centred = matched * shift_phases(shift_px[i : i + step], kxy, images.disc.box)
        columns = component_columns(slice_ball(ball, grid, rotation[i : i + step], kxy))
        parts.append(infer_states(centred, weight, columns))
    return States.cat(parts)
