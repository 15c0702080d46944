"""How the run stands: phase, progress, time left, and its numbers over time."""

from typing import Any

from dash import Dash, Input, Output, State, html, no_update

from cryodrake.analysis.run_curves import phases, run_curves, seconds_taken
from cryodrake.view.curve_figures import run_figure
from cryodrake.view.job_reader import JobReader
from cryodrake.view.parts import JOB, card, graph
from cryodrake.view.shelf import Shelf
from cryodrake.view.style import NO_BAR

TICK = "tick"  # id of the page's clock
HEIGHT_px = 250


def layout(reader: JobReader) -> list[Any]:
    """As it stands now."""
    figure = graph("progress-curves", HEIGHT_px, NO_BAR, run_figure(run_curves(reader.events(), reader.name), HEIGHT_px))
    return [card("How it stands", html.Div(words(reader), id="progress-words"), figure, wide=True)]


def register(app: Dash, shelf: Shelf) -> None:
    """While the job runs, reads its records at every tick."""

    @app.callback(
        Output("progress-words", "children"), Output("progress-curves", "figure"), Input(TICK, "n_intervals"), State(JOB, "data"),
        prevent_initial_call=True,
    )  # fmt: skip
    def update(_: Any, job: str) -> tuple[Any, Any]:
        reader = shelf.open(job)
        if reader.status()["state"] != "running":
            return no_update, no_update
        return words(reader), run_figure(run_curves(reader.events(), job), HEIGHT_px)


def words(reader: JobReader) -> list[Any]:
    """The phase with its bar, numbers (with classes, each's), verdict and warnings."""
    status, events = reader.status(), reader.events()
    begun = phases(events)
    parts: list[Any] = []
    if status["state"] == "running" and begun:
        share = float(status["progress"] or 0)
        left = "" if status["eta_s"] is None else f", {duration(status['eta_s'])} left of this phase"
        parts.append(html.P([html.B(_sentence(begun[-1][2])), f" ({begun[-1][1]}): {share:.0%}{left}"]))
        parts.append(html.Div(html.Div(style={"width": f"{100 * share:.1f}%"}), className="bar"))
    if status["verdict"]:
        parts.append(html.P(html.B(_sentence(status["verdict"])), className="verdict"))
    numbers: list[tuple[str, Any, str | None]] = []
    for of, told_by in ({f", {name}": part for name, part in reader.class_statuses().items()} or {"": status}).items():
        numbers += [
            (f"resolution{of}", told_by["resolution_A"], "{:.1f} Å"),
            (f"sure of their pose{of}", told_by["confident_share"], "{:.0%}"),
            (f"last pose change{of}", told_by["mean_pose_change_deg"], "{:.1f}°"),
        ]
    numbers += [("time", seconds_taken(events) or None, None), ("phases", len(begun) or None, "{}")]
    told = [(name, duration(value) if text is None else text.format(value)) for name, value, text in numbers if value is not None]
    parts.append(html.Dl([html.Div([html.Dt(name), html.Dd(value)]) for name, value in told], className="numbers"))
    parts += [html.P(f"Warning: {text}", className="warning") for text in status["warnings"]]
    return parts


def _sentence(text: str) -> str:
    """With a capital first letter; names within stay as they are."""
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """Such as 45 s, 12 min or 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
