"""Every option of `export`. Nothing heavy is imported here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from cryodrake.errors import InputError

SUFFIXES = (".star", ".cs", ".pkl")


@dataclass(frozen=True)
class ExportConfig:
    """What to export, and as what."""

    job: tyro.conf.Positional[Path]
    """Folder of a finished job."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))]
    """What to make: .star, .cs (of particles that began as one), .pkl (cryoDRGN's poses), or a folder of all cryoDRGN's files."""
    onto: Path | None = None
    """Put the results into this particle file instead, such as that of the full-size images; particles are found by name."""
    ind: Path | None = None
    """Only these particles: rows of the file that the job began with, as .pkl or .txt."""
    classes: bool = False
    """Also write the job's classes, or the clusters of `analyze`: rlnClassNumber from 1, or alignments3D/class from 0."""
    flip: bool = False
    """Change the hand: turn the poses over, and write the maps of the job, its states and classes turned over beside the file."""
    datadir: Path | None = None
    """Folder that the stacks' paths are relative to, where their size must be looked up."""
    apix: float | None = None
    """Pixel size of --onto's images, in Å, where it has none or a wrong one."""

    def __post_init__(self) -> None:
        if self.out.suffix not in ("", *SUFFIXES):
            raise InputError(f"no format {self.out.suffix!r}", where=self.out, expected=", ".join(SUFFIXES) + ", or a folder")
        if self.apix is not None and not 0 < self.apix < float("inf"):
            raise InputError(f"apix is {self.apix}", where="--apix", expected="a positive number")
        if self.apix is not None and self.onto is None:
            raise InputError("goes with --onto", where="--apix", expected="a job's own pixel size stays as it is")
