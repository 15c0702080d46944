"""Points of the latents' space worth a look: centres of clusters, and a line along a principal component."""

import warnings

import numpy as np
from jaxtyping import Float, Int64
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

STARTS = 3
PERCENTILES = (5.0, 95.0)


def principal_components(latents: Float[np.ndarray, "n z"]) -> Float[np.ndarray, "z z"]:
    """Unit vectors as rows, the direction of most variance first; the largest entry of each is positive."""
    _, vectors = np.linalg.eigh(np.atleast_2d(np.cov(latents.astype(np.float64), rowvar=False)))
    rows = vectors.T[::-1]
    largest = np.abs(rows).argmax(axis=1)
    return rows * np.sign(rows[np.arange(len(rows)), largest])[:, None]


def kmeans_rows(latents: Float[np.ndarray, "n z"], k: int, seed: int = 0) -> Int64[np.ndarray, " k2"]:
    """Rows of the particles nearest to k-means centres, in order along the first principal component.

    A centre may lie where no particle is; the particle next to it does not. Fewer than k where latents coincide.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct latents than k
        centres = KMeans(k, n_init=STARTS, random_state=seed).fit(latents).cluster_centers_
    rows = np.unique([((latents - centre) ** 2).sum(axis=1).argmin() for centre in centres])
    return rows[np.argsort(latents[rows] @ principal_components(latents)[0], kind="stable")]


def along_component(latents: Float[np.ndarray, "n z"], component: int, n: int) -> Float[np.ndarray, "m z"]:
    """n points in equal steps through the mean along a principal component (0-based), from its 5th to its 95th percentile."""
    direction, mean = principal_components(latents)[component], latents.mean(axis=0, dtype=np.float64)
    low, high = np.percentile((latents - mean) @ direction, PERCENTILES)
    return (mean + np.linspace(low, high, n)[:, None] * direction).astype(np.float32)
