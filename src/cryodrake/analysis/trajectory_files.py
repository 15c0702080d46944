"""Files of a trajectory beside its maps: states, particles on the way, and the way drawn over the particles."""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from cryodrake.analysis.figures_latents import write_way
from cryodrake.analysis.trajectory import Trajectory
from cryodrake.inference.latent_components import principal_components
from cryodrake.io.atomic import write_text_atomic


def write_trajectory(folder: Path, found: Trajectory, latents: Float[np.ndarray, "n z"]) -> list[Path]:
    """path.txt, the rows of the particles stepped over (a line each; not of straight lines), and trajectory.{png,csv}."""
    if found.rows is not None:
        write_text_atomic(folder / "path.txt", "".join(f"{row}\n" for row in found.rows))
    return _write_map_of_way(folder / "trajectory", found, latents)


def _write_map_of_way(stem: Path, found: Trajectory, latents: Float[np.ndarray, "n z"]) -> list[Path]:
    """The way over the density of the particles, along the first two components. CSV: a row a state."""
    components = principal_components(np.concatenate([latents, found.z]))
    scores = components.scores if components.scores.shape[1] > 1 else np.pad(components.scores, ((0, 0), (0, 1)))
    particles, way = scores[: len(latents), :2], scores[len(latents) :, :2]
    columns = {"state": np.arange(len(way)), "length": found.length, "nearest_particle": found.nearest, "gap": found.gap}
    columns |= {"pc1": way[:, 0], "pc2": way[:, 1]} | {f"z{i + 1}": column for i, column in enumerate(found.z.T)}
    return write_way(stem, particles, way, ("pc1", "pc2"), pd.DataFrame(columns))
