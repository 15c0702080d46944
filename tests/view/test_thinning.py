"""Fewer points that look the same: every place that has points keeps one, and none is moved."""

import numpy as np
import pytest

pytest.importorskip("dash")

from cryodrake.view.thinning import CELLS, MOST, thinned

N = 200_000


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, N))
    x[7], y[7] = 9.0, -9.0  # an outlier
    return x, y


def picture(x, y, window, cells):
    """Which cells of the window have a point."""
    left, right, low, high = window
    return np.histogram2d(x, y, bins=cells, range=((left, right), (low, high)))[0] > 0


def test_every_place_that_had_a_point_still_has_one(points):
    x, y = points
    rows = thinned(x, y, np.ones(N, dtype=bool), None)
    assert len(rows) < MOST
    assert 7 in rows
    window = (x.min(), x.max(), y.min(), y.max())
    assert (picture(x[rows], y[rows], window, CELLS) == picture(x, y, window, CELLS)).mean() > 0.9999  # the last edges


def test_a_closer_look_shows_points_of_its_own_until_all_are_there(points):
    x, y = points
    window = (0.5, 0.7, -0.1, 0.1)
    rows = thinned(x, y, np.ones(N, dtype=bool), window)
    assert (picture(x[rows], y[rows], window, CELLS) == picture(x, y, window, CELLS)).all()
    closest = (0.5, 0.53, 0.0, 0.03)
    inside = np.flatnonzero((x > 0.5) & (x < 0.53) & (y > 0) & (y < 0.03))
    assert len(inside) > 3
    assert set(inside) <= set(thinned(x, y, np.ones(N, dtype=bool), closest))


def test_the_margin_is_filled_and_what_is_hidden_stays_away(points):
    x, y = points
    is_shown = x < 0.6
    rows = thinned(x, y, is_shown, (0.5, 0.7, -0.1, 0.1))
    assert is_shown[rows].all()
    assert ((x[rows] < 0.45) & (x[rows] > 0.4)).any()


def test_few_points_are_all_drawn_and_what_is_no_number_is_not():
    x, y = np.arange(5.0), np.array([0, np.nan, 2, np.inf, 4])
    assert thinned(x, y, np.ones(5, dtype=bool), None).tolist() == [0, 2, 4]
