"""k-means clusters of latents, each with the particle nearest to its centre: a state that was seen, not an average of states."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from cryodrake.analysis.embedding import principal_components


@dataclass(frozen=True, eq=False)
class Clusters:
    """Attributes:
    labels: cluster of each particle, numbered along the first principal component, so that neighbours have near numbers.
    centre_rows: the particle nearest to each centre.
    """

    labels: Int[np.ndarray, " n"]
    centre_rows: Int[np.ndarray, " m"]


def k_means(latents: Float[np.ndarray, "n z"], k: int, seed: int) -> Clusters:
    """k clusters, or as many as there are distinct latents."""
    k = min(k, len(np.unique(latents, axis=0)))
    # In single precision, as latents are stored: the same clusters for whoever reads the file.
    found = KMeans(k, n_init=3, random_state=seed).fit(latents.astype(np.float32))
    rows = NearestNeighbors(n_neighbors=1).fit(latents).kneighbors(found.cluster_centers_, return_distance=False)[:, 0]
    order = np.argsort(principal_components(latents).scores[rows, 0], kind="stable")
    number = np.argsort(order)
    return Clusters(number[found.labels_].astype(np.int64), rows[order].astype(np.int64))
