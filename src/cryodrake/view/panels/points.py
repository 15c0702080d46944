"""The maps at the points that were clicked, decoded from their states."""

from typing import Any

from dash import Dash, Input, Output, State, html

from cryodrake.view.job_reader import JobReader
from cryodrake.view.panels.latents import CLICKED
from cryodrake.view.parts import JOB, card, choice, graph, labelled, level_slider, row
from cryodrake.view.shelf import Shelf
from cryodrake.view.style import GRAPH, empty
from cryodrake.view.surface_figure import MOST, Shown, surfaces

HEIGHT_px = 420
TOLD = ("class_number", "class_probability", "state_group", "cluster", "confidence", "half_set", "defocus_A", "view_density")


def layout(reader: JobReader) -> list[Any]:
    """Nothing is decoded before the first click."""
    first = reader.main_map()
    level = level_slider("points-level", None if first is None else reader.viewable(first))
    how_many = choice("points-most", [{"label": f"last {i}" if i > 1 else "last one", "value": i} for i in range(1, MOST + 1)], 1)
    view = graph("points-view", HEIGHT_px, GRAPH, empty("click a point", HEIGHT_px))
    controls = row(labelled("clicked points", how_many), labelled("level (σ above the mean)", level, 3))
    decoder = reader.decoder()
    words = "This job has one structure: every particle has the same map." if decoder is None else f"From {decoder.words}."
    words = "The map of the particle's class. For states within a class, choose its job above." if reader.holds_classes() else words
    return [card("Map at a particle", controls, view, html.P(id="points-words", className="words"), words=words)]


def register(app: Dash, shelf: Shelf) -> None:
    """Decodes at each click."""

    @app.callback(
        Output("points-view", "figure"), Output("points-words", "children"), Input(CLICKED, "data"), Input("points-level", "value"),
        Input("points-most", "value"), State(JOB, "data"), prevent_initial_call=True,
    )  # fmt: skip
    def show(clicked: list[int] | None, sigmas: float, most: int, job: str) -> tuple[Any, str]:
        reader = shelf.open(job)
        rows = [int(i) for i in clicked or [] if 0 <= int(i) < len(reader.columns()["row"])][-int(most) :]
        if not rows:
            return empty("click a point", HEIGHT_px), ""
        shown = [Shown(f"row {i}", reader.map_of_row(i), float(sigmas)) for i in rows]
        return surfaces(shown, HEIGHT_px, hide_dust=True, revision=f"points {len(rows)}"), told(reader, rows[-1])


def told(reader: JobReader, i: int) -> str:
    """What is known of a particle."""
    columns = reader.columns()
    names = [name for name in columns if name.startswith("latent_")] + [name for name in TOLD if name in columns]
    return f"Row {i}: " + ", ".join(f"{name} {columns[name][i]:.4g}" for name in names)
