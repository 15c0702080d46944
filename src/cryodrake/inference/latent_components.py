"""Principal components of latents, and states along them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

PERCENTILES = (5.0, 95.0)


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
    """PCA in double precision, unscaled: a latent that varies more counts for more."""
    latents = latents.astype(np.float64)
    mean = latents.mean(axis=0)
    centred = latents - mean
    variance, vectors = np.linalg.eigh(centred.T @ centred / len(latents))
    variance, axes = np.maximum(variance[::-1], 0), vectors.T[::-1]
    largest = np.abs(axes).argmax(axis=1)
    axes = axes * np.where(axes[np.arange(len(axes)), largest] < 0, -1.0, 1.0)[:, None]
    return Components(centred @ axes.T, axes, mean, variance)


def along_component(latents: Float[np.ndarray, "n z"], component: int, n: int) -> Float32[np.ndarray, "m z"]:
    """n states in equal steps through the mean along a principal component (0-based), from its 5th to its 95th percentile."""
    found = principal_components(latents)
    low, high = np.percentile(found.scores[:, component], PERCENTILES)
    return (found.mean + np.linspace(low, high, n)[:, None] * found.axes[component]).astype(np.float32)
