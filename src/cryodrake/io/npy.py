"""numpy's .npy files, and what only looks like one, read without running anything in it."""

from pathlib import Path

import numpy as np

from cryodrake.errors import InputError


def read_npy(path: str | Path, expected: str = "numbers as numpy saves them (.npy)", do: str | None = None) -> np.ndarray:
    """The array.

    Raises:
        InputError: unreadable, damaged, or with Python objects in it.
    """
    try:
        with open(path, "rb") as file:
            array = np.load(file, allow_pickle=False)
            if not isinstance(array, np.ndarray):
                raise ValueError("it is an archive of several arrays (.npz)")
            return array
    except Exception as error:  # what a damaged header raises is anybody's guess
        raise InputError(f"cannot be read as a numpy array: {error}", where=path, expected=expected, do=do) from error
