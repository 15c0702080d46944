"""Latents as UMAP lays them out, where umap-learn is installed."""

import numpy as np
from jaxtyping import Float


def umap_layout(latents: Float[np.ndarray, "n z"], seed: int) -> Float[np.ndarray, "n 2"] | None:
    """UMAP in two dimensions (McInnes et al. 2018, arXiv:1802.03426); None where umap-learn is not installed."""
    try:
        from umap import UMAP
    except ImportError:
        return None
    return np.asarray(UMAP(n_components=2, random_state=seed, n_jobs=1).fit_transform(latents), dtype=np.float32)
