"""Particles scaled to a smaller box: images Fourier cropped, a chunk at a time, and the particle file that goes with them.

Cropping keeps the field of view, so pixels grow by the ratio of the boxes and a shift in Å stays what it is. The noise of
a pixel keeps its variance (docs/conventions.md, "Cropping and resampling"), so normalised images stay normalised.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int

from cryodrake.data.images import refuse
from cryodrake.errors import InputError
from cryodrake.io.mrc import StackWriter
from cryodrake.io.particles import ParticleFile
from cryodrake.io.relion import RelionSource
from cryodrake.io.relion_rescale import rescaled_tables
from cryodrake.io.relion_write import write_new_star
from cryodrake.physics.fourier import crop_images

CHUNK_PIXELS = 1 << 24


def downsample(
    particles: ParticleFile, box: int, star: Path, stack: Path, progress: Callable[[int], None] = lambda done: None
) -> float:
    """Write a stack of `box` pixels and a STAR file that names it as `stack` is spelled; row i stays row i, or neither file.

    Returns the new pixel size in Å, that of the first image where they differ.

    Args:
        particles: with their images, of one or several sizes.
        progress: is told how many images are done.

    Raises:
        InputError: images smaller than `box`, or with pixels that are not finite; as `rescaled_tables` and `open_atomic`.
    """
    old_box = particles.table.box
    if old_box is None:
        raise InputError("was read without its images", where=particles.path)
    if old_box.min() < box:
        row = int(old_box.argmin())
        where = f"{particles.path}, particle {int(particles.rows[row]) + 1}"
        raise InputError(f"the image has {old_box[row]} pixels", where=where, expected=f"at least --box {box}")
    pixel_size_A = particles.table.pixel_size_A * old_box / box
    write_star = _star_writer(particles, star, stack, box, pixel_size_A)
    chunk = max(1, CHUNK_PIXELS // int(old_box.max()) ** 2)
    with StackWriter(stack, len(particles), box, float(pixel_size_A[0])) as writer:
        for start in range(0, len(particles), chunk):
            rows = np.arange(start, min(start + chunk, len(particles)))
            writer.write(_cropped(particles, rows, box))
            progress(int(rows[-1]) + 1)
    try:  # last: a file that is there names a stack that is whole
        write_star()
    except BaseException:
        stack.unlink()
        raise
    return float(pixel_size_A[0])


def _cropped(particles: ParticleFile, rows: Int[np.ndarray, " b"], box: int) -> Float32[np.ndarray, "b d d"]:
    """Images of several sizes as images of one."""
    images = np.empty((len(rows), box, box), dtype=np.float32)
    for old_box, of_size in particles.select(rows).rows_by_box().items():
        raw = torch.from_numpy(particles.read_images(rows[of_size]))
        finite = torch.isfinite(raw).flatten(1).all(dim=1)
        if not bool(finite.all()):
            worst = int(finite.int().argmin())
            refuse(particles, int(rows[of_size][worst]), raw[worst])
        images[of_size] = (raw if old_box == box else crop_images(raw, box)).numpy()
    return images


def _star_writer(
    particles: ParticleFile, star: Path, stack: Path, box: int, pixel_size_A: Float[np.ndarray, " n"]
) -> Callable[[], None]:
    """Writes the user's own columns where the particles came in a STAR file, else a new one; what it refuses, it refuses now."""
    source, n = particles.raw.source, len(particles)
    if isinstance(source, RelionSource):
        return partial(source.star.write, star, rescaled_tables(particles, str(stack), box, pixel_size_A))
    table = replace(particles.table, pixel_size_A=pixel_size_A, box=np.full(n, box))
    return partial(write_new_star, star, table, (str(stack),), np.zeros(n, dtype=np.int64), np.arange(n))
