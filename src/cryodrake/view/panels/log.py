"""The end of the job's log."""

from typing import Any

from dash import Dash, Input, Output, State, html

from cryodrake.view.job_reader import JobReader
from cryodrake.view.panels.progress import TICK
from cryodrake.view.parts import JOB, card
from cryodrake.view.shelf import Shelf


def layout(reader: JobReader) -> list[Any]:
    """The last lines, as they are now."""
    return [card("Log", html.Pre(reader.log_tail(), id="log-tail", className="log"), words="The last lines of log.txt.")]


def register(app: Dash, shelf: Shelf) -> None:
    """Reads it at every tick."""

    @app.callback(Output("log-tail", "children"), Input(TICK, "n_intervals"), State(JOB, "data"), prevent_initial_call=True)
    def update(_: Any, job: str) -> str:
        return shelf.open(job).log_tail()
