"""Chosen rows against the plain test of each point."""

import numpy as np
import pytest

pytest.importorskip("dash")

from cryodrake.errors import InputError
from cryodrake.view.choice import chosen_rows
from cryodrake.view.scatter_figure import colours, scatter

N = 500


@pytest.fixture
def columns():
    rng = np.random.default_rng(0)
    text = np.array([f"mic_{i % 3}" for i in range(N)], dtype=object)
    return {"row": np.arange(N), "a": rng.normal(size=N), "b": rng.normal(size=N), "c": rng.uniform(size=N), "name": text}


def region(x, y, across="a", up="b"):
    return {"across": across, "up": up, "x": list(x), "y": list(y)}


def test_nothing_chosen_is_everything(columns):
    assert chosen_rows(columns, {}).tolist() == list(range(N))
    assert chosen_rows(columns, None).tolist() == list(range(N))


def test_a_box_holds_what_is_between_its_corners(columns):
    found = chosen_rows(columns, {"region": region((-0.5, 1, 1, -0.5), (0, 0, 2, 2))})
    a, b = columns["a"], columns["b"]
    assert found.tolist() == np.flatnonzero((a > -0.5) & (a < 1) & (b > 0) & (b < 2)).tolist()


def test_a_lasso_may_be_bent_and_thresholds_narrow_it(columns):
    triangle = region((-1, 2, -1), (-1, -1, 2))
    found = chosen_rows(columns, {"region": triangle, "thresholds": {"c": [0.25, 0.75]}})
    a, b, c = columns["a"], columns["b"], columns["c"]
    assert found.tolist() == np.flatnonzero((a > -1) & (b > -1) & (a + b < 1) & (c >= 0.25) & (c <= 0.75)).tolist()


def test_text_has_thresholds_by_the_order_of_its_words(columns):
    assert chosen_rows(columns, {"thresholds": {"name": [1, 1]}}).tolist() == list(range(1, N, 3))


@pytest.mark.parametrize(
    "choice",
    [
        {"thresholds": {"absent": [0, 1]}},
        {"region": {"across": "a"}},
        {"region": region((0, 1), (0, 1))},
        {"region": region((0, 1, 2), (0, 1))},
        {"region": region((0, 1, 1), (0, 1, 0), up="absent")},
        {"region": region("abc", "abc")},
        {"region": 3},
        {"thresholds": 3},
        {"thresholds": {"a": 3}},
        {"thresholds": {"a": [None, 1]}},
        {"where": "absent > 3"},
        {"where": "__import__('os').remove('x')"},
        {"where": ["a"]},
    ],
)
def test_what_a_browser_should_not_send_is_refused(columns, choice):
    with pytest.raises(InputError):
        chosen_rows(columns, choice)


def test_a_point_knows_its_row_also_where_others_are_hidden(columns):
    is_shown, is_chosen = columns["c"] > 0.5, columns["a"] > 0
    trace = scatter(columns, "a", "b", "name", is_shown, 400, is_chosen).data[0]
    rows = np.asarray(trace.customdata)
    assert rows.tolist() == np.flatnonzero(is_shown).tolist()
    assert np.asarray(trace.x) == pytest.approx(columns["a"][rows], rel=1e-6)
    assert np.asarray(trace.marker.color).tolist() == (rows % 3).tolist()
    assert rows[list(trace.selectedpoints)].tolist() == np.flatnonzero(is_shown & is_chosen).tolist()


def test_classes_have_a_colour_each_and_numbers_a_scale():
    few = colours(np.array(["b", "a", "b"], dtype=object), "name", np.arange(3))
    assert few["color"].tolist() == [1, 0, 1]
    assert few["colorbar"]["ticktext"] == ["a", "b"]
    most = colours(np.arange(40) % 20, "cluster", np.arange(40))
    assert len({colour for _, colour in most["colorscale"]}) == 20
    assert colours(np.arange(21), "cluster", np.arange(21))["colorscale"] == "Viridis"
    many = colours(np.linspace(0, 100, 1001), "defocus_A", np.arange(1001))
    assert (many["cmin"], many["cmax"]) == (pytest.approx(1), pytest.approx(99))


def test_a_condition_narrows_the_choice_and_without_one_nothing_changes(columns):
    found = chosen_rows(columns, {"thresholds": {"c": [0.25, 2]}, "where": "a * b < 0 and name in ['mic_0', 'mic_2']"})
    a, b, c = columns["a"], columns["b"], columns["c"]
    assert found.tolist() == np.flatnonzero((c >= 0.25) & (a * b < 0) & (np.arange(N) % 3 != 1)).tolist()
    for nothing in ("", None):
        assert len(chosen_rows(columns, {"where": nothing})) == N
