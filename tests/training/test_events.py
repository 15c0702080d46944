"""What a run tells, and how it learns to stop."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from cryodrake.io.job import JobFolder
from cryodrake.training.events import JobReporter, QuietReporter, StopRequest
from cryodrake.training.stages import load_stages


@pytest.fixture
def reporter(tmp_path):
    return JobReporter(JobFolder.create(tmp_path / "job"), StopRequest(), QuietReporter())


def test_a_run_is_recorded_in_status_events_and_log(reporter):
    reporter.phase("search", 10, "searching poses")
    reporter.step(4, resolution_A=20.5, confident_share=0.25, mean_pose_change_deg=11.0, particles=400, loss=3.0)
    status = reporter.job.status
    assert (status["phase"], status["progress"], status["resolution_A"]) == ("search", 0.4, 20.5)
    assert (status["confident_share"], status["mean_pose_change_deg"]) == (0.25, 11.0)
    assert status["eta_s"] >= 0
    assert "loss" not in status
    reporter.warn("the data look inverted")
    reporter.warn("the data look inverted")
    reporter.finish(False, "it did not converge", resolution_A=18.0)
    assert status["warnings"] == ["the data look inverted"]
    assert status["state"] == "running"  # until the command has written all its files
    assert (status["converged"], status["verdict"], status["resolution_A"]) == (False, "it did not converge", 18.0)
    events = reporter.job.events()
    assert [e["event"] for e in events] == ["phase", "step", "warning", "warning", "verdict"]
    assert events[1]["loss"] == 3.0
    log = (reporter.job.path / "log.txt").read_text()
    assert "search: searching poses" in log
    assert "it did not converge" in log
    assert [kind for kind, _ in reporter.screen.events] == [e["event"] for e in events]


def test_quick_steps_are_thinned_but_the_last_is_kept(reporter):
    reporter.phase("search", 100, "searching")
    for done in range(1, 101):
        reporter.step(done)
    steps = [e["done"] for e in reporter.job.events() if e["event"] == "step"]
    assert steps[0] == 1
    assert steps[-1] == 100
    assert len(steps) < 50
    assert reporter.job.status["progress"] == 1.0
    assert len(reporter.screen.events) == 101


def test_stages_come_back_in_order_and_are_replaced_by_name(reporter):
    ramp = np.linspace(-200, 100000, 8**3, dtype=np.float32).reshape(8, 8, 8)  # beyond float16
    reporter.stage("start", ramp, 4.0, None)
    reporter.stage("search 1", -ramp, 4.0, 20.0)
    reporter.stage("start", 2 * ramp, 4.0, 30.0)
    stages = load_stages(reporter.job.figures / "stages")
    assert [(s.name, s.resolution_A, s.pixel_size_A) for s in stages] == [("start", 30.0, 4.0), ("search 1", 20.0, 4.0)]
    assert np.allclose(stages[0].volume, ramp / 100000, atol=1e-3)
    assert np.allclose(stages[1].volume, -ramp / 100000, atol=1e-3)


def test_large_stages_are_kept_small_over_the_same_field_of_view(reporter):
    axis = np.arange(120) - 60
    r2 = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    reporter.stage("final", np.exp(-r2 / (2 * 15.0**2)).astype(np.float32), 2.0, 9.0)
    (stage,) = load_stages(reporter.job.figures / "stages")
    assert stage.volume.shape == (80, 80, 80)
    assert stage.pixel_size_A == pytest.approx(3.0)
    assert stage.volume[40, 40, 40] == pytest.approx(1, abs=2e-3)
    assert stage.volume[40, 40, 50] == pytest.approx(np.exp(-0.5), abs=2e-3)  # 10 × 3 Å is 15 × 2 Å


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_wish_and_the_second_an_order(number):
    before = signal.getsignal(number)
    stop = StopRequest()
    with stop.listening():
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert number.name in stop.reason
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_the_time_limit_is_a_wish_to_stop():
    stop = StopRequest(max_minutes=1e-9)
    time.sleep(0.001)
    assert stop()
    assert "max-minutes" in stop.reason
    assert not StopRequest(max_minutes=1e9)()


def test_a_run_in_a_thread_listens_to_no_signals():
    heard = []

    def run():
        with StopRequest(max_minutes=60).listening():
            heard.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert heard == [True]


def test_the_quiet_reporter_asks_to_stop_when_told():
    quiet = QuietReporter(stop_after=2)
    assert [quiet.should_stop() for _ in range(4)] == [False, False, True, True]
    assert not any(QuietReporter().should_stop() for _ in range(10))
