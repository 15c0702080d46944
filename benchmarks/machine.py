"""What the numbers of a benchmark were measured on: kept beside them, because without it they mean nothing."""

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import torch


def describe(device: str = "cpu") -> dict[str, Any]:
    """Processor, threads, load at the start, card, versions, commit of the code, date."""
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
        "commit": commit(),
    }
    if torch.device(device).type == "cuda":
        found["card"] = torch.cuda.get_device_name(device)
    return found


def words(found: dict[str, Any]) -> str:
    """The same in one line; a busy machine is said."""
    parts = [found["processor"], f"{found['threads']} threads", f"torch {found['torch']}", f"commit {found['commit']}"]
    if "card" in found:
        parts.insert(0, found["card"])
    busy = found["load_before"] > 0.5
    return ", ".join(parts) + (f"\nBUSY: load {found['load_before']} before the start" if busy else "")


def commit() -> str:
    """Short hash of the checkout, with a + when files differ from it."""
    here = Path(__file__).parent
    try:
        answer = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
        return subprocess.run(answer, cwd=here, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
