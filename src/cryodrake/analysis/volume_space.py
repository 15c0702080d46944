"""How the maps of states differ: principal components of maps, from their inner products."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class MapComponents:
    """Attributes:
    mean: of the maps.
    axes: unit maps, largest variance first.
    scores: of each map along them.
    share: of the variance between the maps.
    """

    mean: Float[Tensor, "d d d"]
    axes: Float[Tensor, "c d d d"]
    scores: Float[Tensor, "m c"]
    share: Float[Tensor, " c"]


def map_components(maps: Float[Tensor, "m d d d"], most: int) -> MapComponents:
    """Up to `most` components, by the m × m matrix of inner products; none that is only rounding. At least two maps."""
    mean = maps.mean(0)
    flat = (maps - mean).flatten(1)
    variance, vectors = torch.linalg.eigh((flat @ flat.T).double())
    variance, vectors = variance.flip(0).clamp(min=0), vectors.flip(1)
    kept = min(most, len(maps) - 1, int((variance > 1e-6 * variance.sum().clamp(min=1e-30)).sum()))
    length = variance[:kept].sqrt()
    axes = (vectors[:, :kept] / length).T.float() @ flat
    # The sign of a component is arbitrary: the map with the largest score has a positive one.
    scores = vectors[:, :kept] * length
    sign = torch.where(scores.gather(0, scores.abs().argmax(0)[None])[0] < 0, -1.0, 1.0)
    share = variance[:kept] / variance.sum().clamp(min=1e-30)
    return MapComponents(mean, (axes * sign.float()[:, None]).view(-1, *mean.shape), (scores * sign).float(), share.float())
