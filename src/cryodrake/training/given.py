"""States from particles whose poses are known: cryoDRGN's own task, with poses as they are or refined in their states."""

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.data.halves import half_sets
from cryodrake.errors import InputError
from cryodrake.inference.reference import Reference
from cryodrake.io.job import JobFolder
from cryodrake.io.particles import ParticleFile
from cryodrake.physics.fsc import resolution_A
from cryodrake.training.config import PosedOptions, TrainConfig
from cryodrake.training.conformations import ROUNDS, Conformations
from cryodrake.training.estimates import SCALE_RADIUS, image_amplitudes
from cryodrake.training.events import AbstractReporter, stop_if_asked
from cryodrake.training.images import WeightedImages
from cryodrake.training.loading import load, particle_radius_px
from cryodrake.training.refinement import HalfMaps, fold_labels, fold_sums, half_maps, half_references, seen_radius
from cryodrake.training.results import write_results
from cryodrake.training.state import RunState
from cryodrake.training.verdict import words_on_misfits, words_on_states


def given_poses(
    config: PosedOptions, particles: ParticleFile, store: CoefficientStore
) -> tuple[Float[Tensor, "n 3 3"], Float[Tensor, "n 2"]]:
    """Rotations and shifts (pixels of the common frame) of the file.

    Raises:
        InputError: the particles have no poses.
    """
    table = particles.table
    if table.rotations is None or table.shifts_A is None:
        raise InputError("has no poses", where=config.particles, expected="angles and shifts", do="give --poses pose.pkl")
    rotation, shift_px = (torch.from_numpy(x).float().to(store.device) for x in (table.rotations, table.shifts_A))
    return rotation, shift_px / store.pixel_size_A


def scales(
    store: CoefficientStore,
    state: RunState,
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    particle_radius_px: float,
) -> Float[Tensor, " n"]:
    """How much of the map each image holds: read from maps without its fold.

    Before states are asked for: images that differ in contrast would be called states.
    """
    label = fold_labels(state.half)
    sums = fold_sums(WeightedImages(store, state.noise, state.scale), label, rotation, shift_px, store.box / 2)
    halves = HalfMaps.of(sums.of_halves(), sums.grid, particle_radius_px)
    radius = min(seen_radius(halves.inside), SCALE_RADIUS)
    references = (Reference.build(volume, radius) for volume in half_references(sums, halves).flatten(0, 1))
    return image_amplitudes(store, references, label, rotation, shift_px, state.noise).scale


def run(config: TrainConfig, job: JobFolder, reporter: AbstractReporter) -> None:
    """The whole job, from its last checkpoint if there is one.

    Raises:
        InputError: the particles have no poses.
    """
    torch.manual_seed(config.seed)
    particles, store = load(config, job, reporter, config.poses)
    rotation, shift_px = given_poses(config, particles, store)
    saved = job.load_latest()
    if saved is None:
        state = RunState.first(half_sets(particles.table, config.seed), store.noise, store.box, config.zdim)
        state.phase, state.confidence = "states", torch.ones_like(state.confidence)
        state.joint_rotation, state.joint_shift_px = rotation.clone(), shift_px.clone()
    else:
        state = RunState.restore(saved[1], saved[2], store.device)
    radius_px = particle_radius_px(config, store)
    reporter.phase("halves", 2, "back-projecting the half sets")
    if saved is None:
        state.scale = scales(store, state, rotation, shift_px, radius_px)
        state.joint_scale = state.scale.clone()
    reporter.step(1)
    images = WeightedImages(store, state.noise, state.scale)
    halves = half_maps(images, state.half, rotation, shift_px, store.box / 2, radius_px)
    reporter.step(2)

    def checkpoint() -> None:
        job.save_checkpoint(state.phase, state.tensors(), state.meta())
        stop_if_asked(reporter, state.phase)

    found = Conformations(store, state, reporter, halves, radius_px, config.seed, search_all=False)
    if state.phase == "states":
        found.run(checkpoint, ROUNDS if config.refine else 0)
        state.phase = "finish"
        checkpoint()
    words = "half maps agree"
    if config.refine and state.is_flexible:
        images = WeightedImages(store, state.noise, state.joint_scale)
        halves = half_maps(images, state.half, state.joint_rotation, state.joint_shift_px, store.box / 2, radius_px)
        words = "half maps of the refined poses, which come from maps of both half sets, agree"
    write_results(job, reporter, particles, store, state, halves, found, radius_px, config.seed)
    resolution = resolution_A(halves.fsc, 0.143, store.box_A)
    words = f"{words} to {resolution:.1f} Å (FSC 0.143); {words_on_states(state)}{words_on_misfits(state)}"
    reporter.finish(None, words, resolution_A=resolution, state_gain=state.gain)
