"""Where the particles were seen from, and whether some views are over-represented."""

from typing import Any

from dash import Dash, Input, Output, State, html, no_update

from cryodrake.view.curve_figures import views_figure
from cryodrake.view.job_reader import JobReader
from cryodrake.view.panels.progress import TICK
from cryodrake.view.parts import JOB, card, graph
from cryodrake.view.shelf import Shelf
from cryodrake.view.style import NO_BAR, empty

HEIGHT_px = 340


def layout(reader: JobReader) -> list[Any]:
    """Density of views, and a verdict in words."""
    figure, words = draw(reader)
    return [
        card(
            "Viewing directions",
            graph("views-map", HEIGHT_px, NO_BAR, figure),
            html.P(words, id="views-words", className=_class(reader)),
            words="Density on an equal-area map of the sphere; z is up. Mirrored views measure the same and count as one.",
        )
    ]


def register(app: Dash, shelf: Shelf) -> None:
    """While the job runs, the poses of its newest checkpoint."""

    @app.callback(
        Output("views-map", "figure"), Output("views-words", "children"), Output("views-words", "className"),
        Input(TICK, "n_intervals"), State(JOB, "data"), prevent_initial_call=True,
    )  # fmt: skip
    def update(_: Any, job: str) -> tuple[Any, Any, Any]:
        reader = shelf.open(job)
        if reader.is_finished():
            return no_update, no_update, no_update
        return *draw(reader), _class(reader)


def draw(reader: JobReader) -> tuple[Any, str]:
    """The figure and the verdict."""
    found = reader.coverage()
    if found is None:
        why = "each class has a frame of its own: choose a class's job above" if reader.holds_classes() else "no poses yet"
        return empty(why, HEIGHT_px), ""
    return views_figure(found, HEIGHT_px), found.words


def _class(reader: JobReader) -> str:
    found = reader.coverage()
    return "warning" if found is not None and found.verdict != "even" else "words"
