"""The page of a job that runs: it follows the job's files without being reloaded."""

import numpy as np
import pytest
import torch

from cryodrake.io.job import JobFolder
from cryodrake.physics.rotations import random_rotations
from cryodrake.training.events import JobReporter, QuietReporter, StopRequest

pytestmark = pytest.mark.slow  # a browser without a graphics card


@pytest.fixture
def running(tmp_path):
    """A job at its first phase."""
    job = JobFolder.create(tmp_path / "jobs" / "new", 'command = "abinit"\n')
    yield JobReporter(job, StopRequest(), QuietReporter())
    job.close()


def ball(radius_px, d=24):
    axis = np.arange(d) - d // 2
    squared = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    return np.exp(-squared / (2 * radius_px**2)).astype(np.float32)


def says(user, element, words):
    user.page.wait_for_function(
        "([id, words]) => document.getElementById(id)?.innerText.includes(words)", arg=[element, words], timeout=20_000
    )


def test_phase_log_maps_and_views_appear_as_the_run_goes_on(running, opened):
    running.phase("start 1", 10, "random start 1 and 2")
    running.step(3)
    user = opened(running.job.path)
    says(user, "progress-words", "Random start 1 and 2")
    says(user, "progress-words", "30%")
    says(user, "page-state", "running")
    user.wait_for("stages-map", "has not appeared yet")
    running.stage("start 1", ball(3), 4.0, None)
    user.wait_for("stages-map", "start 1")
    running.phase("refine 1", 10, "searching all poses")
    running.step(10, resolution_A=21.5, confident_share=0.42, mean_pose_change_deg=12.0)
    running.stage("refine 1", ball(5), 4.0, 21.5)
    user.wait_for("stages-map", "refine 1, 21.5 Å")
    says(user, "progress-words", "42%")
    says(user, "log-tail", "searching all poses")
    user.thumb("stages-place").press("Home")
    user.wait_for("stages-map", "start 1")
    running.job.save_checkpoint("refine", {"rotation": random_rotations(500, torch.Generator().manual_seed(0))}, {})
    user.go_to("Quality")
    says(user, "views-words", "The structure is seen evenly enough")
    running.finish(True, "converged to 21 Å")
    running.job.write_status(state="finished")
    says(user, "page-state", "finished")


def test_a_job_that_has_said_nothing_and_one_that_failed_can_be_looked_at(running, opened):
    user = opened(running.job.path.parent)
    says(user, "page-state", "running")
    user.go_to("Quality")
    user.wait_for("fsc-view", "no half maps yet")
    running.job.write_status(state="failed", verdict="the disk is full")
    says(user, "page-state", "failed")
