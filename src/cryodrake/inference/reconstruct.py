"""Maps from images whose poses are known: sums by back-projection, and the division that makes a map of them.

num = Σ Tᵀ(C·Y_centred/σ²), den = Σ Tᵀ(C²/σ²) on the half ball; the map is num/(den + 1/τ²), the maximum a posteriori estimate
under a Gaussian prior of variance τ² per shell (Scheres 2012, J. Mol. Biol. 415, 406, eq. 7).
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.blocks import at_once
from cryodrake.physics.slices import backproject, symmetrise, unraster

POINTS_PER_BLOCK = 1 << 20
RIDGE = 0.02  # of the shell's mean denominator, added to every voxel: fills unseen directions with nothing


def accumulate(
    images: AbstractImages,
    rows: Int64[Tensor, " n"],
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    grid: BallGrid,
) -> Float[Tensor, "v 3"]:
    """Numerator (re, im) and denominator of these images on the half ball of `grid`, Friedel mates included."""
    kxy = images.disc.kxy[: images.disc.count(grid.radius)]
    step = max(1, at_once(POINTS_PER_BLOCK, kxy.device) // len(kxy))
    sums = torch.zeros(grid.n_voxels, 3, device=kxy.device)
    for i in range(0, len(rows), step):
        matched, weight = images.matched(rows[i : i + step], len(kxy))
        centred = torch.view_as_real(matched * shift_phases(shift_px[i : i + step], kxy, images.disc.box))
        backproject(centred, weight, grid, rotation[i : i + step], kxy, onto=sums)
    return symmetrise(sums, grid)


def shell_means(values: Float[Tensor, " v"], shell: Int64[Tensor, " v"], n_shells: int) -> Float[Tensor, " s"]:
    """Mean over the voxels of each shell; 0 for shells without voxels."""
    total = values.new_zeros(n_shells).index_add_(0, shell, values)
    return total / torch.bincount(shell, minlength=n_shells).clamp(min=1)


def solve(sums: Float[Tensor, "v 3"], grid: BallGrid, ridge: float = RIDGE) -> Float[Tensor, "d d d"]:
    """Map (d = grid.box) from the sums: num/(den + ridge·⟨den⟩_shell), zero beyond the radius and at k = 0."""
    length, shell = grid.lengths(sums.device), grid.shells(sums.device)
    den = sums[:, 2]
    floor = ridge * shell_means(den, shell, int(shell.max()) + 1)
    inside = (length < grid.radius + 0.5) & (length > 0)
    return unraster(sums[:, :2] * (inside / (den + floor[shell]).clamp(min=1e-12))[:, None], grid)
