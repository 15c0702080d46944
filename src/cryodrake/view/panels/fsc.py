"""FSC curves of the half maps, of the consensus and of the states."""

from typing import Any

from dash import Dash, Input, Output, State

from cryodrake.view.curve_figures import fsc_figure
from cryodrake.view.job_reader import JobReader
from cryodrake.view.parts import JOB, card, choice, graph, labelled, row
from cryodrake.view.shelf import Shelf
from cryodrake.view.style import NO_BAR

HEIGHT_px = 380


def layout(reader: JobReader) -> list[Any]:
    """The consensus map's."""
    names = list(reader.fsc_tables())
    return [
        card(
            "Fourier shell correlation",
            row(labelled("curves", choice("fsc-names", names, names[:1], multi=True))),
            graph("fsc-view", HEIGHT_px, NO_BAR),
            words="Of half maps whose poses were found apart: where it falls below 0.143 is the resolution.",
        )
    ]


def register(app: Dash, shelf: Shelf) -> None:
    """Draws what is chosen."""

    @app.callback(Output("fsc-view", "figure"), Input("fsc-names", "value"), State(JOB, "data"))
    def show(names: list[str] | None, job: str) -> Any:
        tables = shelf.open(job).fsc_tables()
        return fsc_figure({name: tables[name] for name in names or [] if name in tables}, HEIGHT_px)
