"""What users see while a run works: short lines when piped, a live line on a terminal."""

import io

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from cryodrake.app import progress
from cryodrake.app.progress import PlainScreen, RichScreen


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when told."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def run(screen, wait):
    screen.phase("search", 1000, "searching poses")
    for done in range(100, 1001, 100):
        wait(4)
        screen.step(done, particles=100, resolution_A=20 - done / 100, confident_share=done / 1000)
    screen.step(1000, mean_pose_change_deg=1.25)
    screen.stage("map", np.zeros((8, 8, 8), dtype=np.float32), 4.0, 10.0)
    screen.warn("views are uneven")
    screen.finish(True, "it converged")


def test_piped_it_is_a_few_short_lines(clock):
    out = io.StringIO()
    run(PlainScreen(Console(file=out)), clock)
    lines = out.getvalue().splitlines()
    assert lines[0] == "[    0 s] searching poses"
    assert lines[1] == "[   16 s] 40 %, 24 s left · 25 particles/s · 16.0 Å · 40 % confident"
    assert lines[-3] == "[   40 s] searching poses: 40 s · 25 particles/s · 10.0 Å · 100 % confident"
    assert lines[-2:] == ["[   40 s] warning: views are uneven", "[   40 s] it converged"]
    assert len(lines) == 6
    assert "\x1b" not in out.getvalue()


def test_on_a_terminal_the_line_lives_and_the_phase_stays_above_it():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    with Progress(TextColumn("{task.description} {task.fields[metrics]}"), console=console) as live:
        screen = RichScreen(live)
        run(screen, lambda _: None)
        assert not screen.should_stop()
        assert live.tasks == []
    said = out.getvalue()
    assert "10.0 Å · 100 % confident · poses moved 1.2°" in said
    assert "✓ searching poses" in said
    assert "warning: views are uneven" in said
    assert "it converged" in said
