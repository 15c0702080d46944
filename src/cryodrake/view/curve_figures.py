"""Curves of a run, of half maps, and the distribution of views, as plotly figures."""

from collections.abc import Mapping

import healpix
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from cryodrake.analysis.run_curves import CURVES, Curve
from cryodrake.analysis.viewing import Coverage
from cryodrake.view.style import FAINT, INK, SERIES, dressed, empty, plain

THRESHOLDS = (0.5, 0.143)


def run_figure(curves: Mapping[str, Mapping[str, Curve]], height: int) -> go.Figure:
    """A panel for each quantity, over minutes; a line for each job, or class of one."""
    names = [name for name in CURVES if any(name in of_job for of_job in curves.values())]
    if not names:
        return empty("no numbers yet", height)
    figure = make_subplots(rows=1, cols=len(names), subplot_titles=[CURVES[name] for name in names], horizontal_spacing=0.07)
    for i, (job, of_job) in enumerate(curves.items()):
        for j, name in enumerate(names):
            if name in of_job:
                curve = of_job[name]
                line = {"color": SERIES[i % len(SERIES)], "width": 1.8}
                mode = "lines+markers" if len(curve.values) < 40 else "lines"
                trace = go.Scatter(
                    x=curve.minutes, y=curve.values, name=plain(job), line=line, mode=mode, marker={"size": 4},
                    legendgroup=job, showlegend=len(curves) > 1 and name == next(n for n in names if n in of_job),
                )  # fmt: skip
                figure.add_trace(trace, row=1, col=j + 1)
    dressed(figure, height, margin={"l": 46, "r": 16, "t": 54 if len(curves) > 1 else 34, "b": 44}, legend_y=1.14)
    figure.update_xaxes(title_text="minutes", rangemode="tozero")
    figure.update_annotations(font_size=13)
    return figure


def fsc_figure(tables: Mapping[str, pd.DataFrame], height: int) -> go.Figure:
    """Every curve over spatial frequency with its resolution in Å below, and the usual two thresholds."""
    if not tables:
        return empty("no half maps yet", height)
    figure = go.Figure()
    last = max(float(table["frequency_inv_A"].max()) for table in tables.values())
    curves = [(name, table, key) for name, table in tables.items() for key in table.columns if key.startswith("fsc")]
    for i, (name, table, key) in enumerate(curves):
        words = plain(name) + key.removeprefix("fsc").replace("_", " ")
        dash = "dot" if "unmasked" in key else "solid"
        line = {"color": SERIES[i % len(SERIES)], "width": 2, "dash": dash}
        resolution_A = 1 / np.maximum(table["frequency_inv_A"], 1e-9)
        hover = "%{customdata:.1f} Å: %{y:.3f}"
        figure.add_trace(
            go.Scatter(
                x=table["frequency_inv_A"], y=table[key], name=words, line=line, customdata=resolution_A, hovertemplate=hover
            )
        )
    for threshold in THRESHOLDS:
        line = {"color": FAINT, "width": 1, "dash": "dot"}
        figure.add_hline(threshold, line=line, annotation_text=f"{threshold:g}", annotation_position="top left")
    ticks = np.linspace(0, last, 7)[1:]
    axis = {"tickvals": ticks, "ticktext": [f"{1 / tick:.1f}" for tick in ticks], "range": [0, last]}
    dressed(figure, height, hovermode="x unified", xaxis=axis)
    figure.update_layout(xaxis_title_text="resolution (Å)", yaxis_title_text="Fourier shell correlation", yaxis_range=[-0.1, 1.03])
    return figure


def views_figure(found: Coverage, height: int, across: int = 240) -> go.Figure:
    """Density of views on Mollweide's equal-area map (Snyder 1987, p. 251), 1 being even, z up."""
    x, y = np.linspace(-2, 2, across), np.linspace(-1, 1, across // 2)
    theta = np.arcsin(y)[:, None]
    sine = np.clip((2 * theta + np.sin(2 * theta)) / np.pi, -1, 1)  # of the latitude
    longitude = np.pi / 2 * x / np.maximum(np.cos(theta), 1e-9)
    inside = np.abs(longitude) <= np.pi
    cosine = np.sqrt(1 - sine**2)
    vectors = (cosine * np.cos(longitude), cosine * np.sin(longitude), np.broadcast_to(sine, longitude.shape))
    pixels = healpix.vec2pix(round(np.sqrt(len(found.density) / 12)), *(v.ravel() for v in vectors)).reshape(longitude.shape)
    density = np.where(inside, found.density[pixels], np.nan).astype(np.float32)
    top = max(2.0, float(np.percentile(found.density, 99.5)))
    bar = {"title": {"text": "density (1 = even)", "side": "right", "font": {"size": 13}}, "thickness": 12, "outlinewidth": 0}
    figure = go.Figure(go.Heatmap(x=x, y=y, z=density, zmin=0, zmax=top, colorscale="Viridis", colorbar=bar, hoverinfo="skip"))
    angle = np.linspace(0, 2 * np.pi, 181)
    outline = {"color": INK, "width": 1}
    figure.add_trace(go.Scatter(x=2 * np.cos(angle), y=np.sin(angle), mode="lines", line=outline, hoverinfo="skip"))
    hidden = {"visible": False}
    return dressed(
        figure, height, showlegend=False, xaxis=hidden, yaxis={**hidden, "scaleanchor": "x"},
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
    )  # fmt: skip
