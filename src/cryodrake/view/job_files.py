"""Files of a job that may be looked at: those that lie in its folder, also after links are followed."""

import re
from pathlib import Path

from cryodrake.errors import InputError

FILE_NAME = re.compile(r"\w[\w .+-]{0,99}")
MAP_FOLDERS = ("maps", "maps/states", "analysis/volumes")
MOST_MAPS = 1000


def inside(root: Path, path: Path) -> Path:
    """The path with links followed.

    Raises:
        InputError: it leads out of `root`.
    """
    resolved = path.resolve()
    if not resolved.is_relative_to(root.resolve()):
        raise InputError("leads out of the job's folder", where=path, expected=f"a file in {root}")
    return resolved


def find_maps(job: Path) -> dict[str, Path]:
    """The job's maps by their place in it, without .mrc: the usual ones first, then those of other folders that users made."""
    usual = [path for folder in MAP_FOLDERS for path in sorted((job / folder).glob("*.mrc"))]
    own = sorted(job.glob("*/*.mrc")) + sorted(job.glob("*/*/*.mrc"))
    found, root = {}, job.resolve()
    for path in list(dict.fromkeys(usual + own))[:MOST_MAPS]:
        if path.is_file() and path.resolve().is_relative_to(root):
            found[path.relative_to(job).with_suffix("").as_posix()] = path
    return found


def new_file(job: Path, folder: str, name: str) -> Path:
    """JOB/FOLDER/NAME, the folder made if need be.

    Raises:
        InputError: the name is not a plain file name, or the folder is a link that leads out of the job.
    """
    if not FILE_NAME.fullmatch(name):
        why = ": it would be hidden" if name.startswith(".") else ""
        expected = "at most 100 letters, digits, blanks and . + - _, the first a letter, a digit or _"
        raise InputError(f"{name!r} is not a file name{why}", expected=expected)
    place = job / folder
    inside(job, place)
    place.mkdir(exist_ok=True)
    return inside(job, place) / name


def tail(path: Path, lines: int, most_bytes: int = 16_384) -> str:
    """The last lines of a text file, however long it is; nothing where there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - most_bytes))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    found = text.splitlines()
    return "\n".join(found[1 if size > most_bytes else 0 :][-lines:])
