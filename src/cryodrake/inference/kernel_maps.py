"""Sums for the map at a state from the images near it, with a bandwidth for every shell that held-out images choose.

A map of few near images is noisy, one of many is blurred by motion, and which is worse depends on the frequency: motion shows
first at high frequencies, but noise drowns the highest. As in RECOVAR (Gilles & Singer 2025, PNAS 122, e2419140122) the map of
one half set at each bandwidth is compared, shell by shell, with the other half's at the narrowest one, which has the least bias.
That map's numerator num and weight den are sufficient statistics, so

    error(s) = Σ_{v in s} den |V(v)|² - 2 Re(V(v)* num(v))

is, up to a constant, -log likelihood of the nearest images of the other half given V; no noisy map need be divided out.
Bandwidths are nested sets of images by distance: each image is back-projected once, and every set is a cumulative sum. All images
are among the candidates, so at worst the outcome is the static map.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.fields.statistics import edge_px
from cryodrake.inference.ball_mask import BallMask
from cryodrake.inference.neighbours import set_sizes
from cryodrake.inference.reconstruct import RIDGE, accumulate, shell_means
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.masks import sphere

BANDWIDTHS = 12
LEAST = 50  # images of a half set in the narrowest set


@dataclass(frozen=True, eq=False)
class KernelSums:
    """The half sets' sums, each shell at its own bandwidth.

    Attributes:
        sums: (re, im) of the numerator, and weight.
        n_images: of both half sets in each shell.
    """

    sums: Float[Tensor, "2 v 3"]
    n_images: Int64[Tensor, " s"]


def kernel_sums(
    images: AbstractImages,
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    nearest: tuple[Int64[Tensor, " a"], Int64[Tensor, " b"]],
    grid: BallGrid,
    radius_px: float,
    bandwidths: int = BANDWIDTHS,
) -> KernelSums:
    """Sums of the images near a state.

    Args:
        nearest: rows of each half set, nearest first (`neighbours.nearest_first`).
        radius_px: of the sphere that holds the particle: noise outside does not count.
        bandwidths: how many are tried.
    """
    device = rotation.device
    sizes = [set_sizes(len(rows), LEAST, bandwidths) for rows in nearest]
    judge = _Judge(grid, radius_px, device)
    sums = torch.zeros(2, grid.n_voxels, 3, device=device)
    kept = torch.zeros_like(sums)
    best = torch.full((grid.box // 2 + 1,), torch.inf, device=device)
    n_images = torch.zeros(len(best), dtype=torch.int64, device=device)
    narrowest = sums
    for j in range(bandwidths):
        for h, rows in enumerate(nearest):
            new = rows[sizes[h][j - 1] if j else 0 : sizes[h][j]]
            sums[h] += accumulate(images, new, rotation[new], shift_px[new], grid)
        if j == 0:
            narrowest = sums.clone()
        error = _smooth(judge.errors(sums[0], narrowest[1]) + judge.errors(sums[1], narrowest[0]))
        better = error < best
        best = torch.where(better, error, best)
        kept = torch.where(better[judge.shell][:, None], sums, kept)
        n_images[better] = sizes[0][j] + sizes[1][j]
    return KernelSums(kept, n_images)


class _Judge:
    """Compares the map of some images, without its solvent, with the sums of others."""

    def __init__(self, grid: BallGrid, radius_px: float, device: torch.device):
        self.n_shells = grid.box // 2 + 1
        self.shell = grid.shells(device).clamp(max=self.n_shells - 1)
        length = grid.lengths(device)
        self._inside = (length < grid.radius + 0.5) & (length > 0)
        self._mask = BallMask(grid, sphere(grid.box, radius_px, edge_px(grid.box), device))

    def errors(self, sums: Float[Tensor, "v 3"], held_out: Float[Tensor, "v 3"]) -> Float[Tensor, " s"]:
        """Per shell."""
        weight = sums[:, 2] + RIDGE * shell_means(sums[:, 2], self.shell, self.n_shells)[self.shell]
        re, im = self._mask(sums[:, :2] * (self._inside / weight.clamp(min=1e-12))[:, None]).unbind(1)
        num_re, num_im, den = held_out.unbind(1)
        misfit = re * (den * re - 2 * num_re) + im * (den * im - 2 * num_im)
        return misfit.new_zeros(self.n_shells).index_add_(0, self.shell, misfit)


def _smooth(error: Float[Tensor, " s"]) -> Float[Tensor, " s"]:
    """Sum over each shell and its neighbours, whose best bandwidths are alike: one shell alone is less sure of it."""
    padded = torch.nn.functional.pad(error, (1, 1))
    return padded[:-2] + padded[1:-1] + padded[2:]
