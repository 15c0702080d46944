"""k-means clusters of latents, each with the particle nearest to its centre: a state that was seen, not an average of states."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors


@dataclass(frozen=True, eq=False)
class Clusters:
    """Attributes:
    labels: cluster of each particle, numbered along the first principal direction of the centres, so that neighbours
        have near numbers.
    centre_rows: the particle nearest to each centre.
    """

    labels: Int[np.ndarray, " n"]
    centre_rows: Int[np.ndarray, " m"]


def k_means(latents: Float[np.ndarray, "n z"], k: int, seed: int) -> Clusters:
    """k clusters, or as many as there are distinct latents."""
    k = min(k, len(np.unique(latents, axis=0)))
    found = KMeans(k, n_init=3, random_state=seed).fit(latents)
    centres = found.cluster_centers_
    direction = np.linalg.svd(centres - centres.mean(axis=0), full_matrices=False)[2][0]
    direction = direction * (-1 if direction[np.abs(direction).argmax()] < 0 else 1)
    order = np.argsort(centres @ direction, kind="stable")
    rank = np.argsort(order)
    rows = NearestNeighbors(n_neighbors=1).fit(latents).kneighbors(centres[order], return_distance=False)[:, 0]
    return Clusters(rank[found.labels_].astype(np.int64), rows.astype(np.int64))
