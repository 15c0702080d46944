"""All that a finished run leaves in its job folder, with or without states."""

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.io.atomic import write_npy_atomic
from cryodrake.io.job import JobFolder
from cryodrake.io.particles import ParticleFile
from cryodrake.training.conformations import Conformations
from cryodrake.training.events import AbstractReporter
from cryodrake.training.images import WeightedImages
from cryodrake.training.output import shifts_in_A, write_consensus, write_field, write_half_maps, write_particles
from cryodrake.training.output_states import StatesInMaps, state_components, write_state_maps, write_states_field
from cryodrake.training.refinement import HalfMaps
from cryodrake.training.state import RunState


def write_results(
    job: JobFolder,
    reporter: AbstractReporter,
    particles: ParticleFile,
    store: CoefficientStore,
    state: RunState,
    halves: HalfMaps,
    found: Conformations | None,
    radius_px: float,
    seed: int,
) -> None:
    """Maps, the field, particles, their scales, and what there is of states (`found`)."""
    pixel_size_A = store.pixel_size_A
    images = WeightedImages(store, state.noise, state.joint_scale)
    write_half_maps(job, halves, pixel_size_A)
    reporter.phase("maps", 2, "back-projecting to full resolution")
    target = write_consensus(job, images, state.joint_rotation, state.joint_shift_px, halves, radius_px, pixel_size_A)
    reporter.step(1)
    if found is None:
        write_field(job, target, radius_px, pixel_size_A, seed)
        reporter.step(2)
    else:
        states = StatesInMaps.of(state_components(found, target.density[0]), state)
        write_states_field(job, states.components, radius_px, pixel_size_A)
        states.write(job)
        if state.group.any():
            write_npy_atomic(job.path / "groups.npy", state.group.cpu().numpy())
        reporter.step(2)
        write_state_maps(job, images, state, states, radius_px, pixel_size_A, reporter, seed)
    write_npy_atomic(job.path / "scales.npy", state.joint_scale.cpu().numpy())
    write_particles(job, particles, state.joint_rotation, shifts_in_A(state.joint_shift_px, store), state.half, state.confidence)
