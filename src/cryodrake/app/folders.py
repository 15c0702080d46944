"""Folders and files that commands make: never over what is there."""

from pathlib import Path

from cryodrake.errors import InputError


def make_folder(path: Path) -> None:
    """Makes the folder, with those above it; one that is there is used.

    Raises:
        InputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made: {error.strerror}", where=path, do="choose another --out") from None


def refuse_taken(path: Path) -> None:
    """Raises InputError where something is there already that is not an empty folder."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError("is there already", where=path, do="choose another --out, or remove it")


def refuse_taken_file(path: Path, suffix: str) -> None:
    """Raises InputError where the file is there already or its name does not end as it should."""
    if path.suffix != suffix:
        raise InputError(f"no format {path.suffix!r}", where=path, expected=f"a name that ends in {suffix}")
    refuse_taken(path)
