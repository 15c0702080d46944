"""One table of all that is known of each particle and its state, for other programs."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from cryodrake.analysis.covariates import Covariates


def particle_table(
    latents: Float[np.ndarray, "n z"],
    scores: Float[np.ndarray, "n z"],
    layout: Float[np.ndarray, "n 2"] | None,
    labels: Int[np.ndarray, " n"],
    covariates: Covariates,
) -> pd.DataFrame:
    """Columns row (from 0), z1 …, pc1 …, umap1, umap2, class (from 1), and confidence, defocus_A, scale where they are known."""
    columns: dict[str, Any] = {"row": np.arange(len(latents))}
    for name, values in (("z", latents), ("pc", scores), ("umap", layout)):
        if values is not None:
            columns |= {f"{name}{i + 1}": values[:, i] for i in range(values.shape[1])}
    columns["class"] = labels + 1
    for name in ("confidence", "defocus_A", "scale"):
        values = getattr(covariates, name)
        if values is not None:
            columns[name] = values
    return pd.DataFrame(columns)
