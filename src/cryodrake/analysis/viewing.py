"""How evenly a structure was seen, and what the unevenness costs.

The view d is R's third row; its image fills the plane n·d = 0 of Fourier space. The sampling of a Fourier direction n is

    S(n) = ⟨δ(n·d)⟩ over the images, in units of what an even distribution of views gives,

and the sampling compensation factor is SCF = 1 / ⟨1/S⟩ over all n (Baldwin & Lyumkis 2020, Prog. Biophys. Mol. Biol. 150,
160): the factor by which the signal-to-noise ratio of a shell is lower than with as many even views. 1: even;
8/π² = 0.81: all views in one plane (side views), which still measures everything; 0: some direction is not measured.
"""

import math
from dataclasses import dataclass

import healpix
import numpy as np
from jaxtyping import Float, Int

NSIDE = 16  # 3072 directions, 3.7° apart
SIDE_VIEWS_SCF = 8 / math.pi**2
CROWDED_TENTH = 0.25  # share of the images in the most crowded tenth of directions that is worth a word
FEW = 0.1  # of the even sampling: such a direction is hardly measured
FEWEST_VIEWS = 200


@dataclass(frozen=True, eq=False)
class Coverage:
    """Attributes:
    directions: unit vectors (x, y, z), evenly spread over the sphere; the other arrays have a value for each.
    density: of views, an image counted for both of its ends (mirrored views fill the same plane); 1 is even.
    sampling: S, 1 being even.
    scf: see above.
    hardly_measured: share of Fourier directions with S below `FEW`.
    crowded_share: share of the images in the most crowded tenth of directions; 0.1 is even.
    verdict: "even", "uneven" or "poor"; `words` say it to people, with what to do.
    """

    directions: Float[np.ndarray, "q 3"]
    density: Float[np.ndarray, " q"]
    sampling: Float[np.ndarray, " q"]
    scf: float
    hardly_measured: float
    crowded_share: float
    verdict: str
    words: str


def coverage(rotations: Float[np.ndarray, "n 3 3"], nside: int = NSIDE) -> Coverage:
    """Of these images (at least one)."""
    directions = pixel_directions(nside)
    counts = np.bincount(pixels_of(rotations, nside), minlength=len(directions)).astype(np.float64)
    both = (counts + counts[pixels_of_directions(-directions, nside)]) / 2
    # A view's plane is as thick as the pixels are wide: finer than that their places are not known.
    width = math.sqrt(4 * math.pi / len(directions))
    kernel = np.exp(-0.5 * ((directions @ directions.T) / width) ** 2).astype(np.float32)
    even = kernel.sum(axis=1) / len(directions)
    sampling = (kernel @ (both / both.sum()).astype(np.float32)) / even
    scf = 1 / float(np.mean(1 / np.maximum(sampling.astype(np.float64), 1e-6)))
    density = _smooth(both, directions, 1.5 * width)
    share = _crowded_share(density)
    hardly = float((sampling < FEW).mean())
    verdict, words = _judge(len(rotations), scf, hardly, share)
    return Coverage(directions, density, sampling.astype(np.float64), scf, hardly, share, verdict, words)


def view_density(rotations: Float[np.ndarray, "n 3 3"], found: Coverage) -> Float[np.ndarray, " n"]:
    """How crowded each image's own direction of view is; 1 is even."""
    return found.density[pixels_of(rotations, math.isqrt(len(found.density) // 12))]


def pixel_directions(nside: int) -> Float[np.ndarray, "q 3"]:
    """Centres of the HEALPix pixels, ring order."""
    return np.stack(healpix.pix2vec(nside, np.arange(12 * nside**2)), axis=1)


def pixels_of(rotations: Float[np.ndarray, "n 3 3"], nside: int) -> Int[np.ndarray, " n"]:
    """The pixel that each image's direction of view is in."""
    return pixels_of_directions(np.asarray(rotations[:, 2, :], dtype=np.float64), nside)


def pixels_of_directions(directions: Float[np.ndarray, "n 3"], nside: int) -> Int[np.ndarray, " n"]:
    """The pixel that each unit vector is in."""
    return np.asarray(healpix.vec2pix(nside, *directions.T), dtype=np.int64)


def _smooth(counts: Float[np.ndarray, " q"], directions: Float[np.ndarray, "q 3"], width: float) -> Float[np.ndarray, " q"]:
    """Counts over a neighbourhood of `width` radians, in units of even ones."""
    closeness = np.exp(((directions @ directions.T) - 1) / width**2).astype(np.float32)
    return (closeness @ (counts / counts.mean()).astype(np.float32) / closeness.sum(axis=1)).astype(np.float64)


def _crowded_share(density: Float[np.ndarray, " q"]) -> float:
    most = np.sort(density)[::-1][: round(len(density) / 10)]
    return float(most.sum() / density.sum())


def _judge(n: int, scf: float, hardly: float, share: float) -> tuple[str, str]:
    numbers = f"SCF {scf:.2f} (1 is even); {share:.0%} of the images are in the most crowded tenth of directions"
    if n < FEWEST_VIEWS:
        return "even", f"{n} images are too few to judge their distribution. {numbers}."
    if scf < SIDE_VIEWS_SCF - 0.01:
        gap = f", and {hardly:.0%} of Fourier space is hardly measured" if hardly >= 0.01 else ""
        do = "Look along the crowded view for smeared density; thin out its images (filter by view_density), or tilt the stage."
        return "poor", f"Some views are over-represented{gap}: the map's resolution differs with direction. {numbers}. {do}"
    if share > CROWDED_TENTH:
        do = "All directions are measured, so nothing need be done; thinning out the crowded views costs little."
        return "uneven", f"Some views are over-represented. {numbers}. {do}"
    return "even", f"The structure is seen evenly enough. {numbers}."
