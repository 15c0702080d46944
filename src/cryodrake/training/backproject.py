"""A map, half maps, their FSC and a field from particles whose poses are known."""

import torch

from cryodrake.data.halves import half_sets
from cryodrake.io.job import JobFolder
from cryodrake.physics.fsc import resolution_A
from cryodrake.training.config import BackprojectConfig
from cryodrake.training.events import AbstractReporter
from cryodrake.training.given import given_poses
from cryodrake.training.images import WeightedImages
from cryodrake.training.loading import load, particle_radius_px
from cryodrake.training.output import write_consensus, write_field, write_half_maps, write_particles
from cryodrake.training.refinement import half_maps


def run(config: BackprojectConfig, job: JobFolder, reporter: AbstractReporter) -> None:
    """The whole job.

    Raises:
        InputError: the particles have no poses.
    """
    particles, store = load(config, job, reporter, config.poses)
    rotation, shift_px = given_poses(config, particles, store)
    half = half_sets(particles.table, config.seed).to(store.device)
    images = WeightedImages(store, store.noise, torch.ones(store.n, device=store.device))
    radius_px = particle_radius_px(config, store)
    reporter.phase("halves", 1, "back-projecting the half sets")
    found = half_maps(images, half, rotation, shift_px, store.box / 2, radius_px)
    write_half_maps(job, found, store.pixel_size_A)
    reporter.phase("maps", 2, "back-projecting to full resolution")
    target = write_consensus(job, images, rotation, shift_px, found, radius_px, store.pixel_size_A)
    reporter.step(1)
    write_field(job, target, radius_px, store.pixel_size_A, config.seed)
    reporter.step(2)
    confidence = torch.ones(store.n, device=store.device)
    write_particles(job, particles, rotation, shift_px * store.pixel_size_A, half, confidence)
    resolution = resolution_A(found.fsc, 0.143, store.box_A)
    reporter.finish(None, f"half maps agree to {resolution:.1f} Å (FSC 0.143)", resolution_A=resolution)
