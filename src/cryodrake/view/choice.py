"""Which particles are chosen: those within every threshold, where the condition holds, and within the outline drawn in the scatter.

The browser sends the outline and not the points in it: of 300,000 particles that would be many megabytes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from matplotlib.path import Path as Outline

from cryodrake.analysis.expression import rows_where
from cryodrake.errors import InputError
from cryodrake.view.scatter_figure import numbers

MOST_CORNERS = 100_000


def within(columns: Mapping[str, np.ndarray], thresholds: Any, condition: Any = None) -> Bool[np.ndarray, " n"]:
    """Rows whose value of each column named lies in its (lowest, highest), and where the condition, a text, holds.

    Raises:
        InputError: there is no such column, or thresholds or a condition that are none.
    """
    inside = np.ones(len(columns["row"]), dtype=bool)
    try:
        limits = [(name, float(low), float(high)) for name, (low, high) in (thresholds or {}).items()]
    except (AttributeError, TypeError, ValueError):
        raise InputError("not thresholds", where="the selection") from None
    for name, low, high in limits:
        values = numbers(column(columns, name))
        inside &= (values >= low) & (values <= high)
    return inside & rows_where(str(condition), columns) if condition else inside


def outlined(columns: Mapping[str, np.ndarray], region: Any) -> Bool[np.ndarray, " n"]:
    """Rows inside the outline: `{"across": column, "up": column, "x": corners, "y": corners}`; all without one.

    Raises:
        InputError: a column or corners that are none.
    """
    if region is None:
        return np.ones(len(columns["row"]), dtype=bool)
    try:
        corners = np.stack([np.asarray(region[axis], dtype=np.float64) for axis in ("x", "y")], axis=1)
        across, up = region["across"], region["up"]
    except (KeyError, TypeError, ValueError):
        raise InputError("not an outline", where="the selection") from None
    if corners.ndim != 2 or not 2 < len(corners) <= MOST_CORNERS:
        raise InputError(f"an outline of shape {corners.shape}", where="the selection", expected="three corners or more")
    points = np.stack([numbers(column(columns, name)) for name in (across, up)], axis=1).astype(np.float32)
    return Outline(corners, closed=False).contains_points(points)


def chosen_rows(columns: Mapping[str, np.ndarray], choice: Mapping[str, Any] | None) -> Int[np.ndarray, " m"]:
    """Rows, from 0 and in order, of `{"thresholds": {column: [low, high]}, "where": condition or None, "region": outline or None}`.

    Raises:
        InputError: as the two above.
    """
    choice = choice or {}
    return np.flatnonzero(within(columns, choice.get("thresholds"), choice.get("where")) & outlined(columns, choice.get("region")))


def column(columns: Mapping[str, np.ndarray], name: object) -> np.ndarray:
    """The column of this name.

    Raises:
        InputError: there is none.
    """
    if not isinstance(name, str) or name not in columns:
        raise InputError("no such column", where=name, expected=", ".join(list(columns)[:8]) + " …")
    return columns[name]
