"""cryoSPARC .cs files out: our poses put back into the user's own array, every field that is not ours as it was."""

from pathlib import Path

import numpy as np
import torch

from cryodrake.io.atomic import write_bytes_atomic, write_npy_atomic
from cryodrake.io.cryosparc import POSE, SHIFT, SHIFT_UNIT, SPLIT, CsFile, field_names, with_fields
from cryodrake.io.raw import Update
from cryodrake.io.table import changed_rows, take
from cryodrake.physics.rotations import matrix_to_axis_angle

NEW_FIELDS: dict[str, list[tuple]] = {
    SPLIT: [(SPLIT, "<u4")],
    SHIFT: [(SHIFT, "<f4", (2,)), (SHIFT_UNIT, "<f4")],
    POSE: [(POSE, "<f4", (3,))],
}


def write_cryosparc(path: str | Path, update: Update) -> None:
    """Write a .cs again with the poses, shifts, half sets and extra fields that the update changes.

    Fields that the file lacks are added at its end, those of its passthrough files first; all other bytes are as they were.

    Raises:
        InputError: as `open_atomic`.
    """
    raw, rows, table, extra = update.raw, update.rows, update.table, update.extra
    source: CsFile = raw.source
    array = source.array[rows]
    wanted = {POSE: table.rotations, SHIFT: table.shifts_A, SPLIT: table.half_set}
    missing = [name for name in NEW_FIELDS if wanted[name] is not None and name not in field_names(array)]
    new_fields = [field for name in missing for field in NEW_FIELDS[name] if field[0] not in field_names(array)]
    new_fields += [(name, values.dtype, values.shape[1:]) for name, values in extra.items() if name not in field_names(array)]
    array = with_fields(array, new_fields)
    if SHIFT_UNIT not in field_names(source.array) and SHIFT in missing:
        array[SHIFT_UNIT] = take(raw.pixel_size_A, rows)
    if table.rotations is not None:
        changed = changed_rows(table.rotations, raw.rotations, rows)
        new = torch.from_numpy(table.rotations[changed].astype(np.float64)).transpose(-1, -2)
        array[POSE][changed] = matrix_to_axis_angle(new).numpy()
    if table.shifts_A is not None:
        new_shifts = table.shifts_A / update.shift_unit_A[:, None]
        changed = changed_rows(new_shifts, raw.shifts, rows)
        array[SHIFT][changed] = new_shifts[changed]
    if table.half_set is not None:
        changed = changed_rows(table.half_set, raw.half_set, rows)
        array[SPLIT][changed] = table.half_set[changed] - 1
    for name, values in extra.items():
        array[name] = values
    if source.header is not None and array.dtype == source.array.dtype and len(array) == len(source.array):
        write_bytes_atomic(path, source.header + array.tobytes())
    else:
        write_npy_atomic(path, array)
