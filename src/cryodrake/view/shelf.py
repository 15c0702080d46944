"""The jobs under a folder, by name. What a browser asks for is looked up here: it never names a path."""

import os
from pathlib import Path

from cryodrake.errors import InputError
from cryodrake.view.job_reader import JobReader

DEEPEST = 3
MARKS = ("job.toml", "status.json")


class Shelf:
    """Attributes:
    root: the folder that was asked for, a job or a folder of jobs.

    Raises:
        InputError: there is no such folder, or no job in it.
    """

    def __init__(self, root: Path):
        if not root.is_dir():
            raise InputError("no such folder", where=root, expected="a job folder, or a folder with jobs in it")
        self.root = root.resolve()
        self._readers: dict[str, JobReader] = {}
        if not self.names():
            raise InputError("no job is here", where=root, expected="a folder with job.toml in it, or in its subfolders")

    def names(self) -> list[str]:
        """Of the jobs that are there now, in order, each before its classes."""
        names = []
        for path in find_jobs(self.root):
            name = self.root.name if path == self.root else path.relative_to(self.root).as_posix()
            if name not in self._readers:
                self._readers.setdefault(name, JobReader(path, name))  # another request may have been quicker
            names.append(name)
        return names

    def open(self, name: object) -> JobReader:
        """The job of this name.

        Raises:
            InputError: it is not one of `names`.
        """
        reader = self._readers.get(name) if isinstance(name, str) else None
        if reader is None:
            raise InputError("no such job", where=name, expected="one of the list")
        return reader


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
