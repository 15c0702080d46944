"""The chosen particles as a file in JOB/selections, and to the user's own machine if it is another one."""

from typing import Any

from dash import Dash, Input, Output, State, dcc, html, no_update

from cryodrake.analysis.selection import SELECTION_SUFFIXES, save_selection
from cryodrake.errors import InputError
from cryodrake.view.choice import chosen_rows
from cryodrake.view.job_files import new_file
from cryodrake.view.job_reader import JobReader
from cryodrake.view.panels.latents import CHOICE
from cryodrake.view.parts import JOB, card, choice, labelled, row
from cryodrake.view.shelf import Shelf

FOLDER = "selections"
KINDS = {
    ".star": "your file, with poses", ".cs": "for cryoSPARC", ".txt": "rows of your file, from 0",
    ".pkl": "cryoDRGN's ind.pkl",
}  # fmt: skip


def layout(reader: JobReader) -> list[Any]:
    """A name, a kind, and a button."""
    has_cs = (reader.path / "particles.cs").exists()
    kinds = [suffix for suffix in SELECTION_SUFFIXES if suffix != ".cs" or has_cs]
    options = [{"label": f"{suffix}: {KINDS[suffix]}", "value": suffix} for suffix in kinds]
    copy = dcc.Checklist(id="save-copy", options=[{"label": "and download it", "value": "copy"}], value=[])
    button = html.Button("Save", id="save-go")
    name = dcc.Input(id="save-name", value="chosen", debounce=False, autoComplete="off", spellCheck="false")
    controls = row(labelled("name", name), labelled("kind", choice("save-kind", options, kinds[0]), 2), copy, button)
    return [card("Save what is chosen", controls, html.P(id="save-words", className="words"), dcc.Download(id="save-download"))]


def register(app: Dash, shelf: Shelf) -> None:
    """Writes rows in the order of the job's particles."""

    @app.callback(
        Output("save-words", "children"), Output("save-words", "className"), Output("save-download", "data"),
        Input("save-go", "n_clicks"), State("save-name", "value"), State("save-kind", "value"), State("save-copy", "value"),
        State(CHOICE, "data"), State(JOB, "data"), prevent_initial_call=True,
    )  # fmt: skip
    def save(_: Any, name: str | None, kind: str, copy: list[str], chosen: dict[str, Any] | None, job: str) -> tuple[Any, str, Any]:
        reader = shelf.open(job)
        try:
            rows = chosen_rows(reader.columns(), chosen)
            stem = (name or "").strip()
            if not stem:
                raise InputError("there is no name", expected="one for the file")
            out = new_file(reader.path, FOLDER, f"{stem}{kind}")
            note = save_selection(reader.path, rows, out)
        except InputError as error:
            return f"Not saved. {error}", "warning", no_update
        words = f"{len(rows):,} particles: {out}" + (f"; {note}" if note else "")
        return words, "words", dcc.send_file(str(out)) if copy else no_update
