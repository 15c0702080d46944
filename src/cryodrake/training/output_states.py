"""What a run with states leaves beside its poses: latents, the field V(k; z), and maps of representative states (DESIGN §7)."""

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.fields.factored import FactoredField
from cryodrake.fields.grid import GridField
from cryodrake.fields.mixer import AffineMixer
from cryodrake.fields.store import save_field
from cryodrake.inference.source import AbstractImages
from cryodrake.io.atomic import write_npy_atomic
from cryodrake.io.job import JobFolder
from cryodrake.io.mrc import write_map
from cryodrake.training.components import as_references
from cryodrake.training.conformations import Conformations
from cryodrake.training.events import AbstractReporter
from cryodrake.training.solvent import flatten_solvent, solvent_mask
from cryodrake.training.state import RunState
from cryodrake.training.state_files import write_states
from cryodrake.training.state_maps import LatentImages


def write_latents(job: JobFolder, state: RunState) -> None:
    """latents.npy (n, zdim) and latents_precision.npy (n, zdim, zdim), float32, row i the particle i of the input."""
    write_npy_atomic(job.path / "latents.npy", state.latents.cpu().numpy())
    write_npy_atomic(job.path / "latents_precision.npy", state.precision.cpu().numpy())


def state_components(found: Conformations, consensus: Float[Tensor, "d d d"]) -> Float[Tensor, "r d d d"]:
    """Mean and components as densities, filtered by where they stand out from noise; zero components where nothing moves."""
    state = found.state
    if state.is_flexible:
        return as_references(state.components, state.component_noise, found.mask)
    return torch.cat([consensus[None], consensus.new_zeros(state.latents.shape[1], *consensus.shape)])


def write_states_field(
    job: JobFolder, components: Float[Tensor, "r d d d"], particle_radius_px: float, pixel_size_A: float
) -> None:
    """The field with states; field.mrc is its map at the mean state.

    Its basis is on voxels: a network of the usual size, fitted to all components at once, loses more of the faint ones at high
    frequency than states gain (docs/log.md).
    """
    r, box = components.shape[:2]
    basis = GridField(box, box * pixel_size_A, components=r).to(components.device)
    with torch.no_grad():
        basis.density.copy_(components)
    mask = solvent_mask(box, particle_radius_px, components.device)
    write_map(job.maps / "field.mrc", flatten_solvent(components[0], mask).cpu().numpy(), pixel_size_A)
    save_field(job.checkpoints / "field.safetensors", FactoredField(basis, AffineMixer(r - 1)))


def write_state_maps(
    job: JobFolder,
    images: AbstractImages,
    state: RunState,
    particle_radius_px: float,
    pixel_size_A: float,
    reporter: AbstractReporter,
) -> None:
    """maps/states/: representative states from the data, where there are any."""
    if state.is_flexible:
        poses = state.joint_rotation, state.joint_shift_px, state.half
        data = LatentImages(images, *poses, state.latents, state.precision, particle_radius_px)
        write_states(job.maps / "states", data, pixel_size_A, reporter)
