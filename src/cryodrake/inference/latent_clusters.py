"""k-means clusters of latents, each with the particle nearest to its centre: a state that was seen, not an average of states."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from cryodrake.inference.latent_components import principal_components

STARTS = 3


@dataclass(frozen=True, eq=False)
class Clusters:
    """Attributes:
    labels: cluster of each particle, numbered along the first principal component, so that neighbours have near numbers.
    centre_rows: the particle nearest to each centre.
    """

    labels: Int64[np.ndarray, " n"]
    centre_rows: Int64[np.ndarray, " m"]

    @property
    def distinct_rows(self) -> Int64[np.ndarray, " k"]:
        """`centre_rows` in their order, without the particles that are nearest to a second centre too."""
        first = np.unique(self.centre_rows, return_index=True)[1]
        return self.centre_rows[np.sort(first)]


def k_means(latents: Float[np.ndarray, "n z"], k: int, seed: int) -> Clusters:
    """k clusters, or as many as there are distinct latents."""
    single = latents.astype(np.float32)  # as latents are stored: the same clusters for whoever reads the file
    k = min(k, len(np.unique(single, axis=0)))
    found = KMeans(k, n_init=STARTS, random_state=seed).fit(single)
    rows = NearestNeighbors(n_neighbors=1).fit(single).kneighbors(found.cluster_centers_, return_distance=False)[:, 0]
    order = np.argsort(principal_components(latents).scores[rows, 0], kind="stable")
    number = np.argsort(order)
    return Clusters(number[found.labels_].astype(np.int64), rows[order].astype(np.int64))
