"""Three orthogonal slices of any of the job's maps."""

from typing import Any

from dash import Dash, Input, Output, State

from cryodrake.view.job_reader import JobReader
from cryodrake.view.parts import JOB, card, choice, graph, labelled, row, slider
from cryodrake.view.shelf import Shelf
from cryodrake.view.slice_figure import slices
from cryodrake.view.style import NO_BAR, empty

HEIGHT_px = 360


def layout(reader: JobReader) -> list[Any]:
    """Through the middle of the consensus map."""
    names, first = [{"label": reader.title(name), "value": name} for name in reader.maps()], reader.main_map()
    box = 2 if first is None else len(reader.viewable(first).volume)
    places = [labelled(axis, slider(f"slices-{axis}", 0, box - 1, box // 2, 1)) for axis in ("x", "y", "z")]
    top = row(labelled("map", choice("slices-name", names, first), 2), *places)
    words = "Dense is white. The dotted lines are where the other two slices are."
    return [card("Slices", top, graph("slices-view", HEIGHT_px, NO_BAR), words=words, wide=True)]


def register(app: Dash, shelf: Shelf) -> None:
    """Sliders count voxels of the map that is shown; another box puts them into its middle."""

    @app.callback(
        *(Output(f"slices-{axis}", key) for axis in ("x", "y", "z") for key in ("max", "value")),
        Input("slices-name", "value"), State(JOB, "data"), prevent_initial_call=True,
    )  # fmt: skip
    def fit(name: str, job: str) -> tuple[int, ...]:
        box = len(shelf.open(job).viewable(name).volume)
        return (box - 1, box // 2) * 3

    @app.callback(
        Output("slices-view", "figure"), Input("slices-name", "value"),
        *(Input(f"slices-{axis}", "value") for axis in ("z", "y", "x")), State(JOB, "data"),
    )  # fmt: skip
    def show(name: str | None, z: int, y: int, x: int, job: str) -> Any:
        if name is None:
            return empty("no maps yet", HEIGHT_px)
        return slices(shelf.open(job).viewable(name), (int(z), int(y), int(x)), HEIGHT_px)
