"""What a field is fitted to: the Wiener map of the sums, whitened, on the integer half lattice.

Minimising Σ_v w_v |V(v) - num_v/w_v|² + |V|²/τ² over the sums' oversampled voxels is, within a shell, regression on the Wiener map.
The integer lattice holds all of a map that fits its box, with an eighth of the points and without the noise that lies outside
the particle, and there the gridding correction is exact; fitting the oversampled voxels themselves was slower
and worse (docs/log.md).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.fields.lattice import gather, half_lattice
from cryodrake.fields.statistics import RIDGE, edge_px, flatten_solvent, shell_weight, wiener_map
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.fourier import volume_to_coeff


@dataclass(frozen=True, eq=False)
class FieldTarget:
    """Attributes:
    points: integer frequencies, kx >= 0, cycles per box.
    values: (re, im) per component at them, divided by the profile: unit variance per column in each shell.
    weights: of each point in the loss, mean 1.
    profile: amplitude per shell; (s) for one component, else (r s).
    density: the map itself.
    """

    points: Float[Tensor, "p 3"]
    values: Float[Tensor, "p c"]
    weights: Float[Tensor, " p"]
    profile: Float[Tensor, "*r s"]
    density: Float[Tensor, "r d d d"]


def from_sums(sums: Float[Tensor, "v 3"], grid: BallGrid, radius_px: float, ssnr: Float[Tensor, " s"] | None = None) -> FieldTarget:
    """Target from back-projected sums.

    Args:
        grid: of the sums; its box is the map's.
        radius_px: radius of the sphere that holds the particle.
        ssnr: signal-to-noise ratio per shell of these sums (`statistics.signal_to_noise`); None: a ridge of a tenth.
    """
    weight = shell_weight(sums, grid)
    ridge = RIDGE * weight if ssnr is None else weight / ssnr
    density = flatten_solvent(wiener_map(sums, grid, ridge), radius_px, edge_px(grid.box))
    return from_density(density[None], torch.full_like(weight, 1 / RIDGE) if ssnr is None else ssnr)


def from_density(density: Float[Tensor, "r d d d"], ssnr: Float[Tensor, " s"]) -> FieldTarget:
    """Target from maps and the signal-to-noise ratio of their shells.

    A whitened residual's likelihood is weighted by the shell's ssnr. Its square root is used: the low shells, whose ratio is
    hundreds, would otherwise be fitted to the last digit before the others are begun.
    """
    box, r = density.shape[-1], density.shape[0]
    points = half_lattice(box, box / 2 + 0.5, density.device)
    values = gather(volume_to_coeff(density), points).unflatten(1, (r, 2))
    shell = points.norm(dim=1).round().long()
    power = density.new_zeros(box // 2 + 1, r).index_add_(0, shell, (values**2).mean(2))
    profile = (power / torch.bincount(shell, minlength=box // 2 + 1).clamp(min=1)[:, None]).sqrt()
    least = 1e-6 * profile.amax(0)
    used = (profile > least).any(1)[shell]  # what one component lacks, another may have
    points, values, shell = points[used], values[used], shell[used]
    amplitude = profile.clamp(min=torch.maximum(least, least.new_tensor(torch.finfo(least.dtype).tiny)))
    weights = ssnr[shell].sqrt() * torch.where(points[:, 0] == 0, 0.5, 1.0)  # the plane holds both mates
    white = (values / amplitude[shell, :, None]).flatten(1)
    return FieldTarget(points, white, weights / weights.mean(), profile[:, 0] if r == 1 else profile.T.contiguous(), density)
