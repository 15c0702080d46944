"""Images of chosen particles, each beside what its map says it should look like."""

import base64
import io
from typing import Any

import numpy as np
import torch
from dash import Dash, Input, Output, State, dcc, html
from PIL import Image

from cryodrake.analysis.montage import SMOOTH_A, Montage, montage
from cryodrake.errors import InputError
from cryodrake.io.mrc import read_map
from cryodrake.view.choice import chosen_rows
from cryodrake.view.job_reader import JobReader
from cryodrake.view.panels.latents import CHOICE, CLICKED
from cryodrake.view.parts import JOB, card, labelled, row, slider
from cryodrake.view.shelf import Shelf

SHOWN, PICTURE_px = 12, 112


def layout(reader: JobReader) -> list[Any]:
    """Filled when something is chosen."""
    words = (
        "Of each pair, the image (above, filtered) and the projection of its map at its pose, with shift and CTF. The number is "
        "their correlation. The particle clicked last comes first."
    )
    controls = row(labelled("filter (Å)", slider("images-smooth", 5, 60, SMOOTH_A, 1, updatemode="mouseup")))
    return [
        card(
            "Images beside projections",
            controls,
            dcc.Loading(html.Div(id="images-pairs", className="pairs")),
            words=words,
            wide=True,
        )
    ]


def register(app: Dash, shelf: Shelf) -> None:
    """An even sample of what is chosen."""

    @app.callback(
        Output("images-pairs", "children"), Input(CHOICE, "data"), Input(CLICKED, "data"), Input("images-smooth", "value"),
        State(JOB, "data"),
    )  # fmt: skip
    def show(choice: dict[str, Any] | None, clicked: list[int] | None, smooth_A: float, job: str) -> Any:
        reader = shelf.open(job)
        rows = sample(chosen_rows(reader.columns(), choice), clicked or [], len(reader.columns()["row"]))
        if not len(rows):
            return html.P("No particles are chosen.", className="words")
        try:
            return pairs(of_job(reader, rows, float(smooth_A)))
        except InputError as error:  # often: the stacks are on another machine
            return html.P(str(error), className="warning")


def sample(rows: np.ndarray, clicked: list[int], n: int) -> np.ndarray:
    """The particle clicked last, and others from the first to the last chosen, evenly."""
    first = [int(i) for i in clicked[-1:] if 0 <= int(i) < n]
    if len(rows) > SHOWN - len(first):
        rows = rows[np.linspace(0, len(rows) - 1, SHOWN - len(first)).round().astype(int)]
    return np.array([*first, *(i for i in rows.tolist() if i not in first)], dtype=np.int64)


def of_job(reader: JobReader, rows: np.ndarray, smooth_A: float) -> Montage:
    """Each particle's image against the map of its own state or class where the job has those, else against the consensus map."""
    decoder, states = reader.decoder(), reader.states()
    if decoder is not None and states is not None:
        z = torch.from_numpy(states.astype(np.float32))
        return montage(reader.particles(), rows, lambda i: decoder.decode(z[i : i + 1])[0], decoder.pixel_size_A, smooth_A)
    name = reader.main_map()
    if name is None:
        raise InputError("the job has no map yet", where=reader.path)
    volume, pixel_size_A = read_map(reader.maps()[name])
    one = torch.from_numpy(volume)
    return montage(reader.particles(), rows, lambda i: one, pixel_size_A, smooth_A)


def pairs(found: Montage) -> list[Any]:
    """A figure a particle."""
    figures = []
    for i, image, projection, agreement in zip(found.rows.tolist(), found.images, found.projections, found.agreement, strict=True):
        pictures = [html.Img(src=png(picture), alt="") for picture in (image, projection)]
        figures.append(html.Figure([*pictures, html.Figcaption([f"row {i}", html.Span(f"{agreement:.2f}")])]))
    return figures


def png(picture: np.ndarray) -> str:
    """A data URI, grey between the picture's own 0.5th and 99.5th percentile."""
    low, high = np.percentile(picture, (0.5, 99.5))
    grey = (np.clip((picture - low) / max(high - low, 1e-12), 0, 1) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).resize((2 * PICTURE_px, 2 * PICTURE_px), Image.Resampling.BICUBIC).save(file, "png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
