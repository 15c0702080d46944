"""`cryodrake downsample`: smaller images, with a STAR file in which pixel size, box and shifts are right."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from cryodrake.errors import InputError


@dataclass(frozen=True)
class DownsampleConfig:
    """What to scale down, and to which box."""

    particles: tyro.conf.Positional[Path]
    """Particle images: .star, .cs, .mrcs, or a .txt list of stacks."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))]
    """STAR file to make; its images go into a .mrcs of the same name beside it."""
    box: int
    """Pixels of the new images; even, and at most that of the old ones. The field of view stays."""
    datadir: Path | None = None
    """Folder that the stacks' paths are relative to."""
    ind: Path | None = None
    """Only these rows, from 0: cryoDRGN's ind.pkl, or a .txt with a number a line."""
    apix: float | None = None
    """Pixel size of the images as stored, in Å, where the file has none or a wrong one."""

    def __post_init__(self) -> None:
        if self.box < 4 or self.box % 2:
            raise InputError(f"box is {self.box}", where="--box", expected="an even number of pixels, 4 or more")
        if self.out.suffix != ".star":
            raise InputError(f"no format {self.out.suffix!r}", where=self.out, expected=".star")
        if self.apix is not None and not 0 < self.apix < float("inf"):
            raise InputError(f"apix is {self.apix}", where="--apix", expected="a positive number")


def main(config: DownsampleConfig) -> None:
    """Writes both files, and says what the images are now.

    Raises:
        InputError: the particles cannot be read, or a file is there already.
    """
    from cryodrake.app.progress import open_screen
    from cryodrake.data.downsample import downsample
    from cryodrake.io.particles import read_particles

    stack = config.out.with_suffix(".mrcs")
    for target in (config.out, stack):
        if target.exists():
            raise InputError("the file is there already", where=target, do="choose another --out, or remove it")
    particles = read_particles(config.particles, ind=config.ind, datadir=config.datadir, pixel_size_A=config.apix)
    with open_screen() as screen:
        screen.phase("downsample", len(particles), "Fourier cropping the images")
        size_A = downsample(particles, config.box, config.out, stack, screen.step)
    print(f"{config.out}\n{stack}\n{len(particles):,} images of {config.box} px at {size_A:.4g} Å")
