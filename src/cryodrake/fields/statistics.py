"""From back-projected sums to a Wiener map: the M-step of EM on voxels (Scheres 2012, J. Mol. Biol. 415, 406, eqs 7 and 9).

Sums are (v 3) on a BallGrid, columns (re, im) of Σ C·Y/σ² and Σ C²/σ², as `backproject` and `symmetrise` leave them.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.physics import masks
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.fsc import fsc
from cryodrake.physics.slices import unraster

RIDGE = 0.1  # of the shell's mean weight, where nothing is known about the signal's power


def shell_weight(sums: Float[Tensor, "v 3"], grid: BallGrid) -> Float[Tensor, " s"]:
    """Mean of the weights over each shell 0 … box/2; empty shells have the smallest positive float."""
    shell = grid.shells(sums.device)
    n = grid.box // 2 + 1
    keep = shell < n
    total = sums.new_zeros(n).index_add_(0, shell[keep], sums[keep, 2])
    return (total / torch.bincount(shell[keep], minlength=n).clamp(min=1)).clamp(min=torch.finfo(sums.dtype).tiny)


def wiener_map(sums: Float[Tensor, "v 3"], grid: BallGrid, ridge: Float[Tensor, " s"]) -> Float[Tensor, "d d d"]:
    """numerator / (weight + ridge(shell)) as a density, gridding-corrected; beyond the last shell its ridge is used."""
    floor = ridge[grid.shells(sums.device).clamp(max=len(ridge) - 1)]
    return unraster(sums[:, :2] / (sums[:, 2] + floor)[:, None], grid)


def flatten_solvent(density: Float[Tensor, "d d d"], radius_px: float, edge_px: float) -> Float[Tensor, "d d d"]:
    """Soft sphere around the particle, after the mean outside it is taken off (images do not determine it)."""
    inside = masks.sphere(density.shape[-1], radius_px, edge_px, density.device)
    outside = 1 - inside
    return (density - (density * outside).sum() / outside.sum().clamp(min=1)) * inside


def signal_to_noise(
    sums_1: Float[Tensor, "v 3"], sums_2: Float[Tensor, "v 3"], grid: BallGrid, radius_px: float
) -> Float[Tensor, " s"]:
    """Spectral signal-to-noise ratio of the map of both halves: f/(1-f), f = 2 FSC/(1 + FSC), under the solvent mask."""
    maps = [
        flatten_solvent(wiener_map(half, grid, RIDGE * shell_weight(half, grid)), radius_px, edge_px(grid.box))
        for half in (sums_1, sums_2)
    ]
    half_fsc = fsc(maps[0], maps[1]).clamp(min=0)
    both = (2 * half_fsc / (1 + half_fsc)).clamp(1e-2, 1 - 1e-3)
    both[0] = both[1]
    return both / (1 - both)


def edge_px(box: int) -> float:
    """Width of the solvent mask's edge: 3 px at 64."""
    return box * 3 / 64
