"""The map as it appeared: one small file a stage in JOB/figures/stages, for the figures of the run.

Volumes are kept at 80 voxels at most, as float16 scaled to a largest absolute value of 1: they are pictures, not data.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from cryodrake.errors import InputError
from cryodrake.io.atomic import open_atomic
from cryodrake.physics.fourier import resample_volume

LARGEST_BOX = 80


@dataclass(frozen=True, eq=False)
class Stage:
    """Attributes:
    name: of the phase that the map stood at the end of.
    volume: (z, y, x), in arbitrary units.
    resolution_A: where it was known.
    """

    name: str
    volume: Float[np.ndarray, "d d d"]
    pixel_size_A: float
    resolution_A: float | None


def save_stage(
    folder: Path, name: str, volume: Float[np.ndarray, "d d d"], pixel_size_A: float, resolution_A: float | None
) -> Path:
    """Writes `NNN_name.npz`, over the file of the same name if a resumed run comes by again."""
    folder.mkdir(parents=True, exist_ok=True)
    known = stage_paths(folder)
    again = [path for path in known if path.stem.split("_", 1)[1] == name]
    path = again[0] if again else folder / f"{len(known):03d}_{name}.npz"
    box = volume.shape[0]
    if box > LARGEST_BOX:
        volume = resample_volume(torch.from_numpy(volume).float(), LARGEST_BOX).numpy()
        pixel_size_A *= box / LARGEST_BOX
    largest = float(np.abs(volume).max()) or 1.0
    with open_atomic(path) as file:
        np.savez_compressed(
            file,
            volume=(volume / largest).astype(np.float16),
            pixel_size_A=pixel_size_A,
            resolution_A=np.nan if resolution_A is None else resolution_A,
        )
    return path


def load_stages(folder: Path) -> list[Stage]:
    """All stages in the order of the run."""
    return [load_stage(path) for path in stage_paths(folder)]


def stage_paths(folder: Path) -> list[Path]:
    """The stages' files in the order of the run."""
    return sorted(folder.glob("[0-9]*_*.npz"))


def load_stage(path: Path) -> Stage:
    """One of them.

    Raises:
        InputError: not a file of `save_stage`.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            volume = data["volume"].astype(np.float32)
            pixel_size_A, resolution_A = float(data["pixel_size_A"]), float(data["resolution_A"])
    except Exception as error:  # what a damaged archive raises is anybody's guess
        raise InputError(f"cannot be read: {error}", where=path, expected="a map of the run") from error
    return Stage(path.stem.split("_", 1)[1], volume, pixel_size_A, None if np.isnan(resolution_A) else resolution_A)
