"""Options of every command that makes maps at states of a job. Nothing heavy is imported here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cryodrake.errors import InputError


@dataclass(frozen=True)
class MapsConfig:
    """A job with states, a folder to make, and how maps are made."""

    job: tyro.conf.Positional[Path]
    """Folder of a finished job with states (run with --zdim)."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))]
    """Folder to make: vol_000.mrc …, z_values.txt, a still of each map, and view.cxc for ChimeraX."""
    kind: Literal["decoded", "data"] = "decoded"
    """decoded: the neural field's maps. data: back-projected from the images near each state, with half maps and FSC."""
    box: int | None = None
    """Decode at this many voxels. Default: the field's own, over the same field of view, or what --apix makes of it."""
    apix: float | None = None
    """Decode at this voxel size, in Å. Default: what the field of view over the box makes."""
    flip: bool = False
    """Mirror the maps: the other hand."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes the CUDA card if there is one."""

    def __post_init__(self) -> None:
        if self.kind == "data" and (self.box is not None or self.apix is not None):
            raise InputError("--box and --apix do not go with --kind data", expected="maps of the images' own box")
        refuse_small(self, box=2)
        if self.box is not None and self.box % 2:
            raise InputError(f"box is {self.box}", where="--box", expected="an even number of voxels")
        if self.apix is not None and not 0 < self.apix < float("inf"):
            raise InputError(f"apix is {self.apix}", where="--apix", expected="a positive number")


def refuse_small(config: object, **least: int) -> None:
    """Raises InputError where an option that is given is below its least value."""
    for name, smallest in least.items():
        value = getattr(config, name)
        if value is not None and value < smallest:
            raise InputError(f"{name} is {value}", where=f"--{name}", expected=f"{smallest} or more")


def the_one_given(config: object, ways: tuple[str, ...], what: str) -> str | None:
    """Which of these options is given; None where none is.

    Raises:
        InputError: several are.
    """
    given = [name for name in ways if getattr(config, name) is not None and getattr(config, name) is not False]
    if len(given) > 1:
        names = " and ".join(f"--{name}" for name in given)
        raise InputError(f"{names} do not go together", expected=f"one of {', '.join(f'--{name}' for name in ways)}: {what}")
    return given[0] if given else None
