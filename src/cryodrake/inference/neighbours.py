"""Which images are near a state, and the nested sets of them that bandwidths stand for."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor


def squared_distances(
    latents: Float[Tensor, "n z"], precision: Float[Tensor, "n z z"] | None, z: Float[Tensor, " z"]
) -> Float[Tensor, " n"]:
    """(z_i - z)ᵀ Λ_i (z_i - z), Λ_i the posterior precision of the image's latent (None: the same for all).

    An image whose latent is uncertain along a direction is no farther for lying off along it (Gilles & Singer 2025, PNAS 122,
    e2419140122, "RECOVAR").
    """
    apart = latents - z
    if precision is None:
        return (apart**2).sum(1)
    return torch.einsum("ni,nij,nj->n", apart, precision, apart)


def nearest_first(distance: Float[Tensor, " n"], half: Int64[Tensor, " n"]) -> tuple[Int64[Tensor, " a"], Int64[Tensor, " b"]]:
    """Rows of half sets 1 and 2, nearest first; equally far ones in the order of the file."""
    order = torch.argsort(distance, stable=True)
    return order[half[order] == 1], order[half[order] == 2]


def set_sizes(n: int, least: int, how_many: int) -> list[int]:
    """Sizes of nested sets, in equal ratios from `least` to all n images; `how_many` of them, equal ones where n is small."""
    return np.geomspace(min(least, n), n, how_many).round().astype(int).tolist() if n else [0] * how_many
