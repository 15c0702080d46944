"""A figure on disk: the picture, and its numbers beside it as CSV, each whole or not at all."""

import io
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from cryodrake.io.atomic import write_bytes_atomic, write_text_atomic


def write_figure(stem: Path, figure: Figure, table: pd.DataFrame) -> list[Path]:
    """STEM.png and STEM.csv.

    Args:
        stem: the path without its suffix.
        table: the numbers drawn.

    Raises:
        InputError: the folder is not writable or the disk full.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=130)
    path = stem.with_name(f"{stem.name}.png")
    write_bytes_atomic(path, picture.getvalue())
    return [path, write_numbers(stem, table)]


def write_numbers(stem: Path, table: pd.DataFrame) -> Path:
    """STEM.csv alone, for a picture that is no plot."""
    path = stem.with_name(f"{stem.name}.csv")
    write_text_atomic(path, table.to_csv(index=False, float_format="%.7g"))
    return path
