"""Writing files so that a reader never sees half of one.

Everything is written to a temporary file in the same folder, synced, and moved over the target with `os.replace`,
which POSIX makes atomic: a run killed at any moment leaves either the old file or the new one. A disk that fills up
is the user's to clear, so it is an `InputError` that says which file and how many bytes were needed.
"""

import errno
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from cryodrake.errors import InputError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def open_atomic(path: str | Path, needed_bytes: int | None = None) -> Iterator[IO[bytes]]:
    """A binary file that becomes `path` when the block ends without an exception, and vanishes otherwise.

    Args:
        needed_bytes: the size the file will have, where known; said when the disk is full.

    Raises:
        InputError: the folder is missing or not writable, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        file = open(temporary, "wb")  # noqa: SIM115 (the errors of opening are not those of writing)
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror}", where=path, do="choose an existing folder that you may write to"
        ) from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        needed = "unknown" if needed_bytes is None else f"{needed_bytes:,}"
        raise InputError(
            "the disk is full",
            where=path,
            expected=f"room for the whole file ({needed} bytes)",
            do="free some space, or choose another disk; the old file, if there was one, is untouched",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes_atomic(path: str | Path, content: bytes) -> None:
    """Raises InputError as `open_atomic`."""
    with open_atomic(path, len(content)) as file:
        file.write(content)


def write_text_atomic(path: str | Path, text: str) -> None:
    """UTF-8. Raises InputError as `open_atomic`."""
    write_bytes_atomic(path, text.encode())


def write_json_atomic(path: str | Path, value: Any) -> None:
    """Indented, keys in the order given; NaN is refused (ValueError), as JSON has none."""
    write_text_atomic(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_npy_atomic(path: str | Path, array: np.ndarray) -> None:
    """numpy .npy, format 1.0; never a pickle (ValueError for arrays of objects). Raises InputError as `open_atomic`."""
    if array.dtype.hasobject:
        raise ValueError("arrays of objects would need a pickle")
    array = np.asarray(array, order="C")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    with open_atomic(path, header.tell() + array.nbytes) as file:
        file.write(header.getvalue())
        file.write(array.reshape(-1).view(np.uint8).data)  # np.save would lose the errno of a full disk
