"""RELION particle files: what the columns of a STAR file mean.

3.0 and earlier: one table, shifts rlnOriginX/Y in pixels, pixel size = 10⁴ · rlnDetectorPixelSize / rlnMagnification.
3.1, 4 and 5: `data_optics` beside the particles, shifts rlnOriginXAngst/YAngst in Å. The two are never mixed: RELION
reads a file with rlnOriginX beside an optics table as having no shifts at all.

Column meanings: https://relion.readthedocs.io/en/release-5.0/Reference/Conventions.html
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cryodrake.errors import InputError
from cryodrake.io.raw import RawParticles
from cryodrake.io.star import StarFile, numbers, read_star, strings
from cryodrake.io.table import CTFColumns
from cryodrake.physics.rotations import euler_deg_to_matrix

CTF_NAMES = {
    "voltage_kV": "rlnVoltage",
    "cs_mm": "rlnSphericalAberration",
    "amplitude_contrast": "rlnAmplitudeContrast",
    "defocus_u_A": "rlnDefocusU",
    "defocus_v_A": "rlnDefocusV",
    "defocus_angle_deg": "rlnDefocusAngle",
    "phase_shift_deg": "rlnPhaseShift",
    "bfactor_A2": "rlnCtfBfactor",
}
PER_GROUP = ("voltage_kV", "cs_mm", "amplitude_contrast")  # in data_optics since 3.1
CTF_DEFAULTS = {"amplitude_contrast": 0.1, "phase_shift_deg": 0.0, "bfactor_A2": 0.0}
ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
SHIFTS_A = ("rlnOriginXAngst", "rlnOriginYAngst")
SHIFTS_PX = ("rlnOriginX", "rlnOriginY")
IMAGE, ORIGINAL_IMAGE = "rlnImageName", "rlnImageOriginalName"
HALF_SET, CONFIDENCE = "rlnRandomSubset", "rlnMaxValueProbDistribution"
NAMES = {
    **CTF_NAMES,
    "pixel_size_A": "pixel size (rlnImagePixelSize, or rlnDetectorPixelSize and rlnMagnification)",
    "shifts_A": "shift (rlnOrigin…)",
    "confidence": CONFIDENCE,
}


@dataclass(frozen=True, eq=False)
class RelionSource:
    """The tables of a RELION file as strings. `group` (n,) is each particle's row of the optics table."""

    star: StarFile
    name: str
    particles: pd.DataFrame
    optics: pd.DataFrame | None
    group: np.ndarray

    def values(self, column: str) -> np.ndarray | None:
        """A column per particle as float64, from the optics table if it is there (as RELION does), or None."""
        if self.optics is not None and column in self.optics:
            return numbers(self.optics, column, f"{self.star.path}, data_optics")[self.group]
        return numbers(self.particles, column, self.star.path) if column in self.particles else None

    def columns(self, names: tuple[str, ...]) -> np.ndarray | None:
        """Several columns as (n, columns), or None where one is missing."""
        found = [self.values(name) for name in names]
        present = [values for values in found if values is not None]
        return np.stack(present, axis=1) if len(present) == len(names) else None

    @property
    def shift_names(self) -> tuple[str, str]:
        """The columns in which this file keeps its shifts."""
        in_pixels = self.optics is None and SHIFTS_A[0] not in self.particles
        return SHIFTS_PX if in_pixels else SHIFTS_A


def read_relion(path: str | Path, with_ctf: bool = True) -> RawParticles:
    """Read a RELION particle STAR file of any version; its CTF columns only on request.

    Raises:
        InputError: no particles in it, some but not all CTF columns, cells that are no numbers, unknown optics groups.
    """
    star = read_star(path)
    name = star.block_with(IMAGE)
    if name is None:
        raise InputError("has no particles", where=path, expected=f"a table with the column {IMAGE}")
    optics = star.table("optics") if "optics" in star.blocks else None
    return relion_particles(star, name, star.table(name), optics, with_ctf)


def relion_particles(
    star: StarFile, name: str, particles: pd.DataFrame, optics: pd.DataFrame | None, with_ctf: bool = True
) -> RawParticles:
    """As `read_relion`, of a file that is read already: its block `name` with these particles, and the optics table."""
    source = _source(star, name, particles, optics)
    stack_names, stack_of, index = _images(source)
    notes: list[str] = []
    pixel_size_A = _pixel_size_A(source)
    ctf = _ctf(source, notes) if with_ctf else None
    shifts, shift_unit_A = _shifts(source, pixel_size_A, notes)
    half_set = source.values(HALF_SET)
    if half_set is not None and set(np.unique(half_set)) != {1.0, 2.0}:
        notes.append(f"{HALF_SET} does not divide the particles into 1 and 2: ignored")
        half_set = None
    box = source.values("rlnImageSize")
    return RawParticles(
        stack_names=stack_names,
        stack_of=stack_of,
        index=index,
        pixel_size_A=pixel_size_A,
        box=None if box is None else box.astype(np.int64),
        optics_group=source.group,
        ctf=ctf,
        rotations=_rotations(source),
        shifts=shifts,
        shift_unit_A=shift_unit_A,
        half_set=None if half_set is None else half_set.astype(np.int64),
        confidence=source.values(CONFIDENCE),
        names=NAMES,
        notes=tuple(notes),
        source=source,
    )


def _source(star: StarFile, name: str, particles: pd.DataFrame, optics: pd.DataFrame | None) -> RelionSource:
    path = star.path
    if len(particles) == 0:
        raise InputError("has no particles", where=path, expected="at least one row")
    group = np.zeros(len(particles), dtype=np.int64)
    if optics is None:
        return RelionSource(star.forget(name), name, particles, None, group)
    if "rlnOpticsGroup" in optics and "rlnOpticsGroup" in particles:
        known = pd.Index(numbers(optics, "rlnOpticsGroup", path))
        group = known.get_indexer(numbers(particles, "rlnOpticsGroup", path))
    elif len(optics) != 1:
        raise InputError("has several optics groups and no rlnOpticsGroup", where=path)
    if group.min() < 0:
        row = int(group.argmin())
        found = particles["rlnOpticsGroup"].iloc[row]
        raise InputError(f"rlnOpticsGroup {found} is not in data_optics", where=f"{path}, particle {row + 1}")
    return RelionSource(star.forget(name), name, particles, optics, group)


def _images(source: RelionSource) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Stack names, and each particle's stack and 0-based image, from 000001@stack.mrcs (or stack.mrc:mrcs)."""
    names = strings(source.particles, IMAGE)
    numbers_and_stacks = [("1", name) if "@" not in name else name.split("@", 1) for name in names]
    number = np.array([int(i) if i.isdecimal() else 0 for i, _ in numbers_and_stacks])
    stack_of, stack_names = pd.factorize(np.array([name.removesuffix(":mrcs") for _, name in numbers_and_stacks], dtype=object))
    if number.min() < 1 or "" in stack_names:
        row = int(np.argmax((number < 1) | (stack_names[stack_of] == "")))
        raise InputError(
            f"{IMAGE} is {names[row]}",
            where=f"{source.star.path}, particle {row + 1}",
            expected="an image and its stack, such as 000001@stack.mrcs, counted from 1",
        )
    if "rlnTomoName" in source.particles and not all("@" in name for name in names):
        raise InputError("holds subtomograms", where=source.star.path, expected="single particles (000001@stack.mrcs)")
    return tuple(stack_names.tolist()), stack_of, number - 1


def _pixel_size_A(source: RelionSource) -> np.ndarray | None:
    size = source.values("rlnImagePixelSize")
    detector, magnification = source.values("rlnDetectorPixelSize"), source.values("rlnMagnification")
    if size is None and detector is not None and magnification is not None:
        with np.errstate(divide="ignore", invalid="ignore"):  # a magnification of zero is refused with the table
            return 1e4 * detector / magnification
    return size


def _ctf(source: RelionSource, notes: list[str]) -> CTFColumns | None:
    """None where no defocus is known: kV, Cs and w alone are in every optics table."""
    found = {name: source.values(column) for name, column in CTF_NAMES.items()}
    if all(found[name] is None for name in ("defocus_u_A", "defocus_v_A", "defocus_angle_deg")):
        notes.append("no defocus in the file: C = 1")
        return None
    missing = [CTF_NAMES[name] for name, values in found.items() if values is None and name not in CTF_DEFAULTS]
    if missing:
        raise InputError(
            f"has some CTF columns but lacks {', '.join(missing)}",
            where=source.star.path,
            expected="all of " + ", ".join(CTF_NAMES[name] for name in CTF_NAMES if name not in CTF_DEFAULTS),
            do="add the columns, or give --ctf, or remove all of them to go without a CTF",
        )
    if found["amplitude_contrast"] is None:
        notes.append(f"no rlnAmplitudeContrast in the file: {CTF_DEFAULTS['amplitude_contrast']} is assumed")
    n = len(source.particles)
    return CTFColumns(**{k: np.full(n, CTF_DEFAULTS[k]) if v is None else v for k, v in found.items()})


def _rotations(source: RelionSource) -> np.ndarray | None:
    euler = source.columns(ANGLES)
    if euler is None:
        return None
    if not np.isfinite(euler).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(euler))[0])
        raise InputError(f"{ANGLES[column]} is {euler[row, column]}", where=f"{source.star.path}, particle {row + 1}")
    return euler_deg_to_matrix(torch.from_numpy(euler)).numpy()


def _shifts(source: RelionSource, pixel_size_A: np.ndarray | None, notes: list[str]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Shifts in this file's unit, and how many Å that is (None: pixels of unknown size)."""
    n = len(source.particles)
    unit_A = pixel_size_A if source.shift_names == SHIFTS_PX else np.ones(n)
    shifts = source.columns(source.shift_names)
    in_pixels = source.columns(SHIFTS_PX)
    if shifts is None and in_pixels is not None:  # 3.1 with the columns of 3.0
        if pixel_size_A is None:
            raise InputError("has rlnOriginX/Y but no rlnImagePixelSize", where=source.star.path, do="add the column")
        notes.append("rlnOriginX/Y beside an optics table, which RELION reads as zero shifts: taken as pixels")
        shifts = in_pixels * pixel_size_A[:, None]
    return shifts, unit_A
