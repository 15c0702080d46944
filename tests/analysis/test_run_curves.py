"""Curves of a run from its events."""

from cryodrake.analysis.run_curves import phases, run_curves, seconds_taken

EVENTS = [
    {"event": "phase", "time": 100.0, "name": "read", "total": 2, "words": "reading"},
    {"event": "step", "time": 130.0, "done": 1, "resolution_A": None},
    {"event": "step", "time": 160.0, "done": 2, "resolution_A": 20.5, "confident_share": 0.5},
    {"event": "phase", "time": 220.0, "name": "refine 1", "total": 2, "words": "searching"},
    {"event": "step", "time": 280.0, "done": 1, "resolution_A": 12},
]


def test_numbers_stand_at_their_minutes_and_null_is_left_out():
    curves = run_curves(EVENTS)
    assert set(curves) == {"resolution_A", "confident_share"}
    assert curves["resolution_A"].minutes.tolist() == [1, 3]
    assert curves["resolution_A"].values.tolist() == [20.5, 12]


def test_phases_and_time():
    assert phases(EVENTS) == [(0, "read", "reading"), (2, "refine 1", "searching")]
    assert seconds_taken(EVENTS) == 180


def test_a_run_that_has_said_nothing():
    assert (run_curves([]), phases([]), seconds_taken([])) == ({}, [], 0)
