"""What is true of the states: their table, and the mask of where they differ."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryodrake.data.motion import State
from cryodrake.io.atomic import write_text_atomic
from cryodrake.physics.masks import around

_THRESHOLD = 0.05  # of the largest variance: the density differs by a fifth of what it does there
_GROW_OF_BOX, _EDGE_OF_BOX = 0.02, 0.05


def write_states(path: Path, states: Sequence[State], state: Int[np.ndarray, " n"]) -> None:
    """A row for each state: its number, name, coordinate (empty where it has none) and number of images."""
    count = np.bincount(state, minlength=len(states)).tolist()
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["state", "name", "coordinate", "images"])
    for i, (of, images) in enumerate(zip(states, count, strict=True)):
        table.writerow([i, of.name, "" if of.coordinate is None else round(of.coordinate, 6), images])
    write_text_atomic(path, text.getvalue())


class Spread:
    """Variance of the maps over states, every state counted once, as a running sum (Welford 1962, Technometrics 4, 419)."""

    def __init__(self) -> None:
        self._n = 0
        self._mean = torch.zeros(())
        self._squares = torch.zeros(())

    def add(self, volume: Float[Tensor, "d d d"]) -> None:
        """One more state."""
        self._n += 1
        off = volume - self._mean
        self._mean = self._mean + off / self._n
        self._squares = self._squares + off * (volume - self._mean)

    def mask(self) -> Float[Tensor, "d d d"]:
        """Soft mask (0 to 1) of where the states differ: variance above a twentieth of its maximum, grown; 0 if nowhere."""
        box = self._squares.shape[-1]
        highest = float(self._squares.max())
        if highest <= 0:
            return torch.zeros_like(self._squares)
        return around(self._squares, _THRESHOLD * highest, _GROW_OF_BOX * box, _EDGE_OF_BOX * box)
