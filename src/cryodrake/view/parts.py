"""Small pieces that several panels have: cards, labelled inputs, level sliders."""

from typing import Any

from dash import dcc, html

from cryodrake.analysis.isosurface import Viewable

JOB = "job"  # id of the Store with the name of the job that is shown


def card(title: str, *children: Any, words: str | None = None, wide: bool = False) -> html.Section:
    """A titled box."""
    head = [html.H2(title), *([html.P(words, className="words")] if words else [])]
    return html.Section([html.Header(head), *children], className="card wide" if wide else "card")


def labelled(words: str, child: Any, grow: int = 1) -> html.Div:
    """An input with its name before it."""
    return html.Div([html.Label(words), child], className="field", style={"flexGrow": grow})


def graph(id: str, height_px: int, config: dict[str, Any], figure: Any = None) -> dcc.Graph:
    """A figure as wide as its card."""
    more = {} if figure is None else {"figure": figure}
    return dcc.Graph(id=id, config=config, style={"height": f"{height_px}px"}, responsive=True, **more)


def row(*children: Any) -> html.Div:
    """Inputs side by side."""
    return html.Div(children, className="row")


def choice(id: str, options: list[Any], value: Any, **more: Any) -> dcc.Dropdown:
    """A drop-down list that always has a value."""
    return dcc.Dropdown(id=id, options=options, value=value, **({"clearable": False} | more))


def slider(id: Any, low: float, high: float, value: float, step: float | None = None, **more: Any) -> dcc.Slider:
    """A plain slider that answers while it is dragged."""
    return dcc.Slider(id=id, min=low, max=high, value=value, step=step, marks=None, **({"updatemode": "drag"} | more))


def level_slider(id: str, view: Viewable | None) -> dcc.Slider:
    """Of a contour level in σ, from 0 to the densest voxel, at the suggested one."""
    low, high, value = level_range(view)
    return slider(id, low, high, value, 0.05)


def level_range(view: Viewable | None) -> tuple[float, float, float]:
    """Lowest, highest and suggested level of the slider, in σ."""
    if view is None:
        return 0.0, 10.0, 3.0
    high = max(1.0, round(view.highest, 1))
    return 0.0, high, round(min(max(view.suggested, 0.05), high), 2)
