"""Chosen rows of a particle file, from 0: cryoDRGN's ind.pkl, or text with a number a line."""

from pathlib import Path

import numpy as np
from jaxtyping import Int

from cryodrake.errors import InputError
from cryodrake.io.atomic import write_text_atomic
from cryodrake.io.cryodrgn import check_indices, read_indices, write_indices


def read_rows(path: str | Path, n: int | None = None) -> Int[np.ndarray, " m"]:
    """Rows of n, from .txt (# for comments), or else from a pickle (also a mask); n is None where it is not known.

    Raises:
        InputError: unreadable, no row numbers, or outside 0 to n - 1.
    """
    path = Path(path)
    if path.suffix.lower() != ".txt":
        return read_indices(path, n)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=path) from error
    try:
        numbers = np.array([int(word) for line in lines if not line.lstrip().startswith("#") for word in line.split()], np.int64)
    except (ValueError, OverflowError):
        raise InputError("holds something else than row numbers", where=path, expected="a whole number a line, from 0") from None
    return check_indices(numbers, path, n)


def write_rows(path: Path, rows: Int[np.ndarray, " m"]) -> None:
    """By suffix: .txt, or a pickle as cryoDRGN has it. Raises InputError as `open_atomic`."""
    if path.suffix.lower() == ".txt":
        write_text_atomic(path, "".join(f"{row}\n" for row in rows.tolist()))
    else:
        write_indices(path, rows)
