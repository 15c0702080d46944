"""`cryodrake export`: a job's particles with their poses, as a file for RELION, cryoSPARC or cryoDRGN.

The hand of an ab initio map is arbitrary. `--flip` mirrors it, z to -z about the centre: with M = diag(1, 1, -1) the
map's value at x becomes that at M x, each R becomes M R M, and shifts stay, so the projections do not change.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from jaxtyping import Float

from cryodrake.errors import InputError

SUFFIXES = (".star", ".cs", ".pkl")
MIRROR = np.diag([1.0, 1.0, -1.0])


@dataclass(frozen=True)
class ExportConfig:
    """What to export, and as what."""

    job: tyro.conf.Positional[Path]
    """Folder of a finished job."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))]
    """File to make: .star, .cs (of a job that began with a .cs), or .pkl (cryoDRGN's poses)."""
    ind: Path | None = None
    """cryoDRGN's ind.pkl: export only these rows of the job's particles."""
    flip: bool = False
    """Change the hand: turn the poses over, and write the job's maps turned over beside the file."""

    def __post_init__(self) -> None:
        if self.out.suffix not in SUFFIXES:
            raise InputError(f"no format {self.out.suffix!r}", where=self.out, expected=", ".join(SUFFIXES))


def main(config: ExportConfig) -> None:
    """Writes the file, and with `flip` the maps.

    Raises:
        InputError: there is no such job, the format cannot be made from it, or a file is there already.
    """
    from cryodrake.analysis.job_particles import datadir
    from cryodrake.io.cryodrgn import write_poses
    from cryodrake.io.mrc import read_map, write_map
    from cryodrake.io.particles import read_particles

    source = config.job / ("particles.cs" if config.out.suffix == ".cs" else "particles.star")
    if not source.exists():
        raise InputError("no such file", where=source, expected="a finished job; a .cs only comes from a job that began with one")
    maps = sorted((config.job / "maps").glob("*.mrc")) if config.flip else []
    flipped_maps = {path: config.out.with_name(f"{config.out.stem}_{path.name}") for path in maps}
    for target in (config.out, *flipped_maps.values()):
        if target.exists():
            raise InputError("the file is there already", where=target, do="choose another --out, or remove it")
    is_pickle = config.out.suffix == ".pkl"  # its shifts are fractions of the box, which only the images may tell
    particles = read_particles(source, ind=config.ind, datadir=datadir(config.job), need_images=is_pickle)
    rotations = particles.table.rotations
    if rotations is None:
        raise InputError("the particles have no poses", where=source, expected="a finished job")
    new = flipped(rotations) if config.flip else None
    if is_pickle:
        write_poses(config.out, replace(particles.table, rotations=rotations if new is None else new))
    elif config.out.suffix == ".cs":
        particles.write_cs(config.out, rotations=new)
    else:
        particles.write_star(config.out, rotations=new)
    for path, target in flipped_maps.items():
        volume, pixel_size_A = read_map(path)
        write_map(target, flipped_map(volume), pixel_size_A)
    print("\n".join(map(str, (config.out, *flipped_maps.values()))))


def flipped(rotations: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n 3 3"]:
    """The rotations under which the mirrored map has the same projections: M R M."""
    return MIRROR @ rotations @ MIRROR


def flipped_map(volume: Float[np.ndarray, "d d d"]) -> Float[np.ndarray, "d d d"]:
    """The map (z, y, x) mirrored in z about its centre, index d//2; the first plane of an even box mirrors itself."""
    return np.roll(volume[::-1], 1 - volume.shape[0] % 2, axis=0)
