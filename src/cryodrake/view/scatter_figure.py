"""Particles as points: one WebGL trace; customdata is the row of each point, so that a click says which particle it is."""

import time
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float, Int

from cryodrake.view.style import INK, MORE, SERIES, dressed, plain
from cryodrake.view.thinning import Window, thinned

MOST_CLASSES = len(SERIES) + len(MORE)
SIZES_px = ((3_000, 6.0), (20_000, 4.0))


def scatter(
    columns: dict[str, np.ndarray],
    x: str,
    y: str,
    colour: str | None,
    is_shown: Bool[np.ndarray, " n"],
    height: int,
    is_chosen: Bool[np.ndarray, " n"] | None = None,
    window: Window | None = None,
) -> go.Figure:
    """Those of the rows shown that can be told apart in the window; others than the chosen are faint."""
    across, up = (numbers(columns[name]) for name in (x, y))
    rows = thinned(across, up, is_shown, window)
    size = next((size for most, size in SIZES_px if len(rows) <= most), SIZES_px[-1][1])
    marker = {"size": size, "opacity": 0.75, "color": SERIES[0], "line": {"width": 0}}
    if colour is not None:
        marker |= colours(columns[colour], colour, rows)
    hover = f"row %{{customdata}}<br>{plain(x)} %{{x:.4g}}<br>{plain(y)} %{{y:.4g}}<extra></extra>"
    figure = go.Figure(
        go.Scattergl(
            x=across[rows].astype(np.float32), y=up[rows].astype(np.float32), customdata=rows.tolist(), mode="markers",
            marker=marker, hovertemplate=hover, unselected={"marker": {"opacity": 0.12}}, selected={"marker": {"opacity": 0.9}},
        )
    )  # fmt: skip
    if is_chosen is not None:
        figure.data[0].selectedpoints = np.flatnonzero(is_chosen[rows]).tolist()
    # What is chosen is said by whoever draws, and not by what plotly remembers.
    layout = {"dragmode": "lasso", "uirevision": f"{x} {y}", "selectionrevision": str(time.time()), "clickmode": "event"}
    outline = {"line": {"color": INK, "width": 1.5}}
    return dressed(figure, height, xaxis_title_text=plain(x), yaxis_title_text=plain(y), newselection=outline, **layout)


def numbers(values: np.ndarray) -> Float[np.ndarray, " n"]:
    """A column as numbers: text by the order of its words."""
    if values.dtype.kind in "OUS":
        return np.unique(values.astype(str), return_inverse=True)[1].astype(np.float64)
    return values.astype(np.float64)


def colours(values: np.ndarray, name: str, rows: Int[np.ndarray, " m"]) -> dict[str, Any]:
    """plotly's marker settings for these rows: a colour a class where a column has few values, else a scale between percentiles."""
    kinds = np.unique(values.astype(str) if values.dtype.kind in "OUS" else values)
    if len(kinds) <= MOST_CLASSES and (values.dtype.kind in "OUSiub" or (kinds == np.round(kinds)).all()):
        codes = np.searchsorted(kinds, values.astype(str) if values.dtype.kind in "OUS" else values)
        return _classes(codes[rows], [_word(kind) for kind in kinds.tolist()], name)
    finite = numbers(values)
    low, high = np.nanpercentile(finite[np.isfinite(finite)], (1, 99)) if np.isfinite(finite).any() else (0.0, 1.0)
    bar = {"title": {"text": plain(name), "side": "right", "font": {"size": 13}}, "thickness": 12, "outlinewidth": 0}
    return {"color": finite[rows].astype(np.float32), "colorscale": "Viridis", "cmin": low, "cmax": high, "colorbar": bar}


def _classes(codes: np.ndarray, words: list[str], name: str) -> dict[str, Any]:
    palette = (*SERIES, *MORE)[: len(words)]
    edges = np.linspace(0, 1, len(words) + 1)
    scale = [[float(edge), colour] for i, colour in enumerate(palette) for edge in edges[i : i + 2]]
    bar = {"title": {"text": plain(name), "side": "right", "font": {"size": 13}}, "thickness": 12, "outlinewidth": 0}
    bar |= {"tickvals": list(range(len(words))), "ticktext": words}
    return {"color": codes.astype(np.float32), "colorscale": scale, "cmin": -0.5, "cmax": len(words) - 0.5, "colorbar": bar}


def _word(kind: object) -> str:
    return f"{kind:g}" if isinstance(kind, float) else plain(str(kind))
