"""The map of a job against the true density, after the best global alignment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryodrake.data.density import resample
from cryodrake.errors import InputError
from cryodrake.inference.alignment import Alignment, align, move, within_ball
from cryodrake.io.mrc import read_map
from cryodrake.physics.fsc import area_under, fsc, resolution_A
from cryodrake.physics.masks import around


@dataclass(frozen=True, eq=False)
class AlignedMap:
    """A job's map, and where the truth lies in it.

    Attributes:
        density: the map, without its corners of Fourier space.
        alignment: of the truth's mean density on the map's grid.
    """

    density: Float[Tensor, "d d d"]
    pixel_size_A: float
    alignment: Alignment

    def bring(self, density: Float[Tensor, "d2 d2 d2"], pixel_size_A: float) -> Float[Tensor, "d d d"]:
        """A density of the truth (its map, one of its states, a mask) on the map's grid and in its place."""
        return move(resample(density, pixel_size_A, self.density.shape[-1], self.pixel_size_A), self.alignment)


def true_map(folder: Path, rows: Int[np.ndarray, " n"] | None = None) -> tuple[Float[Tensor, "d d d"], float]:
    """The truth's density and pixel size; where it has several states, their mean by number of particles: of these `rows`, or all.

    Raises:
        InputError: no volumes are there.
    """
    paths = sorted((folder / "volumes").glob("state_*.mrc"))
    if not paths:
        raise InputError("has no true maps", where=folder / "volumes", expected="state_000.mrc, as simulate writes it")
    count = np.ones(len(paths))
    if len(paths) > 1:
        state = np.load(folder / "state.npy", allow_pickle=False)
        count = np.bincount(state if rows is None else state[rows], minlength=len(paths)).astype(float)
    total, pixel_size_A = torch.zeros(()), 0.0
    for path, weight in zip(paths, count / count.sum(), strict=True):
        volume, pixel_size_A = read_map(path)
        total = total + torch.from_numpy(volume) * float(weight)
    return total, pixel_size_A


def evaluate_map(path: Path, truth: Path, rows: Int[np.ndarray, " n"] | None) -> tuple[dict[str, Any], AlignedMap]:
    """Entries of `EvaluationResult` on the map, and the map with its alignment; `rows` as in `true_map`.

    Raises:
        InputError: the map is empty, or the truth has none.
    """
    volume, pixel_size_A = read_map(path)
    map_ = torch.from_numpy(volume)
    if not torch.isfinite(map_).all() or float(map_.std()) == 0:
        raise InputError("the map is empty or holds values that are not finite", where=path)
    density, truth_pixel_A = true_map(truth, rows)
    density = resample(density, truth_pixel_A, map_.shape[-1], pixel_size_A)
    alignment = align(map_, density)
    moved, seen = move(density, alignment), within_ball(map_)
    box_A = map_.shape[-1] * pixel_size_A
    mask = around(moved, 0.1 * float(moved.max()), 0.02 * len(moved), 0.05 * len(moved))
    found: dict[str, Any] = {}
    for suffix, curve in (("", fsc(seen, moved)), ("_masked", fsc(seen, moved, mask))):
        found |= {
            f"fsc{suffix}": tuple(round(value, 6) for value in curve.tolist()),
            f"fsc_auc{suffix}": area_under(curve),
            f"fsc05{suffix}_A": resolution_A(curve, 0.5, box_A),
            f"fsc0143{suffix}_A": resolution_A(curve, 0.143, box_A),
        }
    found |= {
        "box_A": box_A,
        "fsc_auc_cryobench": cryobench_auc(fsc(seen, moved)),
        "hand": hand_word(alignment.mirrored),
        "global_rotation": tuple(map(tuple, alignment.rotation.tolist())),
        "map_offset_px": tuple(alignment.offset_px.tolist()),
    }
    return found, AlignedMap(seen, pixel_size_A, alignment)


def cryobench_auc(curve: Float[Tensor, " s"]) -> float:
    """Trapezoids over frequency in 1/px, shells 0 … d/2 - 1, shell 0 counted as 1."""
    box = 2 * (len(curve) - 1)
    values = torch.cat([torch.ones(1), curve[1:-1]])
    return float(torch.trapezoid(values, dx=1 / box))


def hand_word(mirrored: bool) -> str:
    """As the result says it."""
    return "mirrored" if mirrored else "same"
