"""Every option of the commands that reconstruct: one frozen dataclass each, saved as job.toml and runnable again.

Lengths are in Å unless a name says otherwise. Nothing heavy is imported here, so `--help` is quick.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cryodrake.data.seeds import check_seed
from cryodrake.errors import InputError

MOST_ZDIM = 32
MOST_CLASSES = 20


@dataclass(frozen=True)
class InputOptions:
    """The particles, how to read them, and where the job goes."""

    particles: tyro.conf.Positional[Path]
    """Particle images: .star, .cs, .mrcs, or a .txt list of stacks."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))]
    """Job folder to make."""
    ctf: Path | None = None
    """cryoDRGN's ctf.pkl, for particles whose file has no CTF."""
    datadir: Path | None = None
    """Folder that the stacks' paths are relative to."""
    ind: Path | None = None
    """Use only these rows, from 0: cryoDRGN's ind.pkl, or a .txt with a number a line."""
    apix: float | None = None
    """Pixel size of the images as stored, in Å, where the file has none or a wrong one."""
    box: int | None = None
    """Fourier crop the images to this many pixels (even). Default: their own size, at most 128."""
    diameter_A: float | None = None
    """Diameter of the circle around the particle, in Å. Default: 0.85 of the box."""
    seed: int = 0
    """Seed of everything random: half sets, starts, subsets."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes the CUDA card if there is one."""
    memory_gib: float = 4.0
    """Memory that the job may use, in GiB."""
    max_minutes: float | None = None
    """Stop, resumable, after this many minutes."""
    resume: bool = False
    """Go on with the job in the folder from its last checkpoint."""

    def __post_init__(self) -> None:
        if self.box is not None and (self.box < 16 or self.box % 2):
            raise InputError(f"box is {self.box}", where="--box", expected="an even number of pixels, 16 or more")
        for name in ("apix", "diameter_A", "memory_gib", "max_minutes"):
            value, option = getattr(self, name), f"--{name.replace('_', '-')}"
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise InputError(f"{name} is {value}", where=option, expected="a positive number")
        check_seed(self.seed)


@dataclass(frozen=True)
class AbinitConfig(InputOptions):
    """Poses and a map from particle images alone."""

    zdim: int = 0
    """Dimensions of each particle's state; 0 means one rigid structure."""
    classes: int | None = None
    """Number of different structures to tell apart; each is then a job of its own, with states where zdim is given. Default: one,
    or as many as the images prove to be of; with zdim, also one for what is no particle."""
    preset: Literal["default", "cryodrgn2"] = "default"
    """The algorithm: our own, or cryoDRGN2's as published (30 epochs, a search in every fifth; hours where ours takes minutes)."""
    latents: Literal["encoder", "table"] = "encoder"
    """With --preset cryodrgn2 and --zdim: read states from images by a network, or keep a row for each image."""
    exact_search: bool = False
    """With --preset cryodrgn2: search against the network itself instead of its raster (about a hundred times slower)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.zdim <= MOST_ZDIM:
            raise InputError(f"zdim is {self.zdim}", where="--zdim", expected=f"0 for one rigid structure, or 1 to {MOST_ZDIM}")
        if self.classes is not None and not 1 <= self.classes <= MOST_CLASSES:
            raise InputError(f"classes is {self.classes}", where="--classes", expected=f"1 to {MOST_CLASSES}")
        if (self.classes or 1) > 1 and self.preset != "default":
            raise InputError("goes with another preset", where="--classes", expected="--preset default")
        given = [
            name for name, is_given in (("exact-search", self.exact_search), ("latents", self.latents != "encoder")) if is_given
        ]
        if given and self.preset != "cryodrgn2":
            raise InputError("goes with another preset", where=f"--{given[0]}", expected="--preset cryodrgn2")
        if "latents" in given and self.zdim == 0:
            raise InputError("there are no states", where="--latents", expected="--zdim 1 or more")


@dataclass(frozen=True)
class PosedOptions(InputOptions):
    """Particles whose poses are known."""

    poses: Path | None = None
    """cryoDRGN's pose.pkl, for particles whose file has no poses."""


@dataclass(frozen=True)
class TrainConfig(PosedOptions):
    """States of particles whose poses are known."""

    zdim: int = 8
    """Dimensions of each particle's state."""
    refine: bool = False
    """Refine the poses against the map of each particle's own state."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.zdim <= MOST_ZDIM:
            raise InputError(f"zdim is {self.zdim}", where="--zdim", expected=f"1 to {MOST_ZDIM}")


@dataclass(frozen=True)
class BackprojectConfig(PosedOptions):
    """A map, half maps and their FSC from particles whose poses are known."""


@dataclass(frozen=True)
class AnalyzeConfig:
    """The states of a heterogeneous job: components, clusters, paths, and what they have to do with poses and optics."""

    job: tyro.conf.Positional[Path]
    """Job folder with latents.npy; results go to its folder analysis/."""
    clusters: int = 20
    """Number of k-means clusters."""
    neighbours: int = 15
    """Nearest particles that a path may step to."""
    anchors: tuple[int, ...] = ()
    """Particles (rows from 0) that the paths go through. Default: the two cluster centres farthest apart."""
    points: int = 10
    """States on each straight path from anchor to anchor, both ends counted."""
    seed: int = 0
    """Seed of clusters, UMAP and shuffles."""

    def __post_init__(self) -> None:
        for name, smallest in (("clusters", 2), ("neighbours", 1), ("points", 2)):
            if getattr(self, name) < smallest:
                raise InputError(f"{name} is {getattr(self, name)}", where=f"--{name}", expected=f"{smallest} or more")
        check_seed(self.seed)
        if len(self.anchors) == 1 or any(row < 0 for row in self.anchors):
            given = " ".join(map(str, self.anchors))
            raise InputError(f"anchors are {given}", where="--anchors", expected="two or more rows, from 0")
