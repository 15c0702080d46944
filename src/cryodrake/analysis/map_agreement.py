"""How far two maps agree: their FSC with and without a mask, and what it says, in words that name its traps."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.analysis.map_pair import read_mask, read_pair
from cryodrake.physics.fsc import area_under, crossing_shell, fsc, resolution_A
from cryodrake.physics.fsc_masked import masked_fsc

THRESHOLDS = (0.143, 0.5)
TIGHT = 0.1  # a randomised FSC above this at the resolution: the mask's edge has a say in it
SAME = 0.9999
FLAT = 0.2  # of all voxels: more exact zeros than that, and a map has worn a mask


@dataclass(frozen=True, eq=False)
class Agreement:
    """Attributes:
    table: frequency_inv_A and the curves fsc…, a row for each of the shells 1 … d/2.
    resolution_A: where the best curve there is (corrected, else unmasked) falls below 0.143; Nyquist where it never does.
    words: what to tell the user, line by line.
    """

    table: pd.DataFrame
    resolution_A: float
    words: list[str]


def compare_maps(first: Path, second: Path, mask: Path | None = None, seed: int = 0) -> Agreement:
    """FSC of two maps, with a mask corrected for it by randomised phases.

    Raises:
        InputError: a file cannot be read, or they do not lie on one grid.
    """
    a, b, pixel_size_A = read_pair(first, second)
    box = a.shape[0]
    found = None if mask is None else masked_fsc(a, b, read_mask(mask, box, pixel_size_A, first), seed)
    curves = {"fsc": fsc(a, b)} if found is None else {
        "fsc_unmasked": found.unmasked, "fsc_masked": found.masked, "fsc_randomised": found.randomised,
        "fsc_corrected": found.corrected,
    }  # fmt: skip
    box_A = box * pixel_size_A
    table = pd.DataFrame({"frequency_inv_A": torch.arange(1, box // 2 + 1).numpy() / box_A})
    for name, curve in curves.items():
        table[name] = curve[1:].numpy()
    best = next(reversed(curves.values()))
    words = [_line(name, curve, box_A) for name, curve in curves.items() if name != "fsc_randomised"]
    words += _doubts(a, b, best, None if found is None else found.randomised, pixel_size_A)
    return Agreement(table, resolution_A(best, 0.143, box_A), words)


def _line(name: str, curve: Float[Tensor, " s"], box_A: float) -> str:
    at = [f"{threshold:g} at {resolution_A(curve, threshold, box_A):.2f} Å" for threshold in THRESHOLDS]
    what = {"fsc": "FSC", "fsc_unmasked": "unmasked", "fsc_masked": "under the mask", "fsc_corrected": "corrected for the mask"}
    return f"{what[name]}: {', '.join(at)}, area under the curve {area_under(curve):.3f}"


def _doubts(a: Tensor, b: Tensor, best: Tensor, randomised: Tensor | None, pixel_size_A: float) -> list[str]:
    """Each reason not to believe the number."""
    doubts = []
    if float(best[1:].min()) > SAME:
        doubts.append("The two maps are the same: this says nothing about resolution.")
    elif float(best[1:].min()) > 0.143:
        doubts.append(
            f"The curve stays above 0.143 up to {2 * pixel_size_A:.2f} Å, the limit of the voxels: smaller ones may show more."
        )
    if randomised is not None:
        left = float(randomised[min(round(crossing_shell(best, 0.143)), len(best) - 1)])
        if left > TIGHT:
            doubts.append(
                f"The mask is tight or its edge hard: with random phases the maps still agree to {left:.2f} at that resolution."
            )
    if any(float((volume == 0).float().mean()) > FLAT for volume in (a, b)):
        doubts.append(
            "A map was masked already: it holds zeros where noise should be, so even the unmasked curve has a mask in it."
        )
    return doubts
