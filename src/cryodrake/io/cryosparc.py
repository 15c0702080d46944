"""cryoSPARC .cs files: what the fields of their structured arrays of particles mean.

R = expmap(alignments3D/pose)ᵀ, so a pose of zero is the identity; alignments3D/shift is in pixels of
alignments3D/psize_A, with our sign; alignments3D/split 0 and 1 are half sets 1 and 2. A field that a job did not change
is not in its .cs but in the passthrough file beside it; the two join on uid.
Field meanings: the cryoSPARC guide, "Manipulating .cs files created by cryoSPARC".
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cryodrake.errors import InputError
from cryodrake.io.npy import read_npy
from cryodrake.io.raw import RawParticles
from cryodrake.io.table import CTFColumns
from cryodrake.physics.rotations import axis_angle_to_matrix

POSE, SHIFT, SHIFT_UNIT, SPLIT = (f"alignments3D/{name}" for name in ("pose", "shift", "psize_A", "split"))
CTF_NAMES = {
    "voltage_kV": "ctf/accel_kv",
    "cs_mm": "ctf/cs_mm",
    "amplitude_contrast": "ctf/amp_contrast",
    "defocus_u_A": "ctf/df1_A",
    "defocus_v_A": "ctf/df2_A",
    "defocus_angle_deg": "ctf/df_angle_rad",
    "phase_shift_deg": "ctf/phase_shift_rad",
    "bfactor_A2": "ctf/bfactor",
}
IMAGE_FIELDS = ("blob/path", "blob/idx", "blob/shape", "blob/psize_A")
SHAPES = {"blob/shape": (2,), SHIFT: (2,), POSE: (3,)}  # of a row, where it is not one number
IN_RADIANS = ("defocus_angle_deg", "phase_shift_deg")
CTF_OPTIONAL = ("phase_shift_deg", "bfactor_A2")
NAMES = CTF_NAMES | {"pixel_size_A": "blob/psize_A", "shifts_A": SHIFT, "rotations": POSE}


@dataclass(frozen=True, eq=False)
class CsFile:
    """The array of the file with the fields of its passthrough files after its own.

    `header` holds the bytes of the file's .npy header, None where fields were joined, so that it no longer fits.
    """

    path: Path
    array: np.ndarray
    header: bytes | None


def read_cryosparc(path: str | Path, with_ctf: bool = True) -> RawParticles:
    """Read a particle .cs, joined on uid with the passthrough files beside it.

    Raises:
        InputError: not a .cs in numpy's format, no images in it, or some but not all CTF fields.
    """
    source, notes = _with_passthrough(_read_cs(Path(path)))
    array = source.array
    _check_fields(array, source.path)
    stack_of, paths = pd.factorize(array["blob/path"].astype(object))
    stack_names = [path.decode("utf-8", "replace") if isinstance(path, bytes) else str(path) for path in paths]
    pixel_size_A = array["blob/psize_A"].astype(np.float64)
    names = field_names(array)
    box = array["blob/shape"].astype(np.int64)
    not_square = box[:, 0] != box[:, 1]
    if not_square.any():
        row = int(not_square.argmax())
        raise InputError(f"blob/shape is {box[row].tolist()}", where=f"{path}, particle {row + 1}", expected="a square")
    ctf = _ctf(array, source.path, notes) if with_ctf else None
    half_set = None
    if SPLIT in names and set(np.unique(array[SPLIT])) == {0, 1}:
        half_set = array[SPLIT].astype(np.int64) + 1
    sign = array["blob/sign"].astype(np.float64) if "blob/sign" in names else None
    if sign is not None and (sign < 0).any():
        notes.append(f"blob/sign is -1 for {int((sign < 0).sum())} of {len(sign)} particles: their pixels are negated")
    return RawParticles(
        stack_names=tuple(name.lstrip(">") for name in stack_names),
        stack_of=stack_of,
        index=array["blob/idx"].astype(np.int64),
        pixel_size_A=pixel_size_A,
        box=box[:, 0],
        optics_group=array["ctf/exp_group_id"].astype(np.int64) if "ctf/exp_group_id" in names else None,
        ctf=ctf,
        rotations=_rotations(array[POSE]) if POSE in names else None,
        shifts=array[SHIFT].astype(np.float64) if SHIFT in names else None,
        shift_unit_A=array[SHIFT_UNIT].astype(np.float64) if SHIFT_UNIT in names else pixel_size_A,
        half_set=half_set,
        sign=sign,
        names=NAMES,
        notes=tuple(notes),
        source=source,
    )


def field_names(array: np.ndarray) -> tuple[str, ...]:
    """Of a structured array; none of any other."""
    return array.dtype.names or ()


def with_fields(array: np.ndarray, new: list[tuple]) -> np.ndarray:
    """A copy with these fields, zero, after its own."""
    if not new:
        return array
    extended = np.zeros(len(array), dtype=[(name, array.dtype[name]) for name in field_names(array)] + new)
    for name in field_names(array):
        extended[name] = array[name]
    return extended


def _read_cs(path: Path) -> CsFile:
    do = "export the particles from cryoSPARC again (in its classic .cs format, not CSDAT)"
    array = read_npy(path, "a structured array", do)
    if array.dtype.names is None or "uid" not in field_names(array) or array.ndim != 1:
        raise InputError("is no particle file", where=path, expected="an array with the fields uid, blob/path, …")
    if len(array) == 0:
        raise InputError("has no particles", where=path, expected="at least one row")
    with open(path, "rb") as file:
        header = file.read(path.stat().st_size - array.nbytes)
    return CsFile(path, array, header)


def _with_passthrough(source: CsFile) -> tuple[CsFile, list[str]]:
    """The file with the fields it lacks from each passthrough file of its folder that its particles are all in."""
    array, notes = source.array, []
    for candidate in sorted(source.path.parent.glob("*passthrough*.cs")):
        if candidate.resolve() == source.path.resolve():
            continue
        try:
            other = _read_cs(candidate).array
        except InputError as error:
            notes.append(f"{candidate.name} is passed over: {error.what}")
            continue
        order = np.argsort(other["uid"], kind="stable")
        place = order[np.searchsorted(other["uid"], array["uid"], sorter=order).clip(max=len(other) - 1)]
        fields = [name for name in field_names(other) if name not in field_names(array)]
        if fields and np.array_equal(other["uid"][place], array["uid"]):
            array = with_fields(array, [(name, other.dtype[name]) for name in fields])
            for name in fields:
                array[name] = other[name][place]
            notes.append(f"fields that {source.path.name} lacks were taken from {candidate.name}")
    if "blob/path" not in field_names(array):
        raise InputError(
            "has no images (blob/path)",
            where=source.path,
            expected="the field, or a …passthrough_particles….cs with the same uids in the same folder",
            do="copy the job's passthrough file beside it",
        )
    return (source if array is source.array else CsFile(source.path, array, None)), notes


def _check_fields(array: np.ndarray, path: Path) -> None:
    """Refuse what only has the name of a field that we read."""
    missing = [name for name in IMAGE_FIELDS if name not in field_names(array)]
    if missing:
        raise InputError(f"lacks {', '.join(missing)}", where=path, expected=f"the fields {', '.join(IMAGE_FIELDS)}")
    numeric = {*IMAGE_FIELDS[1:], POSE, SHIFT, SHIFT_UNIT, SPLIT, "blob/sign", "ctf/exp_group_id", *CTF_NAMES.values()}
    for name in numeric & set(field_names(array)):
        field, shape = array.dtype[name], SHAPES.get(name, ())
        if field.base.kind not in "iuf" or field.shape != shape:
            raise InputError(f"{name} is {field}", where=path, expected=f"numbers of shape {shape}")


def _ctf(array: np.ndarray, path: Path, notes: list[str]) -> CTFColumns | None:
    present = {name: field for name, field in CTF_NAMES.items() if field in field_names(array)}
    if not present:
        notes.append("no CTF in the file: C = 1")
        return None
    missing = [CTF_NAMES[name] for name in CTF_NAMES if name not in present and name not in CTF_OPTIONAL]
    if missing:
        raise InputError(f"has some CTF fields but lacks {', '.join(missing)}", where=path, do="give --ctf")
    columns = {name: np.zeros(len(array)) for name in CTF_OPTIONAL}
    for name, field in present.items():
        values = array[field].astype(np.float64)
        columns[name] = np.rad2deg(values) if name in IN_RADIANS else values
    return CTFColumns(**columns)


def _rotations(pose: np.ndarray) -> np.ndarray:
    return axis_angle_to_matrix(torch.from_numpy(pose.astype(np.float64))).numpy().transpose(0, 2, 1)
