"""Any of the job's maps as surfaces, up to four side by side at one level."""

from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, dcc, no_update

from cryodrake.errors import InputError
from cryodrake.view.job_reader import JobReader
from cryodrake.view.parts import card, choice, graph, labelled, level_range, level_slider, row
from cryodrake.view.shelf import Shelf
from cryodrake.view.style import GRAPH, empty
from cryodrake.view.surface_figure import MOST, PAGE_px, Shown, surfaces

HEIGHT_px = 500
BETWEEN = " › "  # of a job's name and its map's; in neither


def layout(reader: JobReader, others: list[JobReader]) -> list[Any]:
    """The consensus map first, or those of the classes, the largest first; `others` are jobs whose main map may stand beside it."""
    first = reader.main_map()
    options = [{"label": reader.title(name), "value": f"{reader.name}{BETWEEN}{name}"} for name in reader.maps()]
    for other in others:
        name = other.main_map()
        if name is not None and other.name != reader.name:
            options.append({"label": f"{other.name}: {name}", "value": f"{other.name}{BETWEEN}{name}"})
    firsts = reader.class_maps()[:MOST] or ([] if first is None else [first])
    value = [f"{reader.name}{BETWEEN}{name}" for name in firsts]
    view = reader.viewable(firsts[0]) if firsts else None
    dust = dcc.Checklist(id="maps-dust", options=[{"label": "hide dust", "value": "dust"}], value=["dust"])
    return [
        card(
            "Maps",
            row(
                labelled(f"maps (up to {MOST})", choice("maps-names", options, value, multi=True), 3),
                labelled("level (σ above the mean)", level_slider("maps-level", view), 3),
                labelled("", dust),
            ),
            graph("maps-view", HEIGHT_px, GRAPH),
            words="Drag to turn, scroll to zoom; maps turn together. The level above each map is its density, as in ChimeraX.",
            wide=True,
        ),
        dcc.Store(id="maps-linked"),
    ]


def register(app: Dash, shelf: Shelf) -> None:
    """The level follows the first map; cameras are linked in the browser."""

    @app.callback(
        Output("maps-level", "max"), Output("maps-level", "value"), Input("maps-names", "value"), State("maps-level", "max"),
        prevent_initial_call=True,
    )  # fmt: skip
    def fit(names: list[str] | None, highest: float) -> tuple[Any, Any]:
        if not names:
            return no_update, no_update
        _, high, value = level_range(_shown(shelf, names[0], 0.0, True).view)
        return (high, value) if high != highest else (no_update, no_update)

    @app.callback(
        Output("maps-view", "figure"), Input("maps-names", "value"), Input("maps-level", "value"), Input("maps-dust", "value")
    )
    def show(names: list[str] | None, sigmas: float, dust: list[str] | None) -> Any:
        if not names:
            return empty("choose a map", HEIGHT_px)
        is_alone = len(shelf.names()) == 1
        chosen = [_shown(shelf, name, float(sigmas), is_alone) for name in names[:MOST]]
        return surfaces(chosen, HEIGHT_px, hide_dust=bool(dust), revision=str(len(chosen)), width=PAGE_px)

    app.clientside_callback(
        ClientsideFunction("cryodrake", "link_cameras"),
        Output("maps-linked", "data"), Input("maps-view", "relayoutData"), State("maps-view", "id"),
        prevent_initial_call=True,
    )  # fmt: skip


def _shown(shelf: Shelf, name: object, sigmas: float, is_alone: bool) -> Shown:
    """The map of `BETWEEN`'s name; without the job's where that `is_alone`."""
    job, found, of_job = str(name).partition(BETWEEN)
    if not found:
        raise InputError("no such map", where=name, expected="one of the list")
    reader = shelf.open(job)
    view, title = reader.viewable(of_job), reader.title(of_job)
    return Shown(title if is_alone else f"{job}: {title}", view, sigmas)
