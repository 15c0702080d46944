"""The job folder: what a run leaves behind, and what it resumes from. Other programs read it (DESIGN §7).

    JOB/job.toml      the options              JOB/checkpoints/000012_refine/{tensors.safetensors, meta.json}
    JOB/status.json   how it stands, atomic    JOB/maps/   the results
    JOB/log.txt       for people               JOB/figures/stages/   the map as it appeared
    JOB/events.jsonl  for programs, one JSON object a line

A run may be killed at any moment: files appear whole under their names or not at all, and a checkpoint is a folder that
is written under a hidden name and renamed.
"""

import fcntl
import json
import math
import os
import shutil
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from cryodrake import __version__
from cryodrake.errors import InputError
from cryodrake.io.atomic import write_bytes_atomic, write_text_atomic

KEPT_CHECKPOINTS = 2

_NEW_STATUS: dict[str, Any] = {
    "state": "running",  # running | finished | stopped | failed
    "phase": None,
    "progress": None,  # of the phase, 0 to 1
    "eta_s": None,  # of the phase
    "resolution_A": None,
    "confident_share": None,
    "mean_pose_change_deg": None,
    "converged": None,
    "verdict": None,
    "warnings": [],
    "version": __version__,
    "updated": None,
}


class JobFolder:
    """A job's folder. `create` and `resume` lock it until `close`; `JobFolder(path)` is only for reading."""

    def __init__(self, path: Path):
        self._lock: int | None = None  # a file descriptor
        self.path = Path(path)
        self.status: dict[str, Any] = dict(_NEW_STATUS, warnings=[])
        if (self.path / "status.json").exists():
            self.status |= json.loads((self.path / "status.json").read_text(encoding="utf-8"))

    @classmethod
    def create(cls, path: Path, options_toml: str = "") -> "JobFolder":
        """A new job in a folder that is new, empty, or holds a job that ended before its first checkpoint.

        Raises:
            InputError: the folder holds a finished or a resumable job, or anything that is not a job.
        """
        path = Path(path)
        if path.exists() and not path.is_dir():
            raise InputError("the job folder is a file", where=path, do="choose another --out")
        job = cls(path)
        if any(not entry.name.startswith(".") for entry in (path.iterdir() if path.exists() else ())):
            job._refuse_if_of_value()
        path.mkdir(parents=True, exist_ok=True)
        job._acquire()
        write_text_atomic(path / "job.toml", options_toml)  # first: it is what makes the folder ours
        for name in ("status.json", "log.txt", "events.jsonl"):
            (path / name).unlink(missing_ok=True)
        for folder in (job.checkpoints, job.figures, job.maps):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        job.status = dict(_NEW_STATUS, warnings=[])
        job.write_status()
        return job

    @classmethod
    def resume(cls, path: Path) -> "JobFolder":
        """The unfinished job in this folder, to go on with.

        Raises:
            InputError: no job is there, it is finished, or another process runs it.
        """
        job = cls(Path(path))
        if not (job.path / "job.toml").exists():
            raise InputError("no job to resume", where=path, do="start it without --resume")
        if job.status["state"] == "finished":
            raise InputError("this job is finished", where=path, do="choose another --out for another run")
        job._acquire()
        for folder in (job.checkpoints, job.figures, job.maps):
            folder.mkdir(exist_ok=True)
        for leftover in job.checkpoints.glob(".*"):
            shutil.rmtree(leftover)
        _drop_cut_line(job.path / "events.jsonl")
        job.write_status(state="running")
        return job

    def _refuse_if_of_value(self) -> None:
        if not (self.path / "job.toml").exists():
            raise InputError("the folder is not empty and holds no job", where=self.path, do="choose another --out")
        if self.status["state"] == "finished":
            raise InputError("the folder holds a finished job", where=self.path, do="choose another --out")
        if self._saved():
            raise InputError("the folder holds an unfinished job", where=self.path, do="add --resume, or choose another --out")

    def _acquire(self) -> None:
        self._lock = os.open(self.path / ".lock", os.O_CREAT | os.O_WRONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError("another process runs this job", where=self.path, do="wait, or stop it") from None
        except OSError:
            pass  # a file system without locks

    def close(self) -> None:
        """Gives up the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __del__(self) -> None:
        self.close()

    @property
    def maps(self) -> Path:
        return self.path / "maps"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    def write_status(self, **changes: Any) -> None:
        """Changes entries of status.json; what is not a finite number becomes null, as JSON has no other."""
        self.status |= changes | {"updated": datetime.now(timezone.utc).isoformat(timespec="seconds")}
        write_text_atomic(self.path / "status.json", json.dumps(_finite(self.status), indent=1, ensure_ascii=False) + "\n")

    def log(self, text: str) -> None:
        """Adds a line to log.txt."""
        with (self.path / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def event(self, kind: str, **values: Any) -> None:
        """Adds a line to events.jsonl: the kind of event, the time, and its values."""
        line = json.dumps({"event": kind, "time": round(time.time(), 3)} | _finite(values), ensure_ascii=False)
        with (self.path / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def events(self) -> list[dict[str, Any]]:
        """The events so far; a last line that was cut off is left out."""
        path = self.path / "events.jsonl"
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def save_checkpoint(self, name: str, tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> Path:
        """Writes tensors and meta (anything JSON holds) as one checkpoint and forgets all but the last two."""
        saved = self._saved()
        number = int(saved[-1].name.split("_")[0]) + 1 if saved else 0
        target = self.checkpoints / f"{number:06d}_{name}"
        partial = self.checkpoints / f".{target.name}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        own = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
        write_bytes_atomic(partial / "tensors.safetensors", save(own))
        write_text_atomic(partial / "meta.json", json.dumps(meta, indent=1))
        _flush_to_disk(partial)
        partial.rename(target)
        _flush_to_disk(self.checkpoints)
        for old in saved[: len(saved) + 1 - KEPT_CHECKPOINTS]:
            # Renamed first: a folder half deleted must not be taken for a checkpoint.
            hidden = old.with_name(f".{old.name}")
            old.rename(hidden)
            shutil.rmtree(hidden)
        return target

    def load_latest(self) -> tuple[str, dict[str, torch.Tensor], dict[str, Any]] | None:
        """Name, tensors and meta of the newest checkpoint that can be read, or None."""
        for folder in reversed(self._saved()):
            try:
                tensors = load_file(folder / "tensors.safetensors")
                meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
            except (OSError, SafetensorError, ValueError) as error:
                self.log(f"{folder.name} cannot be read and is passed over: {error}")
                continue
            return folder.name.split("_", 1)[1], tensors, meta
        return None

    def _saved(self) -> list[Path]:
        return sorted(self.checkpoints.glob("[0-9]*_*"))


def _flush_to_disk(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _drop_cut_line(path: Path) -> None:
    """A kill in the middle of a write leaves a last line without its end: remove it."""
    if path.exists():
        data = path.read_bytes()
        os.truncate(path, data.rfind(b"\n") + 1)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "item"):  # numpy and torch scalars
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
