"""Colours, fonts and what all figures share."""

import html
from typing import Any

import plotly.graph_objects as go

INK, FAINT, LINE = "#1d2733", "#6b7785", "#d9dfe6"
SERIES = ("#2f6ea5", "#d1702f", "#3f9168", "#8a6fb0", "#b04a5a", "#7d7f2a", "#3aa0a8", "#5b5b5b")
MORE = (  # classes beyond those: lighter and darker
    "#8db8dc", "#f0b27f", "#8fcf9f", "#c3a9e0", "#e695a5", "#c3c266", "#8bd3d8", "#b0b0b0", "#173f66", "#7a3e10", "#1d5438",
    "#5a2d75",
)  # fmt: skip
SURFACES = ("#7fb2dd", "#e7a876", "#8fcaa8", "#b9a5d6")
FONT = {"family": "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif", "size": 13, "color": INK}
GRAPH = {"displaylogo": False, "showSendToCloud": False, "plotlyServerURL": "", "scrollZoom": True}
NO_BAR = GRAPH | {"displayModeBar": False}


def dressed(figure: go.Figure, height: int, **layout: Any) -> go.Figure:
    """The figure in the page's style; `layout` is plotly's."""
    axis: dict[str, Any] = {
        "gridcolor": "#edf0f4",
        "linecolor": LINE,
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": LINE,
        "title": {"font": {"size": 13}},
    }
    figure.update_layout(
        template="none", font=FONT, height=height, autosize=True, paper_bgcolor="white", plot_bgcolor="white",
        margin={"l": 58, "r": 16, "t": 34, "b": 46}, hoverlabel={"font": FONT, "bgcolor": "white", "bordercolor": LINE},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "font": {"size": 12}},
    )  # fmt: skip
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    figure.update_layout(**layout)
    return figure


def plain(words: str) -> str:
    """Names as text for plotly, which reads tags in its titles and legends."""
    return html.escape(words, quote=False)


def empty(words: str, height: int = 300) -> go.Figure:
    """No figure, and why."""
    figure = go.Figure()
    figure.add_annotation(text=words, showarrow=False, font={"color": FAINT, "size": 14}, x=0.5, y=0.5, xref="paper", yref="paper")
    hidden = {"visible": False}
    return dressed(figure, height, xaxis=hidden, yaxis=hidden)
