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
    (curves,) = run_curves(EVENTS, "job").values()
    assert set(curves) == {"resolution_A", "confident_share"}
    assert curves["resolution_A"].minutes.tolist() == [1, 3]
    assert curves["resolution_A"].values.tolist() == [20.5, 12]


def test_classes_have_curves_of_their_own():
    """The phase "class 1" is one of telling classes apart, "class 01 refine 1" one of the first class's own job."""
    names = ["class 1", "sharing 2", "class 01 refine 1", "class 01 refine 2", "class 02 refine 1"]
    events = []
    for i, name in enumerate(names):
        events.append({"event": "phase", "time": 60.0 * i, "name": name, "total": 1, "words": name})
        events.append({"event": "step", "time": 60.0 * i + 30, "done": 1} | ({"resolution_A": 40 - i} if i > 1 else {}))
    curves = run_curves(events, "job")
    assert list(curves) == ["job, class 1", "job, class 2"]
    assert curves["job, class 1"]["resolution_A"].values.tolist() == [38, 37]
    assert curves["job, class 2"]["resolution_A"].values.tolist() == [36]
    assert curves["job, class 2"]["resolution_A"].minutes.tolist() == [4.5]  # of the whole run


def test_phases_and_time():
    assert phases(EVENTS) == [(0, "read", "reading"), (2, "refine 1", "searching")]
    assert seconds_taken(EVENTS) == 180


def test_a_run_that_has_said_nothing():
    assert (run_curves([], "job"), phases([]), seconds_taken([])) == ({}, [], 0)
