"""The job folder: what it refuses, and that a kill at any moment leaves something to resume from."""

import contextlib
import json
import os

import pytest
import torch

from cryodrake.errors import InputError
from cryodrake.io.job import JobFolder


@pytest.fixture
def job(tmp_path):
    return JobFolder.create(tmp_path / "job", "[options]\n")


def values(job):
    name, tensors, meta = job.load_latest()
    return name, tensors["x"].tolist(), meta


def test_a_new_job_has_its_files(job):
    assert (job.path / "job.toml").read_text() == "[options]\n"
    status = json.loads((job.path / "status.json").read_text())
    assert status["state"] == "running"
    assert status["warnings"] == []
    assert {"phase", "progress", "eta_s", "resolution_A", "confident_share", "mean_pose_change_deg"} <= set(status)
    assert {"converged", "verdict", "version", "updated"} <= set(status)


def test_status_is_valid_json_even_with_nan(job):
    job.write_status(resolution_A=float("nan"), progress=torch.tensor(0.5), eta_s=float("inf"))
    status = json.loads((job.path / "status.json").read_text(), parse_constant=pytest.fail)
    assert (status["resolution_A"], status["progress"], status["eta_s"]) == (None, 0.5, None)


@pytest.mark.parametrize("state", ["finished", "stopped"])
def test_create_refuses_a_folder_with_a_job_worth_keeping(job, state):
    job.save_checkpoint("search", {"x": torch.zeros(1)}, {})
    job.write_status(state=state)
    job.close()
    before = sorted((p, p.stat().st_mtime_ns) for p in job.path.rglob("*"))
    with pytest.raises(InputError, match="finished job"):
        JobFolder.create(job.path)
    assert sorted((p, p.stat().st_mtime_ns) for p in job.path.rglob("*")) == before


def test_create_refuses_foreign_files_and_leaves_them(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="holds no job"):
        JobFolder.create(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="is a file"):
        JobFolder.create(tmp_path / "thesis.tex")


def test_a_job_that_failed_before_its_first_checkpoint_starts_over(job):
    job.event("phase", name="read")
    job.write_status(state="failed", verdict="no such file")
    job.close()
    again = JobFolder.create(job.path, "[options]\nseed = 1\n")
    assert again.events() == []
    assert again.status["state"] == "running"
    assert again.status["verdict"] is None


def test_two_processes_cannot_run_one_job(job):
    with pytest.raises(InputError, match="another process"):
        JobFolder.create(job.path)
    with pytest.raises(InputError, match="another process"):
        JobFolder.resume(job.path)


def test_resume_refuses_nothing_and_finished(job, tmp_path):
    with pytest.raises(InputError, match="no job to resume"):
        JobFolder.resume(tmp_path / "none")
    job.write_status(state="finished")
    job.close()
    with pytest.raises(InputError, match="finished"):
        JobFolder.resume(job.path)


def test_a_cut_line_of_events_is_dropped_on_resume(job):
    job.event("step", done=1)
    with (job.path / "events.jsonl").open("a") as file:
        file.write('{"event": "step", "do')
    assert [e["done"] for e in job.events()] == [1]
    job.close()
    again = JobFolder.resume(job.path)
    again.event("step", done=2)
    assert [e["done"] for e in again.events()] == [1, 2]


def test_checkpoints_come_back_bit_for_bit(job):
    generator = torch.Generator().manual_seed(1)
    tensors = {
        "x": torch.randn(3, 4, generator=generator).T,  # not contiguous
        "c": torch.randn(5, dtype=torch.complex64, generator=generator),
        "rng": generator.get_state(),
        "shared": torch.arange(6)[2:4],
        "empty": torch.zeros(0, 3),
    }
    job.save_checkpoint("refine", tensors, {"step": 7, "best": 0.1 + 0.2, "worst": float("-inf")})
    name, loaded, meta = job.load_latest()
    assert name == "refine"
    assert meta == {"step": 7, "best": 0.1 + 0.2, "worst": float("-inf")}
    assert set(loaded) == set(tensors)
    assert all(torch.equal(loaded[key], tensors[key]) for key in tensors)


def test_only_the_last_two_checkpoints_are_kept(job):
    assert job.load_latest() is None
    for step in range(4):
        job.save_checkpoint("a_b", {"x": torch.tensor([step])}, {"step": step})
    assert [p.name for p in sorted(job.checkpoints.iterdir())] == ["000002_a_b", "000003_a_b"]
    assert values(job) == ("a_b", [3], {"step": 3})


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


CALLS = ("os.fsync", "os.replace", "pathlib.Path.rename", "shutil.rmtree", "pathlib.Path.mkdir")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("countdown", range(4))
def test_a_kill_between_any_two_writes_leaves_a_whole_checkpoint(job, monkeypatch, call, is_after, countdown):
    job.save_checkpoint("s", {"x": torch.tensor([0])}, {"step": 0})
    job.save_checkpoint("s", {"x": torch.tensor([1])}, {"step": 1})
    owner, name = call.rsplit(".", 1)
    module = __import__(owner.split(".")[0])
    for part in owner.split(".")[1:]:
        module = getattr(module, part)
    real, left = getattr(module, name), [countdown]

    def dying(*args, **kwargs):
        left[0] -= 1
        if left[0] == -1 and not is_after:
            raise Killed
        result = real(*args, **kwargs)
        if left[0] == -1:
            raise Killed
        return result

    with monkeypatch.context() as patch:
        patch.setattr(module, name, dying)
        with contextlib.suppress(Killed):
            job.save_checkpoint("s", {"x": torch.tensor([2])}, {"step": 2})
    job.close()
    again = JobFolder.resume(job.path)
    name, (step,), meta = values(again)
    assert step in (1, 2)
    assert meta == {"step": step}
    assert not any(p.name.startswith(".") for p in again.checkpoints.iterdir())
    again.save_checkpoint("s", {"x": torch.tensor([3])}, {"step": 3})
    assert values(again) == ("s", [3], {"step": 3})


@pytest.mark.parametrize("broken", ["tensors.safetensors", "meta.json"])
def test_a_damaged_checkpoint_is_passed_over_and_logged(job, broken):
    job.save_checkpoint("s", {"x": torch.tensor([0])}, {"step": 0})
    last = job.save_checkpoint("s", {"x": torch.tensor([1])}, {"step": 1})
    os.truncate(last / broken, 3)
    assert values(job) == ("s", [0], {"step": 0})
    assert last.name in (job.path / "log.txt").read_text()
