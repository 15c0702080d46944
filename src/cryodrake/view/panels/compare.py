"""Several jobs beside each other: their numbers, options that differ, FSC and curves."""

from typing import Any

from dash import Dash, Input, Output, html

from cryodrake.analysis.job_particles import job_options
from cryodrake.analysis.run_curves import run_curves, seconds_taken
from cryodrake.errors import InputError
from cryodrake.view.curve_figures import fsc_figure, run_figure
from cryodrake.view.job_reader import JobReader
from cryodrake.view.panels.progress import duration
from cryodrake.view.parts import card, choice, graph, labelled, row
from cryodrake.view.shelf import Shelf
from cryodrake.view.style import NO_BAR

MOST, FSC_px, CURVES_px = 8, 360, 280
OWN = {"out", "resume"}  # options that always differ


def layout(names: list[str]) -> list[Any]:
    """All jobs, as far as there is room."""
    chooser = row(labelled(f"jobs (up to {MOST})", choice("compare-names", names, names[:MOST], multi=True)))
    return [
        card("Jobs", chooser, html.Div(id="compare-table", className="scroll"), wide=True),
        card("Half maps", graph("compare-fsc", FSC_px, NO_BAR), wide=True),
        card("Over time", graph("compare-curves", CURVES_px, NO_BAR), wide=True),
    ]


def register(app: Dash, shelf: Shelf) -> None:
    """Draws the chosen jobs."""

    @app.callback(
        Output("compare-table", "children"), Output("compare-fsc", "figure"), Output("compare-curves", "figure"),
        Input("compare-names", "value"),
    )  # fmt: skip
    def show(names: list[str] | None) -> tuple[Any, Any, Any]:
        readers = [shelf.open(name) for name in (names or [])[:MOST]]
        tables = {
            r.name: table[["frequency_inv_A", "fsc"]] for r in readers if (table := r.fsc_tables().get("consensus")) is not None
        }
        curves = {name: told for r in readers for name, told in run_curves(r.events(), r.name).items()}
        return numbers_table(readers), fsc_figure(tables, FSC_px), run_figure(curves, CURVES_px)


def numbers_table(readers: list[JobReader]) -> html.Table:
    """A row a job, a column a number, and one for each option in which the jobs differ."""
    options = [_options(reader) for reader in readers]
    names = sorted({name for of_job in options for name in of_job} - OWN)
    differing = [name for name in names if len({str(of_job.get(name)) for of_job in options}) > 1]
    head = html.Tr([html.Th(name) for name in ("job", "state", "resolution", "sure of pose", "SCF", "time", *differing)])
    rows = [html.Tr([html.Td(cell) for cell in _cells(reader)] + [html.Td(str(of_job.get(name, ""))) for name in differing])
            for reader, of_job in zip(readers, options, strict=True)]  # fmt: skip
    return html.Table([html.Thead(head), html.Tbody(rows)])


def _cells(reader: JobReader) -> list[str]:
    status, found = reader.status(), reader.coverage()
    sure = status["confident_share"]
    of_each = {f" ({name})": part for name, part in reader.class_statuses().items()} or {"": status}
    resolutions = [f"{part['resolution_A']:.1f} Å{of}" for of, part in of_each.items() if part["resolution_A"] is not None]
    return [
        reader.name, status["state"], ", ".join(resolutions), "" if sure is None else f"{sure:.0%}",
        "" if found is None else f"{found.scf:.2f}", duration(seconds_taken(reader.events())),
    ]  # fmt: skip


def _options(reader: JobReader) -> dict[str, Any]:
    try:
        return job_options(reader.path)
    except InputError:  # a job whose options are gone can still be looked at
        return {}
