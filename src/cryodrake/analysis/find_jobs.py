"""The jobs under a folder."""

import os
from pathlib import Path

DEEPEST = 3
MARKS = ("job.toml", "status.json")


def find_jobs(root: Path) -> list[Path]:
    """`root` itself if it is a job, else the jobs in it, at most `DEEPEST` folders down; links are not followed.

    After a job with --classes come its classes' jobs.
    """
    if _is_job(root):
        return [root, *_classes(root)]
    found = []
    for folder, subfolders, _ in os.walk(root, followlinks=False):
        path = Path(folder)
        depth = len(path.relative_to(root).parts)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(".") and not (path / name).is_symlink())
        if depth and _is_job(path):
            found += [path, *_classes(path)]
            subfolders.clear()
        elif depth == DEEPEST:
            subfolders.clear()
    return found


def _classes(job: Path) -> list[Path]:
    return [path for path in sorted(job.glob("classes/class_*")) if _is_job(path) and path.resolve().is_relative_to(job.resolve())]


def _is_job(path: Path) -> bool:
    return any((path / mark).is_file() for mark in MARKS)
