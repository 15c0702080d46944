"""Which normals of a mixture make one group: those between which the density of states has no deep valley.

Normals that share a continuum overlap; between separate structures there is nothing. All extrema of two normals' density lie on a
curve between their centres, the ridgeline (Ray & Lindsay 2005, Ann. Stat. 33, 2042, eq. 4), so a valley shows there if anywhere.
Normals are merged as Hennig's ridgeline ratio does (2010, Adv. Data Anal. Classif. 4, 3).
"""

import torch
from jaxtyping import Float, Int64
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from cryodrake.inference.state_mixture import GaussianMixture

VALLEY = 0.03  # least density between two centres, of that at the lower one, that joins them: a continuum has 0.1 (docs/log.md)
POINTS = 21  # of a ridgeline


def groups_of(mixture: GaussianMixture) -> Int64[Tensor, " k"]:
    """Group of each normal, from 0."""
    _, label = connected_components((valleys(mixture) >= VALLEY).cpu().numpy(), directed=False)
    return torch.from_numpy(label).long().to(mixture.share.device)


def likeliest_groups(group: Int64[Tensor, " k"], chance: Float[Tensor, "n k"]) -> Int64[Tensor, " n"]:
    """Group of each image, from 0, the one with the most images first; a group that no image is likeliest in has no number.

    Args:
        group: of each normal. chance: that an image is of each normal.
    """
    of_group = chance.new_zeros(len(chance), int(group.max()) + 1).index_add_(1, group, chance)
    _, label, images = of_group.argmax(1).unique(return_inverse=True, return_counts=True)
    return images.argsort(descending=True, stable=True).argsort()[label]


def valleys(mixture: GaussianMixture) -> Float[Tensor, "k k"]:
    """Least density on each pair's ridgeline, as a share of that at the lower end; 1 for a normal and itself."""
    k, inverse = len(mixture.share), torch.linalg.inv(mixture.covariance)
    pulled = torch.einsum("kyz,kz->ky", inverse, mixture.centre)
    way = torch.linspace(0, 1, POINTS, dtype=mixture.share.dtype, device=mixture.share.device)
    ratio = torch.ones(k, k, dtype=way.dtype, device=way.device)
    for a in range(k):
        for b in range(a):
            precision = (1 - way)[:, None, None] * inverse[a] + way[:, None, None] * inverse[b]
            points = torch.linalg.solve(precision, (1 - way)[:, None] * pulled[a] + way[:, None] * pulled[b])
            density = mixture.log_density(points)
            ratio[a, b] = ratio[b, a] = (density.min() - torch.minimum(density[0], density[-1])).exp()
    return ratio
