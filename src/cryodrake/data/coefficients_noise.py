"""The noise's spectrum from the images' background, and whether particles are dark or bright."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Complex64, Float, Float64, Int
from torch import Tensor

from cryodrake.data.coefficients_background import undo_region
from cryodrake.physics.disc import Disc

NOISE_IMAGES = 1000  # per optics group
FLOOR = 1e-3  # of the mean level: no shell is trusted to be quieter
SURE = 4.0  # standard errors that decide the contrast
BLOB = 0.15  # standard deviation of the contrast check's blob, of the box
BLOB_RADIUS = 6.0  # cycles per box beyond which the blob has nothing


def contrast_z(coeff: Complex64[Tensor, "n k"], ctf: Float[Tensor, "n k"], disc: Disc) -> float:
    """How many standard errors the particles are brighter (+) or darker (-) than the background.

    Each image is matched with a centred Gaussian blob seen through its own CTF, so the CTF's sign is accounted for.
    """
    k = coeff.shape[1]
    blob = torch.exp(-2 * (math.pi * BLOB * disc.length[:k]) ** 2)
    match = (coeff.real * ctf * blob).sum(1, dtype=torch.float64)
    if len(match) < 2:
        return 0.0
    return float(match.mean() / (match.std() / math.sqrt(len(match))).clamp(min=1e-30))


@dataclass(frozen=True, eq=False)
class View:
    """How an optics group's noise is seen: through which region, and up to which shell.

    Attributes:
        matrix: `coefficients_background.coupling` of the region.
        n_shells: leading shells that lie wholly within the image's own Nyquist frequency.
    """

    matrix: Float64[Tensor, "s s2"]
    n_shells: int


def _inside(measured: Float64[Tensor, " s"], view: View) -> Float[Tensor, " s"]:
    """The level inside the image; shells that the image does not reach take the last one's value (their CTF is 0)."""
    found = undo_region(measured[: view.n_shells], view.matrix[: view.n_shells])
    spectrum = torch.cat([found, found[-1:].expand(len(measured) - view.n_shells)])
    return spectrum.clamp(min=FLOOR * float(spectrum.mean().clamp(min=1e-12))).float()


class NoiseSurvey:
    """Collects background spectra of up to `NOISE_IMAGES` images of each optics group, evenly spread over the file.

    Per-image spectra are kept and averaged at the end, in the order of the file, so no chunk size shows.
    """

    def __init__(self, group: Int[np.ndarray, " n"], disc: Disc):
        self._group = group
        self._disc = disc
        self._place = np.full(len(group), -1)
        chosen = []
        for g in np.unique(group):  # a selection may lack some
            rows = np.flatnonzero(group == g)
            chosen.append(rows[spread(len(rows), NOISE_IMAGES)])
        self._rows = np.concatenate(chosen)
        self._place[self._rows] = np.arange(len(self._rows))
        self._spectra = torch.zeros(len(self._rows), disc.n_shells)
        self._valid = np.zeros(len(self._rows), dtype=bool)
        self._without = np.zeros(len(group), dtype=bool)

    def wanted(self, rows: Int[np.ndarray, " b"], has_background: Bool[np.ndarray, " b"]) -> Int[np.ndarray, " m"]:
        """Which of these rows (places in `rows`) to `add`."""
        self._without[rows] = ~has_background
        return np.flatnonzero(has_background & (self._place[rows] >= 0))

    def add(self, rows: Int[np.ndarray, " m"], power: Float[Tensor, "m k"]) -> None:
        """Take the background's |F|² of these rows."""
        place = self._place[rows]
        self._spectra[torch.from_numpy(place)] = self._disc.shell_mean(power).cpu()
        self._valid[place] = True

    def spectra(self, views: Mapping[int, View]) -> Float[Tensor, "g s"]:
        """Noise of each group, seen through its view; 1 (what images are normalised to) where none has a background."""
        result = torch.ones(int(self._group.max()) + 1, self._disc.n_shells)
        groups = self._group[self._rows]
        for g, view in views.items():
            mine = torch.from_numpy((groups == g) & self._valid)
            if bool(mine.any()):
                measured = self._spectra[mine].mean(0, dtype=torch.float64)
                result[g] = _inside(measured, view)
        return result.to(self._disc.kxy.device)

    def notes(self) -> list[str]:
        """What there is to say."""
        n = int(self._without.sum())
        if not n:
            return []
        return [f"{n} images have a constant background (masked?): they are normalised by the whole image"]


def spread(n: int, most: int) -> Int[np.ndarray, " m"]:
    """At most `most` of 0…n-1, evenly spread."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).round().astype(np.int64)
