"""What went into a job, for its report: the particles as its particles.star describes them."""

from dataclasses import dataclass

import numpy as np

from cryodrake.io.particles import ParticleFile
from cryodrake.io.table import ParticleTable


@dataclass(frozen=True)
class OpticsGroup:
    """What the images of a group share; None where the file does not say or where they differ."""

    n: int
    box: int | None
    pixel_size_A: float | None
    voltage_kV: float | None
    cs_mm: float | None
    amplitude_contrast: float | None


@dataclass(frozen=True)
class InputFacts:
    """The particles in numbers.

    Attributes:
        defocus_A: 5th, 50th and 95th percentile of the mean defocus; None without a CTF.
        half_sets: number of particles in half sets 1 and 2; None where there are none.
        confident_share: of the particles whose confidence is above 0.9; None where it is not known.
        notes: what was assumed or ignored when the file was read.
    """

    n: int
    groups: tuple[OpticsGroup, ...]
    defocus_A: tuple[float, float, float] | None
    half_sets: tuple[int, int] | None
    confident_share: float | None
    notes: tuple[str, ...]


def input_facts(particles: ParticleFile) -> InputFacts:
    """Read off the table; no image is touched."""
    table = particles.table
    defocus_A = None
    if table.ctf is not None:
        low, middle, high = np.percentile((table.ctf.defocus_u_A + table.ctf.defocus_v_A) / 2, [5, 50, 95])
        defocus_A = (float(low), float(middle), float(high))
    halves = None if table.half_set is None else (int((table.half_set == 1).sum()), int((table.half_set == 2).sum()))
    share = None if table.confidence is None else float((table.confidence > 0.9).mean())
    groups = tuple(_group(table, table.optics_group == number) for number in np.unique(table.optics_group))
    return InputFacts(particles.n, groups, defocus_A, halves, share, particles.notes)


def _group(table: ParticleTable, rows: np.ndarray) -> OpticsGroup:
    box = None if table.box is None else _common(table.box[rows])
    shared: dict[str, float | None] = dict.fromkeys(("voltage_kV", "cs_mm", "amplitude_contrast"))
    if table.ctf is not None:
        shared = {name: _common(getattr(table.ctf, name)[rows]) for name in shared}
    return OpticsGroup(int(rows.sum()), None if box is None else int(box), _common(table.pixel_size_A[rows]), **shared)


def _common(values: np.ndarray) -> float | None:
    return float(values[0]) if len(values) and (values == values[0]).all() else None
