"""Every option of `volumes`, and what goes together. Nothing heavy is imported here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cryodrake.errors import InputError

WAYS = ("particles", "z", "kmeans", "pc")


@dataclass(frozen=True)
class VolumesConfig:
    """Which states of a job, and how their maps are made. Give one of --particles, --z, --kmeans and --pc."""

    job: tyro.conf.Positional[Path]
    """Folder of a finished job with states (run with --zdim)."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))]
    """Folder to make: vol_000.mrc …, z_values.txt."""
    particles: str | None = None
    """States of these particles: rows of particles.star, from 0, such as 0,10,20."""
    z: Path | None = None
    """States of a text file, one a row, such as z_values.txt."""
    kmeans: int | None = None
    """This many cluster centres, each moved to the particle nearest to it."""
    pc: int | None = None
    """Along this principal component of the states, 1 being the largest, from its 5th to its 95th percentile."""
    n: int = 10
    """Number of states along --pc."""
    kind: Literal["decoded", "data"] = "decoded"
    """decoded: the neural field's maps. data: back-projected from the images near each state, with half maps and FSC."""
    box: int | None = None
    """Decode at this many voxels. Default: the field's own, over the same field of view, or what --apix makes of it."""
    apix: float | None = None
    """Decode at this voxel size, in Å. Default: what the field of view over the box makes."""
    flip: bool = False
    """Mirror the maps: the other hand."""
    seed: int = 0
    """Seed of --kmeans."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes the CUDA card if there is one."""

    def __post_init__(self) -> None:
        given = [name for name in WAYS if getattr(self, name) is not None]
        if len(given) != 1:
            what = f"{' and '.join(f'--{name}' for name in given)} do not go together" if given else "no states are chosen"
            raise InputError(what, expected=f"one of {', '.join(f'--{name}' for name in WAYS)}")
        if self.kind == "data" and (self.box is not None or self.apix is not None):
            raise InputError("--box and --apix do not go with --kind data", expected="maps of the images' own box")
        for name, least in (("kmeans", 1), ("pc", 1), ("n", 2), ("box", 2), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} is {value}", where=f"--{name}", expected=f"{least} or more")
        if self.box is not None and self.box % 2:
            raise InputError(f"box is {self.box}", where="--box", expected="an even number of voxels")
        if self.apix is not None and not 0 < self.apix < float("inf"):
            raise InputError(f"apix is {self.apix}", where="--apix", expected="a positive number")
