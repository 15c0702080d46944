"""A heterogeneous job as it lies on disk: its states, its field, and its images with what was found of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from cryodrake.analysis.job_states import check_rows, read_array, require_latents_of_one_model
from cryodrake.data.coefficients import CoefficientStore
from cryodrake.data.halves import half_sets
from cryodrake.errors import InputError
from cryodrake.fields.state_field import AbstractStateField
from cryodrake.fields.statistics import edge_px, flatten_solvent
from cryodrake.io.particles import read_particles
from cryodrake.training.config import InputOptions
from cryodrake.training.events import AbstractReporter
from cryodrake.training.images import WeightedImages
from cryodrake.training.loading import MASK_RADIUS, choose_device
from cryodrake.training.state_maps import LatentImages

LARGEST_RADIUS = 0.49  # of the box


def read_precision(job: Path, n: int, zdim: int) -> Float32[np.ndarray, "n z z"] | None:
    """JOB/latents_precision.npy, the posterior precision of each latent; None where the job has none.

    Raises:
        InputError: the file does not go with n latents of zdim coordinates.
    """
    path = job / "latents_precision.npy"
    precision = read_array(path)
    if precision is None:
        return None
    if precision.dtype.kind not in "fiu" or precision.shape != (n, zdim, zdim) or not np.isfinite(precision).all():
        wanted = f"{(n, zdim, zdim)}, finite numbers"
        raise InputError(f"holds {precision.dtype} of shape {precision.shape}", where=path, expected=wanted)
    return precision.astype(np.float32)


def radius_A(options: InputOptions, box_A: float) -> float:
    """Of the sphere that holds the particle, as in the run itself."""
    return MASK_RADIUS * box_A if options.diameter_A is None else min(options.diameter_A / 2, LARGEST_RADIUS * box_A)


def decoded_maps(
    field: AbstractStateField, z: Float[Tensor, "m z"], box: int, pixel_size_A: float, radius_A: float
) -> Iterator[Float[Tensor, "d d d"]]:
    """The field's maps at these states, zero outside the sphere of `radius_A`."""
    with torch.no_grad():
        for volume in field.volumes(z, box, box * pixel_size_A):
            yield flatten_solvent(volume, radius_A / pixel_size_A, edge_px(box))


def latent_images(job: Path, options: InputOptions, reporter: AbstractReporter) -> tuple[LatentImages, float]:
    """The images that the job was made from with its poses, half sets and states, and their pixel size in Å.

    Raises:
        InputError: the images are no longer where they were, or the job's files do not go together.
    """
    star = job / "particles.star"
    table = read_particles(star, need_images=False).table
    latents = require_latents_of_one_model(job)
    if table.rotations is None or table.shifts_A is None or table.half_set is None:
        raise InputError("the particles have no poses or half sets", where=star, expected="a finished job")
    particles = read_particles(
        options.particles, ctf=options.ctf, ind=options.ind, datadir=options.datadir, pixel_size_A=options.apix
    )
    if not len(latents) == len(table) == particles.n:
        counts = f"{len(latents)} latents, {len(table)} poses and {particles.n} images"
        raise InputError(f"there are {counts}", where=job, expected="one of each per particle")
    precision = read_precision(job, *latents.shape)
    scale = read_array(job / "scales.npy")
    if scale is None:
        scale = np.ones(len(table))
    check_rows(job, "scales.npy", len(scale), len(table))
    reporter.phase("read", particles.n, "reading and cleaning the images")
    store = CoefficientStore.build(
        particles,
        options.box,
        options.diameter_A,
        choose_device(options.device),
        options.memory_gib,
        progress=lambda done, total: reporter.step(done),
    )
    device = store.device
    data = LatentImages(
        images=WeightedImages(store, store.noise, torch.from_numpy(scale).float().to(device)),
        rotation=torch.from_numpy(table.rotations).float().to(device),
        shift_px=torch.from_numpy(table.shifts_A / store.pixel_size_A).float().to(device),
        half=half_sets(table, options.seed).to(device),
        latents=torch.from_numpy(latents).float().to(device),
        precision=None if precision is None else torch.from_numpy(precision).to(device),
        radius_px=radius_A(options, store.box_A) / store.pixel_size_A,
    )
    return data, store.pixel_size_A
