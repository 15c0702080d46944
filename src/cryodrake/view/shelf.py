"""The jobs under a folder, by name. What a browser asks for is looked up here: it never names a path."""

from pathlib import Path

from cryodrake.analysis.find_jobs import find_jobs
from cryodrake.errors import InputError
from cryodrake.view.job_reader import JobReader


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
