"""What a particle file says, before its images are looked for and before `.pkl` files have their say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from cryodrake.io.table import CTFColumns, ParticleTable


@dataclass(frozen=True, eq=False)
class RawParticles:
    """One row per particle of the file, in its order; None where the file does not say.

    Attributes:
        stack_names: image files as the file spells them; `stack_of` (n,) points into it.
        index: 0-based image of each particle in its stack.
        pixel_size_A, box: as the file says, which its images may contradict.
        optics_group: any numbers that keep groups apart.
        shifts: (x, y) in the file's own unit, which is `shift_unit_A` (n,) Å; pixels of the image where that is None.
        sign: +1 or -1, by which the pixels are to be multiplied to have particles white.
        names: what the file calls each field of the `ParticleTable`, for messages.
        source: the file itself, for writing it again: a `StarFile` or a `CsFile`.
    """

    stack_names: tuple[str, ...]
    stack_of: Int[np.ndarray, " n"]
    index: Int[np.ndarray, " n"]
    pixel_size_A: Float[np.ndarray, " n"] | None = None
    box: Int[np.ndarray, " n"] | None = None
    optics_group: Int[np.ndarray, " n"] | None = None
    ctf: CTFColumns | None = None
    rotations: Float[np.ndarray, "n 3 3"] | None = None
    shifts: Float[np.ndarray, "n 2"] | None = None
    shift_unit_A: Float[np.ndarray, " n"] | None = None
    half_set: Int[np.ndarray, " n"] | None = None
    confidence: Float[np.ndarray, " n"] | None = None
    sign: Float[np.ndarray, " n"] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source: Any = None

    @property
    def n(self) -> int:
        return len(self.index)


@dataclass(frozen=True, eq=False)
class Update:
    """What goes back into a particle file: some of its rows, with what differs.

    Attributes:
        raw: the file as it was read, all of its rows.
        rows: which of them are written, 0-based, in this order.
        table: of these rows; what still is as it was read keeps its digits.
        shift_unit_A: how many of our Å one unit of the file's own shifts is.
        extra: more columns (n, …) by the name that the file gives them.
    """

    raw: RawParticles
    rows: Int[np.ndarray, " n"]
    table: ParticleTable
    shift_unit_A: Float[np.ndarray, " n"]
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)
