"""Particle files of any kind as one thing: a table of what is known, images on disk, and the way back to the file.

    particles = read_particles("particles.star")
    particles.table.ctf                                  None means C = 1
    particles.read_images(np.arange(100))                float32 (100, d, d)
    particles.write_star("out.star", rotations=R)        every other column as it was

Priority where several sources speak: options, then `.pkl` files, then the particle file, then MRC headers. What was
assumed, ignored or contradicted is said in `notes`, one sentence each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int

from cryodrake.errors import InputError
from cryodrake.io.cryosparc import CsFile
from cryodrake.io.cryosparc_write import write_cryosparc
from cryodrake.io.dispatch import read_raw
from cryodrake.io.mrc import MrcStack
from cryodrake.io.raw import RawParticles, Update
from cryodrake.io.relion import RelionSource
from cryodrake.io.relion_write import write_new_star, write_relion
from cryodrake.io.rows import read_rows
from cryodrake.io.side_files import replacing_ctf, with_poses
from cryodrake.io.stacks import boxes, open_stacks
from cryodrake.io.table import CTFColumns, ParticleTable, check_column, check_table, group_optics, take

CONTRADICTION = 0.01  # relative difference of two pixel sizes that is worth a word


@dataclass(frozen=True, eq=False)
class ParticleFile:
    """The particles of a file, or a selection of them; row i of everything is the same particle.

    Attributes:
        path: the particle file.
        table: what is known of each particle.
        notes: what was assumed or ignored, for the log.
        rows: which row of the file each particle is, 0-based.
        stacks: the open stacks; empty when read with `need_images=False`.
        shift_unit_A: how many Å one unit of the file's own shifts is.
        raw: what the file itself says, for all of its rows.
    """

    path: Path
    table: ParticleTable
    notes: tuple[str, ...]
    rows: Int[np.ndarray, " n"]
    stacks: tuple[MrcStack, ...]
    shift_unit_A: Float[np.ndarray, " n"]
    raw: RawParticles

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n(self) -> int:
        return len(self.rows)

    @property
    def box(self) -> int | None:
        """The side of the images in pixels; None where it is not known or not the same for all."""
        found = self.rows_by_box()
        return next(iter(found)) if len(found) == 1 else None

    @cached_property
    def stack_paths(self) -> tuple[Path, ...]:
        """Where the stacks are; as the file spells them when it was read without images."""
        return tuple(stack.path for stack in self.stacks) or tuple(map(Path, self.raw.stack_names))

    @property
    def stack_of(self) -> Int[np.ndarray, " n"]:
        """Which of `stack_paths` each image is in."""
        return self.raw.stack_of[self.rows]

    @property
    def index(self) -> Int[np.ndarray, " n"]:
        """Each image's place in its stack, 0-based."""
        return self.raw.index[self.rows]

    def rows_by_box(self) -> dict[int, Int[np.ndarray, " b"]]:
        """For each box size, the particles (0-based rows of this object) that have it. Empty if none is known."""
        if self.table.box is None:
            return {}
        return {int(box): np.flatnonzero(self.table.box == box) for box in np.unique(self.table.box)}

    def read_images(self, rows: Int[np.ndarray, " b"]) -> Float32[np.ndarray, "b d d"]:
        """Images (y, x) of these 0-based rows, as on disk but for blob/sign; particles of one box size only.

        Raises:
            InputError: the file was read without its images, or a packed stack is damaged.
            ValueError: the rows have images of several sizes (see `rows_by_box`).
        """
        if not self.stacks or self.table.box is None:
            raise InputError("was read without its images", where=self.path)
        box = np.unique(self.table.box[rows])
        if len(box) > 1:
            raise ValueError(f"images of {box.tolist()} pixels do not fit one array")
        images = np.empty((len(rows), *np.repeat(box, 2)) if len(rows) else (0, 0, 0), dtype=np.float32)
        stack_of, index = self.stack_of[rows], self.index[rows]
        for stack in np.unique(stack_of):
            chosen = stack_of == stack
            images[chosen] = self.stacks[stack].read(index[chosen])
        if self.raw.sign is not None:
            images *= self.raw.sign[self.rows[rows]].astype(np.float32)[:, None, None]
        return images

    def select(self, rows: np.ndarray | slice) -> "ParticleFile":
        """The particles of these rows (indices, a mask or a slice), in that order. Optics groups keep their numbers."""
        return replace(self, table=self.table.select(rows), rows=self.rows[rows], shift_unit_A=self.shift_unit_A[rows])

    def write_star(
        self,
        path: str | Path,
        rotations: Float[np.ndarray, "n 3 3"] | None = None,
        shifts_A: Float[np.ndarray, "n 2"] | None = None,
        half_set: Int[np.ndarray, " n"] | None = None,
        confidence: Float[np.ndarray, " n"] | None = None,
        extra: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Write these particles as STAR: the user's own file with these columns changed or added, or a new 3.1 file.

        Args:
            extra: more columns (n,) by their name, such as rlnClassNumber.

        Raises:
            InputError: as `open_atomic`.
        """
        update = self._update(rotations, shifts_A, half_set, confidence, extra)
        if isinstance(self.raw.source, RelionSource):
            write_relion(path, update)
            return
        names = tuple(str(stack.path.resolve()) for stack in self.stacks) or self.raw.stack_names
        write_new_star(path, update.table, names, self.stack_of, self.index, extra)

    def write_cs(
        self,
        path: str | Path,
        rotations: Float[np.ndarray, "n 3 3"] | None = None,
        shifts_A: Float[np.ndarray, "n 2"] | None = None,
        half_set: Int[np.ndarray, " n"] | None = None,
        extra: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Write these particles as the .cs they came from, passthrough fields joined, with alignments3D changed or added.

        Args:
            extra: more fields (n, …) by their name, such as alignments3D/class.

        Raises:
            InputError: they did not come from a .cs (uid and the other fields cannot be invented), or as `open_atomic`.
        """
        if not isinstance(self.raw.source, CsFile):
            raise InputError(
                f"cannot be written: the particles come from {self.path.name}",
                where=path,
                expected="particles from a .cs",
                do="export a .star instead; cryoSPARC imports it",
            )
        write_cryosparc(path, self._update(rotations, shifts_A, half_set, None, extra))

    def _update(
        self,
        rotations: np.ndarray | None,
        shifts_A: np.ndarray | None,
        half_set: np.ndarray | None,
        confidence: np.ndarray | None,
        extra: Mapping[str, np.ndarray] | None,
    ) -> Update:
        new = {"rotations": rotations, "shifts_A": shifts_A, "half_set": half_set, "confidence": confidence}
        given: dict[str, Any] = {name: values for name, values in new.items() if values is not None}
        for name, values in given.items():
            if len(values) != self.n:
                raise ValueError(f"{name}: {len(values)} rows for {self.n} particles")
        return Update(self.raw, self.rows, replace(self.table, **given), self.shift_unit_A, extra or {})


def read_particles(
    path: str | Path,
    ctf: str | Path | None = None,
    poses: str | Path | Sequence[str | Path] | None = None,
    ind: str | Path | None = None,
    datadir: str | Path | None = None,
    pixel_size_A: float | None = None,
    need_images: bool = True,
) -> ParticleFile:
    """Read a particle file and find its images.

    Args:
        path: .star, .cs, a stack, or a .txt of stacks.
        ctf: a cryoDRGN ctf.pkl, or a .star or .cs, whose CTF replaces the file's.
        poses: the same for poses; R and shifts may be two .pkl files.
        ind: the rows to keep, as cryoDRGN's ind.pkl or as text.
        datadir: where the stacks are.
        pixel_size_A: of the images on disk, replacing the file's.
        need_images: False reads only the table; the stacks need not exist.

    Raises:
        InputError: whatever is wrong with the input, in a message that says what, where, and what to do.
    """
    path = Path(path)
    raw = read_raw(path, datadir, with_ctf=ctf is None)
    rows = np.arange(raw.n) if ind is None else read_rows(ind, raw.n)
    stacks = open_stacks(raw, path, datadir) if need_images else ()
    box = raw.box
    if stacks:  # with --apix the file's own pixel size, which a wrong image size puts in doubt, does not matter
        box = boxes(raw if pixel_size_A is None else replace(raw, box=None), stacks, path)
    box = take(box, rows)
    new_ctf = None if ctf is None else replacing_ctf(Path(ctf), rows, raw.n, box)
    notes = [note for note in raw.notes if new_ctf is None or "C = 1" not in note]
    sizes = {
        "--apix": None if pixel_size_A is None else np.full(len(rows), float(pixel_size_A)),
        f"{ctf}": new_ctf[1] if new_ctf else None,
        f"{path}": take(raw.pixel_size_A, rows),
        "the MRC header": _header_pixel_size_A(stacks, raw, rows),
    }
    pixel_size, said = _choose_pixel_size_A(sizes, path)
    names = {**raw.names, "pixel_size_A": "--apix"} if pixel_size_A is not None else raw.names
    check_column("pixel_size_A", pixel_size, path, names, rows)
    notes += said
    columns = new_ctf[0] if new_ctf else raw.ctf.select(rows) if raw.ctf is not None else None
    shift_unit_A = _shift_unit_A(raw, rows, pixel_size)
    table = ParticleTable(
        pixel_size_A=pixel_size,
        optics_group=_optics_groups(raw, rows, pixel_size, box, columns),
        box=box,
        ctf=columns,
        rotations=take(raw.rotations, rows),
        shifts_A=None if raw.shifts is None else raw.shifts[rows] * shift_unit_A[:, None],
        half_set=take(raw.half_set, rows),
        confidence=take(raw.confidence, rows),
    )
    if poses is not None:
        table = with_poses(table, poses, rows, raw.n)
    check_table(table, path, names, rows)
    return ParticleFile(path, table, tuple(notes), rows, stacks, shift_unit_A, raw)


def _header_pixel_size_A(stacks: tuple[MrcStack, ...], raw: RawParticles, rows: np.ndarray) -> np.ndarray | None:
    sizes = [stack.pixel_size_A for stack in stacks]
    if not sizes or None in sizes:
        return None
    return np.array(sizes, dtype=np.float64)[raw.stack_of[rows]]


def _choose_pixel_size_A(sizes: Mapping[str, np.ndarray | None], path: Path) -> tuple[np.ndarray, list[str]]:
    """The first pixel size there is, and what is to be said about the others."""
    known = [(name, size) for name, size in sizes.items() if size is not None]
    if not known:
        raise InputError("gives no pixel size", where=path, do="give it with --apix, in Å per pixel")
    (name, chosen), *others = known
    if name == "the MRC header":
        return chosen, [f"pixel size {chosen[0]:.4g} Å from the MRC header, which may be a mere default: see --apix"]
    notes = []
    for other, size in others:
        wrong = np.abs(size - chosen) > CONTRADICTION * chosen
        if other != "the MRC header" and wrong.any():
            row = int(wrong.argmax())
            notes.append(f"pixel size {chosen[row]:.4g} Å from {name}, although {other} has {size[row]:.4g} Å")
    return chosen, notes


def _shift_unit_A(raw: RawParticles, rows: np.ndarray, pixel_size_A: np.ndarray) -> np.ndarray:
    """How many Å one unit of the file's shifts is; a corrected pixel size scales them, as pixels are what was found."""
    if raw.shift_unit_A is None:
        return pixel_size_A
    if raw.pixel_size_A is None:
        return raw.shift_unit_A[rows]
    of_file = raw.pixel_size_A[rows]
    return raw.shift_unit_A[rows] * np.divide(pixel_size_A, of_file, out=np.ones(len(rows)), where=of_file > 0)


def _optics_groups(
    raw: RawParticles, rows: np.ndarray, pixel_size_A: np.ndarray, box: np.ndarray | None, ctf: CTFColumns | None
) -> np.ndarray:
    per_group = () if ctf is None else (ctf.voltage_kV, ctf.cs_mm, ctf.amplitude_contrast)
    return group_optics(take(raw.optics_group, rows), pixel_size_A, box, *per_group)
