"""JOB/analysis: files that appear whole, and a list of them, so that a later run clears what it no longer makes."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from cryodrake.errors import InputError
from cryodrake.io.atomic import write_json_atomic, write_npy_atomic, write_text_atomic
from cryodrake.io.mrc import write_map

LIST = "files.json"


class AnalysisFolder:
    """Writes files by their name within the folder, and remembers which.

    Raises:
        InputError: the folder cannot be made.
    """

    def __init__(self, path: Path):
        self.path = path
        self._written: list[str] = []
        self._make(path)

    def npy(self, name: str, array: np.ndarray) -> None:
        """An array as it is."""
        write_npy_atomic(self._at(name), array)

    def matrix(self, name: str, rows: np.ndarray) -> None:
        """Numbers separated by blanks, a row a line, as cryoDRGN's z-path.txt and centers.txt."""
        text = io.StringIO()
        np.savetxt(text, rows, fmt="%d" if rows.dtype.kind in "iu" else "%.9g")
        write_text_atomic(self._at(name), text.getvalue())

    def table(self, name: str, table: pd.DataFrame) -> None:
        """CSV."""
        write_text_atomic(self._at(name), table.to_csv(index=False, float_format="%.7g"))

    def columns(self, name: str, columns: Mapping[str, np.ndarray]) -> None:
        """CSV of these columns, with the number of the row (from 0) first."""
        length = len(next(iter(columns.values())))
        self.table(name, pd.DataFrame({"row": np.arange(length), **columns}))

    def json(self, name: str, value: Any) -> None:
        """JSON, for programs."""
        write_json_atomic(self._at(name), value)

    def map(self, name: str, volume: Float[np.ndarray, "d d d"], pixel_size_A: float) -> None:
        """MRC."""
        write_map(self._at(name), volume, pixel_size_A)

    def figure(self, stem: str, write: Callable[..., list[Path]], *arguments: Any) -> None:
        """`write(path without suffix, …)` and the files it says it made."""
        self._make((self.path / stem).parent)
        self._written += [str(path.relative_to(self.path)) for path in write(self.path / stem, *arguments)]

    def close(self) -> None:
        """Removes what an earlier run made and this one did not, and writes the list."""
        for name in set(self._listed()) - set(self._written):
            (self.path / name).unlink(missing_ok=True)
        write_json_atomic(self.path / LIST, sorted(self._written))

    def _listed(self) -> list[str]:
        try:
            names = json.loads((self.path / LIST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        # Only names that stay in this folder: the list is a file that anyone may have edited.
        return [
            name for name in names if isinstance(name, str) and (self.path / name).resolve().is_relative_to(self.path.resolve())
        ]

    def _at(self, name: str) -> Path:
        self._make((self.path / name).parent)
        self._written.append(name)
        return self.path / name

    @staticmethod
    def _make(folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot be made: {error.strerror}", where=folder, do="make room for it in the job folder") from None
