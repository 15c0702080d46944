"""What a run with states leaves beside its poses: latents, the field V(k; z), and maps of representative states (DESIGN §7)."""

import torch

from cryodrake.fields.factored import FactoredField
from cryodrake.fields.fit import fit_grid
from cryodrake.fields.grid import GridField
from cryodrake.fields.mixer import AffineMixer
from cryodrake.fields.store import save_field
from cryodrake.fields.target import FieldTarget, from_density
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


def states_target(found: Conformations, consensus: FieldTarget) -> FieldTarget:
    """What a field with states is fitted to: the mean and the components, each filtered by what is known of it.

    A rigid structure's components are zero.
    """
    state = found.state
    if not state.is_flexible:
        rest = torch.zeros(state.latents.shape[1], *consensus.density.shape[1:], device=consensus.density.device)
        density, known = torch.cat([consensus.density, rest]), consensus.weights
        return from_density(density, torch.ones(density.shape[-1] // 2 + 1, device=known.device))
    density = as_references(state.components, state.component_fsc, found.mask)
    ssnr = state.component_fsc[0].clamp(1e-2, 1 - 1e-3)
    return from_density(density, ssnr / (1 - ssnr))


def write_states_field(job: JobFolder, target: FieldTarget, particle_radius_px: float, pixel_size_A: float) -> None:
    """The field with states; field.mrc is its map at the mean state.

    Its basis is on voxels: a network of the usual size, fitted to all components at once, loses more of the faint ones at high
    frequency than states gain (docs/log.md).
    """
    box, device = target.density.shape[-1], target.density.device
    r = len(target.density)
    basis = GridField(box, box * pixel_size_A, components=r).to(device)
    fit_grid(basis, target)
    field = FactoredField(basis, AffineMixer(r - 1)).to(device)
    with torch.no_grad():
        mean = field.to_volume(torch.zeros(1, r - 1, device=device))[0]
    density = flatten_solvent(mean, solvent_mask(box, particle_radius_px, device))
    write_map(job.maps / "field.mrc", density.cpu().numpy(), pixel_size_A)
    save_field(job.checkpoints / "field.safetensors", field)


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
