"""Files of a trajectory beside its maps: states, particles on the way, and the way drawn over the particles."""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from cryodrake.analysis.embedding import principal_components
from cryodrake.analysis.figures_curves import COLOURS
from cryodrake.analysis.figures_files import write_figure
from cryodrake.analysis.trajectory import Trajectory
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
    figure = Figure(figsize=(6.0, 4.6), layout="constrained")
    axes = figure.subplots()
    across = int(np.clip(np.sqrt(len(latents)) / 2, 12, 60))
    cells = axes.hexbin(*particles.T, gridsize=across, mincnt=1, bins="log", cmap="Greys", linewidths=0.1)
    figure.colorbar(cells, ax=axes, shrink=0.8, label="particles")
    axes.plot(*way.T, color=COLOURS[1], marker="o", ms=5, lw=1.5)
    for i, (x, y) in enumerate(way):
        axes.annotate(str(i), (x, y), xytext=(4, 4), textcoords="offset points", size=8, color=COLOURS[0])
    axes.set(xlabel="pc1", ylabel="pc2", title=f"{len(way)} states on the way")
    axes.spines[["top", "right"]].set_visible(False)
    columns = {"state": np.arange(len(way)), "length": found.length, "nearest_particle": found.nearest, "gap": found.gap}
    columns |= {"pc1": way[:, 0], "pc2": way[:, 1]} | {f"z{i + 1}": column for i, column in enumerate(found.z.T)}
    return write_figure(stem, figure, pd.DataFrame(columns))
