"""Where the coefficients are kept: a tensor when they fit, else a file that is read row by row.

The file is read and written with plain system calls, not mapped: mapped pages count as the program's memory, and a
prefix of a row is one call.
"""

import errno
import os
import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Complex64, Int64
from torch import Tensor

from cryodrake.errors import InputError

COMPLEX_BYTES = 8


class AbstractRows(ABC):
    """n rows of k complex64 numbers."""

    @abstractmethod
    def read(self, rows: Int64[Tensor, " b"], k: int) -> Complex64[Tensor, "b k"]:
        """The first k numbers of rows, on the storage's device (a file's: the CPU)."""


class AbstractStorage(AbstractRows):
    """Rows that can be set."""

    @abstractmethod
    def write(self, rows: np.ndarray, values: Complex64[Tensor, "b k"]) -> None:
        """Set whole rows (0-based, ascending)."""


class SelectedRows(AbstractRows):
    """Some of others, in any order."""

    def __init__(self, others: AbstractRows, rows: Int64[Tensor, " m"]):
        self._others, self._rows = others, rows

    def read(self, rows: Int64[Tensor, " b"], k: int) -> Complex64[Tensor, "b k"]:
        return self._others.read(self._rows[rows.to(self._rows.device)], k)


class TensorStorage(AbstractStorage):
    """In memory, on the device."""

    def __init__(self, n: int, k: int, device: str | torch.device):
        self._values = torch.empty(n, k, dtype=torch.complex64, device=device)

    def write(self, rows: np.ndarray, values: Complex64[Tensor, "b k"]) -> None:
        first, stop = int(rows[0]), int(rows[-1]) + 1
        if stop - first == len(rows):  # ascending without gaps: the usual case, and several times faster
            self._values[first:stop] = values
        else:
            self._values[torch.from_numpy(rows).to(self._values.device)] = values.to(self._values.device)

    def read(self, rows: Int64[Tensor, " b"], k: int) -> Complex64[Tensor, "b k"]:
        rows = rows.to(self._values.device)
        return self._values[:, :k].index_select(0, rows)


class FileStorage(AbstractStorage):
    """In a nameless file of the scratch folder; it goes when this object goes, or the program does.

    Raises:
        InputError: the folder cannot be written, or its disk has no room.
    """

    def __init__(self, n: int, k: int, scratch: Path):
        self._row_bytes = k * COMPLEX_BYTES
        self._scratch = scratch
        try:
            scratch.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(scratch).free < n * self._row_bytes:  # better now than after an hour
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._handle, name = tempfile.mkstemp(suffix=".coefficients", dir=scratch)
            os.unlink(name)
            weakref.finalize(self, os.close, self._handle)
        except OSError as error:
            raise self._no_room(n * self._row_bytes, error) from error

    def write(self, rows: np.ndarray, values: Complex64[Tensor, "b k"]) -> None:
        data = values.cpu().contiguous().numpy()
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        try:
            for first, part in zip(rows[np.r_[0, breaks]], np.split(data, breaks), strict=True):
                _write_all(self._handle, part.view(np.uint8).reshape(-1).data, int(first) * self._row_bytes)
        except OSError as error:
            raise self._no_room(data.nbytes, error) from error

    def read(self, rows: Int64[Tensor, " b"], k: int) -> Complex64[Tensor, "b k"]:
        result = np.empty((len(rows), k), dtype=np.complex64)
        wanted = rows.cpu().numpy()
        for place in np.argsort(wanted, kind="stable"):  # the disk is read forwards
            _read_all(self._handle, result[place].view(np.uint8).data, int(wanted[place]) * self._row_bytes)
        return torch.from_numpy(result)

    def _no_room(self, n_bytes: int, error: OSError) -> InputError:
        return InputError(
            f"cannot hold the images' coefficients: {error.strerror}",
            where=self._scratch,
            expected=f"a folder that can be written, with {n_bytes / 2**30:.3g} GiB free",
            do="free some space, raise --memory-gib, or use a smaller --box",
        )


def _write_all(handle: int, data: memoryview, offset: int) -> None:
    while data:
        done = os.pwrite(handle, data, offset)
        data, offset = data[done:], offset + done


def _read_all(handle: int, data: memoryview, offset: int) -> None:
    while data:
        done = os.preadv(handle, [data], offset)
        if not done:
            raise OSError("the coefficients' file is shorter than it was")
        data, offset = data[done:], offset + done
