"""Particles as points over any two columns, in the colour of any third; lasso, box, thresholds and a condition choose."""

from typing import Any

import numpy as np
from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html

from cryodrake.errors import InputError
from cryodrake.view.choice import chosen_rows, column, outlined, within
from cryodrake.view.job_reader import JobReader
from cryodrake.view.parts import JOB, card, choice, graph, labelled, row
from cryodrake.view.scatter_figure import numbers, scatter
from cryodrake.view.shelf import Shelf
from cryodrake.view.style import GRAPH
from cryodrake.view.thinning import MOST

CHOICE = "choice"  # id of the Store that says what is chosen: see view.choice
CLICKED = "clicked"  # id of the Store with the rows clicked, the last one last
SCATTER = "latents-scatter"
HEIGHT_px, MOST_THRESHOLDS = 520, 8
EXAMPLE = "such as confidence > 0.5 and abs(astigmatism_A) < 500"
FIRST_AXES = (("umap_1", "umap_2"), ("pc_1", "pc_2"), ("latent_1", "latent_2"), ("latent_1", "row"), ("rot_deg", "tilt_deg"))
OF_CLASSES = ("class_probability", "confidence")  # what particles of several classes have in common


def layout(reader: JobReader) -> list[Any]:
    """The scatter with its axes, and the thresholds."""
    columns = reader.columns()
    names = [name for name, values in columns.items() if values.ndim == 1]
    across, up = next((pair for pair in (*FIRST_AXES, OF_CLASSES) if set(pair) <= set(names)), (names[0], names[0]))
    colour = next(
        (
            name
            for name in ("state_group", "cluster", "class_number", "confidence")
            if name in names and np.ptp(numbers(columns[name])) > 0
        ),
        None,
    )
    tools = GRAPH | {"modeBarButtonsToRemove": ["toImage", "autoScale2d"]}
    return [
        card(
            "Particles",
            row(
                labelled("across", choice("latents-across", names, across)),
                labelled("up", choice("latents-up", names, up)),
                labelled("colour", choice("latents-colour", names, colour, clearable=True)),
            ),
            graph(SCATTER, HEIGHT_px, tools),
            row(labelled("thresholds on", choice("latents-limited", names, [], multi=True, placeholder="columns to limit"))),
            html.Div(id="latents-thresholds"),
            row(labelled("where", dcc.Input(id="latents-condition", debounce=True, placeholder=EXAMPLE, spellCheck="false"))),
            html.P(id="latents-refusal", className="words"),
            row(html.P(id="latents-count", className="count"), html.Button("Choose all", id="latents-all", className="plain")),
            words="Draw around points to choose them (double-click: all); click a point for the map there; scroll to zoom.",
        ),
        dcc.Store(id="latents-region"), dcc.Store(id=CHOICE, data={}), dcc.Store(id=CLICKED, data=[]),
        dcc.Store(id="latents-where"), dcc.Store(id="latents-window"),
        dcc.Store(id="latents-many", data=len(columns["row"]) > MOST),
    ]  # fmt: skip


def register(app: Dash, shelf: Shelf) -> None:
    """What the panel does."""
    _register_browser(app)
    _register_limits(app, shelf)

    @app.callback(
        Output(SCATTER, "figure"), Input("latents-across", "value"), Input("latents-up", "value"),
        Input("latents-colour", "value"), Input({"type": "threshold", "column": ALL}, "value"), Input("latents-all", "n_clicks"),
        Input("latents-window", "data"), Input("latents-where", "data"), State({"type": "threshold", "column": ALL}, "id"),
        State("latents-region", "data"), State(JOB, "data"),
    )  # fmt: skip
    def draw(
        across: str, up: str, colour: str | None, limits: list[Any], _: Any, window: Any, where: Any, ids: list[Any], region: Any,
        job: str,
    ) -> Any:  # fmt: skip
        columns = shelf.open(job).columns()
        thresholds = {id["column"]: limit for id, limit in zip(ids, limits, strict=True)}
        for name in (across, up, *([colour] if colour else [])):
            column(columns, name)
        is_chosen = None if region is None or ctx.triggered_id == "latents-all" else outlined(columns, region)
        is_of_axes = window is not None and (window["across"], window["up"]) == (across, up)
        left, right, low, high = map(float, window["edges"] if is_of_axes else (0, 0, 0, 0))
        seen = (left, right, low, high) if is_of_axes else None
        return scatter(columns, across, up, colour, within(columns, thresholds, where), HEIGHT_px, is_chosen, seen)

    @app.callback(Output("latents-count", "children"), Input(CHOICE, "data"), State(JOB, "data"))
    def count(chosen: dict[str, Any] | None, job: str) -> str:
        columns = shelf.open(job).columns()
        rows, n = chosen_rows(columns, chosen), len(columns["row"])
        return f"{len(rows):,} of {n:,} particles are chosen ({len(rows) / max(n, 1):.1%})."


def _register_browser(app: Dash) -> None:
    """The outline and the clicks are taken from the graph in the browser: only they travel, not the points."""
    app.clientside_callback(
        ClientsideFunction("cryodrake", "outline"),
        Output("latents-region", "data"), Input(SCATTER, "selectedData"), Input("latents-all", "n_clicks"),
        State("latents-across", "value"), State("latents-up", "value"),
    )  # fmt: skip
    app.clientside_callback(
        ClientsideFunction("cryodrake", "clicked"),
        Output(CLICKED, "data"), Input(SCATTER, "clickData"), State(CLICKED, "data"), prevent_initial_call=True,
    )  # fmt: skip
    app.clientside_callback(
        ClientsideFunction("cryodrake", "choice"),
        Output(CHOICE, "data"), Input("latents-region", "data"), Input({"type": "threshold", "column": ALL}, "value"),
        Input("latents-where", "data"), State({"type": "threshold", "column": ALL}, "id"),
    )  # fmt: skip
    app.clientside_callback(
        ClientsideFunction("cryodrake", "window"),
        Output("latents-window", "data"), Input(SCATTER, "relayoutData"), State("latents-many", "data"),
        State("latents-across", "value"), State("latents-up", "value"), State("latents-window", "data"),
        prevent_initial_call=True,
    )  # fmt: skip


def _register_limits(app: Dash, shelf: Shelf) -> None:
    """Thresholds of columns, and a condition in words."""

    @app.callback(
        Output("latents-thresholds", "children"), Input("latents-limited", "value"),
        State({"type": "threshold", "column": ALL}, "value"), State({"type": "threshold", "column": ALL}, "id"), State(JOB, "data"),
        prevent_initial_call=True,
    )  # fmt: skip
    def limit(names: list[str] | None, limits: list[Any], ids: list[Any], job: str) -> list[Any]:
        columns = shelf.open(job).columns()
        known = {id["column"]: limit for id, limit in zip(ids, limits, strict=True)}
        return [threshold(name, numbers(column(columns, name)), known.get(name)) for name in (names or [])[:MOST_THRESHOLDS]]

    @app.callback(
        Output("latents-where", "data"), Output("latents-refusal", "children"), Output("latents-refusal", "className"),
        Input("latents-condition", "value"), State(JOB, "data"), prevent_initial_call=True,
    )  # fmt: skip
    def limit_by_condition(text: str | None, job: str) -> tuple[str | None, str, str]:
        try:
            within(shelf.open(job).columns(), {}, text)
        except InputError as error:
            return None, f"Not used. {error}", "warning"
        return text or None, "", "words"


def threshold(name: str, values: np.ndarray, known: list[float] | None) -> Any:
    """A slider with two ends over the column's range."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    is_whole = bool((finite == np.round(finite)).all()) and high - low < 500
    step = 1.0 if is_whole else 10.0 ** np.floor(np.log10(max(high - low, 1e-12) / 300))
    # Ends are steps outside of the values: no particle is lost to the rounding of a slider.
    low, high = (round(float(end * step), 12) for end in (np.floor(low / step), np.ceil(high / step)))
    control = dcc.RangeSlider(
        id={"type": "threshold", "column": name}, min=low, max=high, step=float(step), value=known or [low, high], marks=None,
        updatemode="mouseup", tooltip={"placement": "bottom"},
    )  # fmt: skip
    return labelled(name, control)
