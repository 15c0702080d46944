"""The page: a head with the job's name and state, and a tab for each question."""

from collections.abc import Callable
from typing import Any

from dash import Dash, Input, Output, State, ctx, dcc, html, no_update

from cryodrake.errors import InputError
from cryodrake.view.job_reader import JobReader
from cryodrake.view.panels import compare, fsc, images, latents, log, maps, morph, points, progress, save, slices, stages, views
from cryodrake.view.panels.progress import TICK
from cryodrake.view.parts import JOB, card
from cryodrake.view.shelf import Shelf

PANELS = (progress, stages, log, views, maps, slices, latents, points, morph, images, save, fsc, compare)
RUNNING_ms, FINISHED_ms = 2_000, 10_000
STATE_WORDS = {"running": "running", "finished": "finished", "stopped": "stopped, can be resumed", "failed": "failed"}


def layout(shelf: Shelf) -> html.Div:
    """The frame; the job's own part is filled by a callback, anew for another job and when it finishes."""
    names = shelf.names()
    chooser = dcc.Dropdown(id="page-jobs", options=names, value=names[0], clearable=False)
    head = html.Header(
        [
            html.Span("cryodrake", className="brand"),
            html.Div(chooser, className="jobs"),
            html.Span(id="page-state", className="chip"),
        ]
    )
    return html.Div(
        [
            head, html.Div(id="page-notice", className="notice", title="click to close"), html.Main(id="page-body"),
            dcc.Store(id=JOB, data=names[0]), dcc.Store(id="page-stamp"), dcc.Interval(id=TICK, interval=RUNNING_ms),
        ]
    )  # fmt: skip


def register(app: Dash, shelf: Shelf) -> None:
    """The page's own callbacks and every panel's."""

    @app.callback(
        Output("page-state", "children"), Output("page-state", "className"), Output("page-stamp", "data"), Output(TICK, "interval"),
        Output("page-jobs", "options"), Input(TICK, "n_intervals"), Input("page-jobs", "value"), State("page-stamp", "data"),
    )  # fmt: skip
    def watch(_: Any, job: str, stamp: str | None) -> tuple[Any, ...]:
        names = shelf.names()
        reader = shelf.open(job)
        state = reader.status()["state"]
        now = f"{job}\n{state}\n{reader.is_finished()}\n{(reader.path / 'analysis' / 'pca.npy').exists()}"
        interval = RUNNING_ms if state == "running" else FINISHED_ms
        return STATE_WORDS.get(state, str(state)), f"chip {state}", no_update if now == stamp else now, interval, names

    @app.callback(
        Output("page-body", "children"), Output(JOB, "data"), Output("page-notice", "children"), Input("page-stamp", "data"),
        Input("page-notice", "n_clicks"), State("page-jobs", "value"),
    )  # fmt: skip
    def fill(stamp: str | None, _: Any, job: str) -> tuple[Any, Any, Any]:
        if ctx.triggered_id == "page-notice":
            return no_update, no_update, ""
        if stamp is None:
            return no_update, no_update, no_update
        return tabs(shelf.open(job), shelf), job, ""

    for panel in PANELS:
        panel.register(app, shelf)


def tabs(reader: JobReader, shelf: Shelf) -> dcc.Tabs:
    """What there is to see of the job."""
    names = shelf.names()
    found: list[tuple[str, str, Callable[[], list[Any]]]] = [
        ("run", "Run", lambda: [*_or_why(progress, reader), *_or_why(stages, reader), *log.layout(reader)])
    ]
    if reader.maps():
        others = [shelf.open(name) for name in names]
        found.append(("maps", "Maps", lambda: [*maps.layout(reader, others), *slices.layout(reader)]))
    if reader.is_finished():
        found.append(("particles", "Particles", lambda: _particles(reader)))
    found.append(("quality", "Quality", lambda: [*fsc.layout(reader), *_or_why(views, reader)]))
    if len(names) > 1:
        found.append(("compare", "Compare jobs", lambda: compare.layout(names)))
    first = "maps" if reader.is_finished() and reader.maps() else "run"
    children = [dcc.Tab(html.Div(_made(parts), className="grid"), label=words, value=name) for name, words, parts in found]
    return dcc.Tabs(children, id="page-tabs", value=first)


def _particles(reader: JobReader) -> list[Any]:
    right = html.Div([*points.layout(reader), *morph.layout(reader)], className="column")
    left = html.Div([*latents.layout(reader), *save.layout(reader)], className="column")
    return [left, right, *images.layout(reader)]


def _or_why(panel: Any, reader: JobReader) -> list[Any]:
    return _made(lambda: panel.layout(reader))


def _made(parts: Callable[[], list[Any]]) -> list[Any]:
    """A damaged file takes away what is made of it, and not the rest of the page."""
    try:
        return parts()
    except InputError as error:
        return [card("Cannot be shown", html.P(str(error), className="warning"), wide=True)]
