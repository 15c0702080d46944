"""What went into a job, for its report: the particles as its particles.star describes them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from cryodrake.io.particles import ParticleFile
from cryodrake.io.table import ParticleTable

Extent = tuple[float, float]


@dataclass(frozen=True)
class OpticsGroup:
    """The images of a group: how many, and the lowest and the highest of each value; None where the file does not say."""

    n: int
    box: Extent | None
    pixel_size_A: Extent
    voltage_kV: Extent | None
    cs_mm: Extent | None
    amplitude_contrast: Extent | None


@dataclass(frozen=True)
class InputFacts:
    """The particles in numbers.

    Attributes:
        defocus_A: 5th, 50th and 95th percentile of the mean defocus; None without a CTF.
        half_sets: number of particles in half sets 1 and 2; None where there are none.
        notes: what was assumed or ignored when the file was read.
    """

    n: int
    groups: tuple[OpticsGroup, ...]
    defocus_A: tuple[float, float, float] | None
    half_sets: tuple[int, int] | None
    notes: tuple[str, ...]


def input_facts(particles: ParticleFile) -> InputFacts:
    """Read off the table; no image is touched."""
    table = particles.table
    defocus_A = None
    if table.ctf is not None:
        low, middle, high = np.percentile((table.ctf.defocus_u_A + table.ctf.defocus_v_A) / 2, [5, 50, 95])
        defocus_A = (float(low), float(middle), float(high))
    halves = None if table.half_set is None else (int((table.half_set == 1).sum()), int((table.half_set == 2).sum()))
    groups = tuple(_group(table, table.optics_group == number) for number in np.unique(table.optics_group))
    return InputFacts(particles.n, groups, defocus_A, halves, particles.notes)


def _group(table: ParticleTable, rows: np.ndarray) -> OpticsGroup:
    box = None if table.box is None else extent(table.box[rows])
    optics: dict[str, Extent | None] = dict.fromkeys(("voltage_kV", "cs_mm", "amplitude_contrast"))
    if table.ctf is not None:
        optics = {name: extent(getattr(table.ctf, name)[rows]) for name in optics}
    return OpticsGroup(int(rows.sum()), box, extent(table.pixel_size_A[rows]), **optics)


def extent(values: Shaped[np.ndarray, " n"]) -> Extent:
    """The lowest and the highest."""
    return float(np.min(values)), float(np.max(values))


def extent_words(found: Extent) -> str:
    """One number where both are, to four digits, the same."""
    low, high = (f"{value:.4g}" for value in found)
    return low if low == high else f"{low} to {high}"
