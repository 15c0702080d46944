"""A few states that stand for all: images are posed against the map of the nearest one, so a search stays a matrix product."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from sklearn.cluster import KMeans
from torch import Tensor

IMAGES_PER_ANCHOR = 100
FITTED = 20000  # images that the centres are found from


def anchors_of(latents: Float[Tensor, "n z"], most: int, seed: int) -> tuple[Float[Tensor, "a z"], Int64[Tensor, " n"]]:
    """At most `most` centres of k-means, and each image's nearest one."""
    points = latents.cpu().numpy().astype(np.float64)
    k = max(1, min(most, len(points) // IMAGES_PER_ANCHOR))
    fitted = KMeans(k, n_init=1, random_state=seed).fit(points[:: max(1, len(points) // FITTED)])
    centres = torch.from_numpy(fitted.cluster_centers_).float().to(latents.device)
    return centres, torch.cdist(latents, centres).argmin(1)
