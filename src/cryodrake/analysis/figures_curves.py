"""The FSC of the half maps and the distribution of viewing directions, as figures with their numbers beside them."""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from cryodrake.analysis.figures_files import write_figure

COLOURS = ("#24507a", "#d1702f", "#4f9a6a", "#8a6fb0")


def write_fsc(path: Path, table: pd.DataFrame) -> list[Path]:
    """Every column whose name begins with `fsc`, over spatial frequency, with the usual two thresholds. CSV: the table.

    Args:
        path: of the picture, .png.
        table: columns `frequency_inv_A` and `fsc…`, a row a shell.
    """
    figure = Figure(figsize=(6.0, 3.8), layout="constrained")
    axes = figure.subplots()
    frequency = table["frequency_inv_A"].to_numpy()
    curves = [name for name in table.columns if name.startswith("fsc")]
    for name, colour in zip(curves, COLOURS * len(curves), strict=False):
        words = name.removeprefix("fsc").strip("_").replace("_", " ") or "half maps"
        axes.plot(frequency, table[name], color=colour, lw=1.8, label=words)
    for threshold in (0.5, 0.143):
        axes.axhline(threshold, color="#888888", lw=0.8, ls=":")
        axes.text(0.01 * frequency[-1], threshold + 0.015, f"{threshold:g}", color="#666666", size=8)
    axes.axhline(0, color="#444444", lw=0.6)
    axes.set(xlim=(0, frequency[-1]), ylim=(-0.15, 1.03), xlabel="resolution (Å)", ylabel="Fourier shell correlation")
    ticks = np.linspace(0, frequency[-1], 7)[1:]
    axes.set_xticks(ticks, [f"{1 / tick:.1f}" for tick in ticks])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right")
    return write_figure(path.with_suffix(""), figure, table)


def write_views(path: Path, rotations: Float[np.ndarray, "n 3 3"]) -> list[Path]:
    """Where the particles were seen from: Mollweide's equal-area projection, colour 1 for evenly spread views.

    CSV: x, y of the projection, density and particles, a row a cell.
    """
    x, y = mollweide(rotations[:, 2, :])  # the view's axis in the map is R's third row
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    across = int(np.clip(np.sqrt(len(x)) / 2, 10, 50))  # so that a cell expects a few views
    cells = axes.hexbin(x, y, gridsize=(across, across // 3), extent=(-2, 2, -1, 1), cmap="viridis", linewidths=0.1)
    centres = np.asarray(cells.get_offsets(), dtype=np.float64)
    inside = (centres[:, 0] / 2) ** 2 + centres[:, 1] ** 2 < 1
    count = np.asarray(cells.get_array(), dtype=np.float64)
    density = count * inside.sum() / len(x)
    cells.set_array(density)
    cells.set_clim(0, max(2.0, float(np.percentile(density[inside], 99))))
    angle = np.linspace(0, 2 * np.pi, 200)
    (outline,) = axes.plot(2 * np.cos(angle), np.sin(angle), color="#444444", lw=1)
    cells.set_clip_path(outline.get_path(), axes.transData)
    axes.set(aspect="equal", xlim=(-2.02, 2.02), ylim=(-1.02, 1.02), title=f"viewing directions, {len(x):,} particles")
    axes.axis("off")
    figure.colorbar(cells, ax=axes, shrink=0.7, label="density (1 = even)")
    columns = {"x": centres[:, 0], "y": centres[:, 1], "density": density, "particles": count.astype(int)}
    return write_figure(path.with_suffix(""), figure, pd.DataFrame(columns)[inside | (count > 0)])


def mollweide(directions: Float[np.ndarray, "n 3"]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Equal-area map of unit vectors (x, y, z) to an ellipse of half axes 2 and 1, z up (Snyder 1987, p. 251)."""
    latitude = np.arcsin(np.clip(directions[:, 2], -1, 1))
    longitude = np.arctan2(directions[:, 1], directions[:, 0])
    theta = latitude.copy()
    for _ in range(12):  # Newton on 2θ + sin 2θ = π sin(latitude); at the poles its slope vanishes, and θ is the latitude
        excess = 2 * theta + np.sin(2 * theta) - np.pi * directions[:, 2]
        theta = np.clip(theta - excess / np.maximum(2 + 2 * np.cos(2 * theta), 1e-6), -np.pi / 2, np.pi / 2)
    return 2 / np.pi * longitude * np.cos(theta), np.sin(theta)
