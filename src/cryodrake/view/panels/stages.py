"""The map as it appeared: a slider from the first stage to the newest."""

from typing import Any

import torch
from dash import Dash, Input, Output, State, dcc, no_update

from cryodrake.analysis.figures_surface import level_of_share, share_above
from cryodrake.analysis.isosurface import Viewable
from cryodrake.view.job_reader import JobReader
from cryodrake.view.panels.progress import TICK
from cryodrake.view.parts import JOB, card, graph, slider
from cryodrake.view.shelf import Shelf
from cryodrake.view.style import GRAPH, empty
from cryodrake.view.surface_figure import Shown, surfaces

HEIGHT_px = 400


def layout(reader: JobReader) -> list[Any]:
    """At the newest stage."""
    n = len(reader.stages())
    last = max(n - 1, 0)
    words = "Drag to the left for earlier stages. All are drawn to enclose the same volume as the newest."
    return [
        card(
            "The map appearing",
            graph("stages-map", HEIGHT_px, GRAPH, draw(reader, last)),
            slider("stages-place", 0, max(last, 1), last, 1),
            dcc.Store(id="stages-known", data=n),
            words=words,
        )
    ]


def register(app: Dash, shelf: Shelf) -> None:
    """The slider moves on by itself with a new stage, unless the user has moved it away from the end."""

    @app.callback(
        Output("stages-place", "max"), Output("stages-place", "value"), Output("stages-known", "data"),
        Input(TICK, "n_intervals"), State(JOB, "data"), State("stages-place", "value"), State("stages-known", "data"),
        prevent_initial_call=True,
    )  # fmt: skip
    def grow(_: Any, job: str, place: int, known: int) -> tuple[Any, Any, Any]:
        n = len(shelf.open(job).stages())
        if n == known:
            return no_update, no_update, no_update
        return max(n - 1, 1), n - 1 if place >= known - 1 else no_update, n

    @app.callback(
        Output("stages-map", "figure"), Input("stages-place", "value"), Input("stages-known", "data"), State(JOB, "data"),
        prevent_initial_call=True,
    )  # fmt: skip
    def show(place: int, _: int, job: str) -> Any:
        return draw(shelf.open(job), int(place))


def draw(reader: JobReader, place: int) -> Any:
    """The stage at this place."""
    paths = reader.stages()
    if not paths:
        return empty("the first map has not appeared yet", HEIGHT_px)
    stage, view = reader.stage(paths[min(max(place, 0), len(paths) - 1)])
    sigmas = level_like(view, reader.stage(paths[-1])[1])
    title = stage.name if stage.resolution_A is None else f"{stage.name}, {stage.resolution_A:.1f} Å"
    return surfaces([Shown(title, view, sigmas)], HEIGHT_px, hide_dust=True, revision="stages")


def level_like(view: Viewable, model: Viewable) -> float:
    """The level, in σ, that encloses as much of `view` as the suggested level of `model` does of that."""
    share = share_above(torch.from_numpy(model.volume), model.level(model.suggested))
    return (level_of_share(torch.from_numpy(view.volume), share) - view.mean) / view.sigma
