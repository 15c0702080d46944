"""A walk through the states: along a component, a path that `analyze` found, or through the points that were clicked."""

from pathlib import Path
from typing import Any

import numpy as np
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update
from jaxtyping import Float

from cryodrake.analysis.paths import straight_path
from cryodrake.errors import InputError
from cryodrake.view.job_reader import JobReader
from cryodrake.view.panels.latents import CLICKED
from cryodrake.view.parts import JOB, card, choice, graph, labelled, level_slider, row, slider
from cryodrake.view.shelf import Shelf
from cryodrake.view.style import GRAPH, empty
from cryodrake.view.surface_figure import Shown, surfaces

HEIGHT_px = 420
FRAMES, MILLISECONDS = 21, 350
PATHS = {"graph": "graph path of analyze", "direct": "straight path of analyze"}
CLICKS = "through the clicked points"


def layout(reader: JobReader) -> list[Any]:
    """Nothing for a job of one structure."""
    latents = reader.latents()
    if latents is None:
        return []
    ways = [{"label": f"component {i + 1}", "value": f"pc{i + 1}"} for i in range(latents.shape[1])]
    ways += [{"label": words, "value": name} for name, words in PATHS.items() if _path_file(reader, name).exists()]
    ways.append({"label": CLICKS, "value": "clicks"})
    first = reader.main_map()
    view = None if first is None else reader.viewable(first)
    play = html.Button("Play", id="morph-play", n_clicks=0)
    return [
        card(
            "Morph",
            row(
                labelled("along", choice("morph-way", ways, ways[0]["value"])),
                labelled("level (σ above the mean)", level_slider("morph-level", view), 2),
            ),
            graph("morph-view", HEIGHT_px, GRAPH),
            row(play, labelled("place on the path", slider("morph-place", 0, FRAMES - 1, FRAMES // 2, 1), 5)),
            dcc.Interval(id="morph-clock", interval=MILLISECONDS, disabled=True),
            words="Components run from their 5th to their 95th percentile.",
        )
    ]  # fmt: skip


def register(app: Dash, shelf: Shelf) -> None:
    """Frames are decoded one by one as they are shown."""

    @app.callback(
        Output("morph-clock", "disabled"), Output("morph-play", "children"), Input("morph-play", "n_clicks"),
        prevent_initial_call=True,
    )  # fmt: skip
    def play(clicks: int) -> tuple[bool, str]:
        return clicks % 2 == 0, "Stop" if clicks % 2 else "Play"

    @app.callback(
        Output("morph-place", "value"),
        Input("morph-clock", "n_intervals"),
        State("morph-place", "value"),
        prevent_initial_call=True,
    )
    def move(ticks: int, place: int) -> int:
        there_and_back = 2 * (FRAMES - 1)
        step = int(ticks) % there_and_back
        return min(step, there_and_back - step)

    @app.callback(
        Output("morph-view", "figure"), Input("morph-place", "value"), Input("morph-way", "value"), Input("morph-level", "value"),
        Input(CLICKED, "data"), State(JOB, "data"),
    )  # fmt: skip
    def show(place: int, way: str, sigmas: float, clicked: list[int] | None, job: str) -> Any:
        if ctx.triggered_id == CLICKED and way != "clicks":
            return no_update
        reader = shelf.open(job)
        states = path(reader, way, clicked or [])
        if states is None:
            return empty("click two points or more", HEIGHT_px)
        i = round(place / (FRAMES - 1) * (len(states) - 1))
        title = f"state {i + 1} of {len(states)}"
        return surfaces([Shown(title, reader.decode(states[i]), float(sigmas))], HEIGHT_px, hide_dust=True, revision="morph")


def path(reader: JobReader, way: object, clicked: list[int]) -> Float[np.ndarray, "m z"] | None:
    """States in order; None where fewer than two points were clicked.

    Raises:
        InputError: there is no such path.
    """
    latents = reader.latents()
    if latents is None:
        raise InputError("this job has no states", where=reader.path)
    if way == "clicks":
        rows = [int(i) for i in clicked if 0 <= int(i) < len(latents)]
        return straight_path(latents[rows], max(2, FRAMES // (len(rows) - 1))) if len(rows) > 1 else None
    if way in PATHS:
        return _read_path(_path_file(reader, str(way)), latents.shape[1])
    names = [f"pc{i + 1}" for i in range(latents.shape[1])]
    if way not in names:
        raise InputError("no such path", where=way, expected=", ".join(names))
    found = reader.components()
    i = names.index(str(way))
    ends = found.mean + np.percentile(found.scores[:, i], (5, 95))[:, None] * found.axes[i]
    return straight_path(ends, FRAMES)


def _path_file(reader: JobReader, name: str) -> Path:
    return reader.path / "analysis" / name / "z-path.txt"


def _read_path(path: Path, zdim: int) -> Float[np.ndarray, "m z"]:
    try:
        states = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=path, expected="numbers, one state a row") from None
    if states.shape[1] != zdim or not np.isfinite(states).all():
        raise InputError(f"holds {states.shape[1]} coordinates", where=path, expected=f"{zdim} finite numbers a row")
    return states
