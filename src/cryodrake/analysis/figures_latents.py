"""Latents as figures, each with its numbers beside it as CSV: density, clusters, variance, and against what else is known.

Many particles hide each other as dots, so they are counted in hexagons.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cryodrake.analysis.figures_curves import COLOURS, mollweide
from cryodrake.analysis.figures_files import write_figure

BINS = 20
Points = Float[np.ndarray, "n 2"]


def write_density(stem: Path, points: Points, names: tuple[str, str]) -> list[Path]:
    """How many particles are where: hexagons of (x, y), log colours. CSV: x, y, particles of each hexagon."""
    figure, axes = _page()
    cells = axes.hexbin(*points.T, gridsize=_across(len(points)), mincnt=1, bins="log", cmap="viridis", linewidths=0.1)
    figure.colorbar(cells, ax=axes, shrink=0.8, label="particles")
    x, y = np.asarray(cells.get_offsets(), dtype=np.float64).T
    counts = np.asarray(cells.get_array(), dtype=np.float64)
    _label(axes, names, f"{len(points):,} particles")
    return write_figure(stem, figure, pd.DataFrame({names[0]: x, names[1]: y, "particles": counts.astype(int)}))


def write_clusters(
    stem: Path, points: Points, names: tuple[str, str], labels: Int[np.ndarray, " n"], centre_rows: Int[np.ndarray, " m"]
) -> list[Path]:
    """Hexagons coloured by the cluster most of their particles are in, centres numbered from 1. CSV: one row a cluster."""
    figure, axes = _page()
    colour_map = colormaps["turbo"].resampled(max(len(centre_rows), 2))
    axes.hexbin(
        points[:, 0], points[:, 1], C=labels.astype(np.float64), reduce_C_function=_most_frequent, gridsize=_across(len(points)),
        cmap=colour_map, vmin=-0.5, vmax=len(centre_rows) - 0.5, linewidths=0.1, alpha=0.8,
    )  # fmt: skip
    centres = points[centre_rows]
    for i, (x, y) in enumerate(centres, 1):
        axes.text(x, y, str(i), ha="center", va="center", size=8, weight="bold", bbox=_LABEL)
    _label(axes, names, f"{len(centre_rows)} clusters")
    count = np.bincount(labels, minlength=len(centre_rows))
    columns = {"cluster": np.arange(len(count)) + 1, "particles": count, "centre_row": centre_rows}
    return write_figure(stem, figure, pd.DataFrame(columns | {names[0]: centres[:, 0], names[1]: centres[:, 1]}))


def write_variance(stem: Path, share: Float[np.ndarray, " z"], of: str = "latents") -> list[Path]:
    """Explained variance of each component, and their sum so far."""
    figure, axes = _page()
    number = np.arange(1, len(share) + 1)
    axes.bar(number, share, color=COLOURS[0], width=0.7, label="each")
    axes.plot(number, np.cumsum(share), color=COLOURS[1], marker="o", ms=4, lw=1.5, label="together")
    axes.set(ylim=(0, 1.03), xticks=number if len(number) <= 20 else number[::5], ylabel=f"share of the variance of the {of}")
    axes.set_xlabel("principal component")
    axes.legend(frameon=False, loc="center right")
    axes.spines[["top", "right"]].set_visible(False)
    return write_figure(stem, figure, pd.DataFrame({"component": number, "share": share, "cumulative": np.cumsum(share)}))


def write_against(
    stem: Path, values: Float[np.ndarray, " n"], name: str, score: Float[np.ndarray, " n"], score_name: str
) -> list[Path]:
    """The score over another quantity: hexagons, and quartiles in `BINS` equally full bins. CSV: a row a bin."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)))
    which = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
    frame = pd.DataFrame({"bin": which, name: values, score_name: score})
    bins = frame.groupby("bin").agg(
        **{
            name: (name, "median"),
            "particles": (name, "size"),
            f"{score_name}_q25": (score_name, lambda v: v.quantile(0.25)),
            f"{score_name}_median": (score_name, "median"),
            f"{score_name}_q75": (score_name, lambda v: v.quantile(0.75)),
        }
    )
    figure, axes = _page()
    cells = axes.hexbin(values, score, gridsize=_across(len(values)), mincnt=1, bins="log", cmap="Greys", linewidths=0.1)
    figure.colorbar(cells, ax=axes, shrink=0.8, label="particles")
    axes.plot(bins[name], bins[f"{score_name}_median"], color=COLOURS[1], lw=2, label="median")
    axes.fill_between(
        bins[name], bins[f"{score_name}_q25"], bins[f"{score_name}_q75"], color=COLOURS[1], alpha=0.25, lw=0, label="half of all"
    )
    axes.legend(framealpha=0.85, edgecolor="none", loc="upper right")
    _label(axes, (name, score_name), "level: independent")
    return write_figure(stem, figure, bins.reset_index(drop=True))


def write_by_view(stem: Path, view: Float[np.ndarray, "n 3"], score: Float[np.ndarray, " n"], score_name: str) -> list[Path]:
    """Mean score of the particles seen from each direction, on Mollweide's map. CSV: x, y (of the map), mean, particles."""
    x, y = mollweide(view)
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    across = int(np.clip(np.sqrt(len(x)) / 3, 8, 40))
    grid = {"gridsize": (across, max(across // 3, 2)), "extent": (-2, 2, -1, 1), "linewidths": 0.1}
    counts = axes.hexbin(x, y, mincnt=1, **grid)  # type: ignore[arg-type]
    counts.remove()
    cells = axes.hexbin(x, y, C=score, cmap="coolwarm", mincnt=1, **grid)  # type: ignore[arg-type]
    spread = float(np.std(score)) or 1.0
    cells.set_clim(float(np.mean(score)) - spread, float(np.mean(score)) + spread)
    angle = np.linspace(0, 2 * np.pi, 200)
    (outline,) = axes.plot(2 * np.cos(angle), np.sin(angle), color="#444444", lw=1)
    cells.set_clip_path(outline.get_path(), axes.transData)
    axes.set(aspect="equal", xlim=(-2.02, 2.02), ylim=(-1.02, 1.02), title=f"mean {score_name} by viewing direction")
    axes.axis("off")
    figure.colorbar(cells, ax=axes, shrink=0.7, label=f"mean {score_name}, ± one standard deviation of all")
    at = np.asarray(cells.get_offsets(), dtype=np.float64)
    columns = {"x": at[:, 0], "y": at[:, 1], f"mean_{score_name}": np.asarray(cells.get_array(), dtype=np.float64)}
    return write_figure(stem, figure, pd.DataFrame(columns | {"particles": np.asarray(counts.get_array(), dtype=np.int64)}))


def write_way(stem: Path, points: Points, way: Float[np.ndarray, "m 2"], names: tuple[str, str], table: pd.DataFrame) -> list[Path]:
    """A way through the particles, its states numbered, over their density. CSV: the table."""
    figure, axes = _page()
    cells = axes.hexbin(*points.T, gridsize=_across(len(points)), mincnt=1, bins="log", cmap="Greys", linewidths=0.1)
    figure.colorbar(cells, ax=axes, shrink=0.8, label="particles")
    axes.plot(*way.T, color=COLOURS[1], marker="o", ms=5, lw=1.5)
    for i, state in enumerate(way):
        axes.annotate(str(i), state, xytext=(5, 5), textcoords="offset points", size=9, color=COLOURS[1], weight="bold")
    _label(axes, names, f"{len(way)} states on the way")
    return write_figure(stem, figure, table)


_LABEL = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75}


def _most_frequent(labels: np.ndarray | list[float]) -> float:
    return float(np.bincount(np.asarray(labels, dtype=np.int64)).argmax())


def _across(n: int) -> int:
    return int(np.clip(np.sqrt(n) / 2, 12, 60))


def _page() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.0, 4.6), layout="constrained")
    return figure, figure.subplots()


def _label(axes: Axes, names: tuple[str, str], title: str) -> None:
    axes.set(xlabel=names[0], ylabel=names[1], title=title)
    axes.spines[["top", "right"]].set_visible(False)
