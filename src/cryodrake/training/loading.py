"""What every job begins with: the device, the particles, their coefficients on it, and how large the particle is."""

from pathlib import Path

import torch

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.io.job import JobFolder
from cryodrake.io.particles import ParticleFile, read_particles
from cryodrake.training.config import InputOptions
from cryodrake.training.events import AbstractReporter

MASK_RADIUS = 0.42  # of the box: the particle, while nothing is known


def choose_device(name: str) -> torch.device:
    """The device that an option names; auto is the CUDA card if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def load(
    config: InputOptions, job: JobFolder, reporter: AbstractReporter, poses: Path | None = None
) -> tuple[ParticleFile, CoefficientStore]:
    """Read the particles, with the poses of another file where one is given, and make their coefficients resident.

    Raises:
        InputError: the particles cannot be read, or do not fit each other or the options.
    """
    particles = read_particles(
        config.particles, ctf=config.ctf, poses=poses, ind=config.ind, datadir=config.datadir, pixel_size_A=config.apix
    )
    reporter.phase("read", particles.n, "reading and cleaning the images")
    store = CoefficientStore.build(
        particles,
        config.box,
        config.diameter_A,
        choose_device(config.device),
        config.memory_gib,
        scratch=job.path,
        progress=lambda done, total: reporter.step(done),
    )
    for note in (*particles.notes, *store.notes):
        job.log(note)
    return particles, store


def particle_radius_px(config: InputOptions, store: CoefficientStore) -> float:
    """Radius of the sphere that holds the particle."""
    if config.diameter_A is not None:
        return min(config.diameter_A / 2 / store.pixel_size_A, 0.49 * store.box)
    return MASK_RADIUS * store.box
