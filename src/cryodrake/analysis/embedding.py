"""Latents seen along their principal components, and as UMAP lays them out where umap-learn is installed."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Components:
    """Attributes:
    scores: coordinates along the components, largest variance first.
    axes: (component, z) unit vectors; the entry of largest size is positive, so that a second run has the same signs.
    mean: of the latents.
    variance: along each component; `share` of the total (0 where there is no variance at all).
    """

    scores: Float[np.ndarray, "n z"]
    axes: Float[np.ndarray, "z z"]
    mean: Float[np.ndarray, " z"]
    variance: Float[np.ndarray, " z"]

    @property
    def share(self) -> Float[np.ndarray, " z"]:
        return self.variance / max(float(self.variance.sum()), 1e-300)


def principal_components(latents: Float[np.ndarray, "n z"]) -> Components:
    """PCA, unscaled: a latent that varies more counts for more."""
    mean = latents.mean(axis=0)
    centred = latents - mean
    variance, vectors = np.linalg.eigh(centred.T @ centred / len(latents))
    variance, axes = np.maximum(variance[::-1], 0), vectors.T[::-1]
    largest = np.abs(axes).argmax(axis=1)
    axes = axes * np.where(axes[np.arange(len(axes)), largest] < 0, -1.0, 1.0)[:, None]
    return Components(centred @ axes.T, axes, mean, variance)


def umap_layout(latents: Float[np.ndarray, "n z"], seed: int) -> Float[np.ndarray, "n 2"] | None:
    """UMAP in two dimensions (McInnes et al. 2018, arXiv:1802.03426); None where umap-learn is not installed."""
    try:
        from umap import UMAP
    except ImportError:
        return None
    return np.asarray(UMAP(n_components=2, random_state=seed, n_jobs=1).fit_transform(latents), dtype=np.float32)
