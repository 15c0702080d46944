"""Putting columns into a table of a STAR file, whose other cells stay the strings that they were."""

import numpy as np
import pandas as pd

from cryodrake.io.star import cells


class StarColumns:
    """A table of strings that columns are put into, and that knows whether any was."""

    def __init__(self, table: pd.DataFrame):
        self.table = table
        self.touched = False

    def put(self, names: str | tuple[str, ...], values: np.ndarray, changed: np.ndarray | None = None) -> None:
        """Set columns from values (n,) or (n, columns); only the `changed` rows (n,), if the columns exist already."""
        names = (names,) if isinstance(names, str) else names
        if len(values) != len(self.table):
            raise ValueError(f"{names}: {len(values)} values for {len(self.table)} rows")
        if changed is None or not set(names) <= set(self.table.columns):
            changed = np.ones(len(values), dtype=bool)
        if not changed.any():
            return
        new = {}
        for name, column in zip(names, values.reshape(len(values), -1).T, strict=True):
            cell = np.empty(len(values), dtype=object)
            if name in self.table:
                cell[:] = self.table[name]
            cell[changed] = cells(column[changed])
            new[name] = cell
        self.table = self.table.assign(**new)
        self.touched = True

    def drop(self, names: tuple[str, ...]) -> None:
        present = [name for name in names if name in self.table]
        if present:
            self.table = self.table.drop(columns=present)
            self.touched = True
