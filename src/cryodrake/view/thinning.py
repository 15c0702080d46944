"""Fewer points that look the same: of those that would cover each other on the screen only one is sent and drawn.

The view is cut into cells a few pixels wide, and the first point of each is kept, in an order that is random but always the
same. Outliers have cells of their own, so none is lost. A closer look gets points of its own, until all are there.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

MOST = 20_000  # as many are drawn as they are
CELLS = (140, 110)  # across and up, of a scatter of some 550 × 430 pixels
MARGIN = 0.5  # of the view, on each side: what a drag uncovers

Window = tuple[float, float, float, float]  # left, right, low, high


def thinned(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], is_shown: Bool[np.ndarray, " n"], window: Window | None
) -> Int[np.ndarray, " m"]:
    """Rows to draw, in order.

    Args:
        window: what is looked at; None: all of it.
    """
    rows = np.flatnonzero(is_shown & np.isfinite(x) & np.isfinite(y))
    if len(rows) <= MOST:
        return rows
    left, right, low, high = window or (x[rows].min(), x[rows].max(), y[rows].min(), y[rows].max())
    across = (x[rows] - left) / max(right - left, 1e-300)
    up = (y[rows] - low) / max(high - low, 1e-300)
    is_near = (np.abs(across - 0.5) <= 0.5 + MARGIN) & (np.abs(up - 0.5) <= 0.5 + MARGIN)
    rows, across, up = rows[is_near], across[is_near], up[is_near]
    order = np.random.default_rng(0).permutation(len(rows))
    cell = np.floor(across * CELLS[0]).astype(np.int64) * (4 * CELLS[1]) + np.floor(up * CELLS[1]).astype(np.int64)
    first = np.unique(cell[order], return_index=True)[1]
    return np.sort(rows[order[first]])
