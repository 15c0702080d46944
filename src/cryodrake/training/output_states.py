"""What a run with states leaves beside its poses: latents, the field V(k; z), and maps of representative states (DESIGN §7)."""

from dataclasses import dataclass

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

FAINTEST = 1e-3  # of the strongest component: a coordinate that nothing depends on keeps some length


@dataclass(frozen=True, eq=False)
class StatesInMaps:
    """The model in coordinates whose distances are those of the maps.

    In the run every coordinate has unit variance, one that moves half of the particle and one that is hardly more than noise.
    Here a coordinate is as long as its component is strong, so that what looks at distances (clusters, neighbours, principal
    components) sees what moves.

    Attributes:
        components: the mean and the components, the strongest first; the components' norms are equal.
        latents, precision: of each image; the strongest coordinate keeps its unit variance.
    """

    components: Float[Tensor, "r d d d"]
    latents: Float[Tensor, "n z"]
    precision: Float[Tensor, "n z z"]

    @classmethod
    def of(cls, components: Float[Tensor, "r d d d"], state: RunState) -> "StatesInMaps":
        """From components in the coordinates of the state's latents, filtered."""
        if not state.is_flexible:
            return cls(components, state.latents, state.precision)
        strength = components[1:].flatten(1).norm(dim=1)
        order = strength.argsort(descending=True, stable=True)  # filtered, they may have changed places
        strength = strength[order]
        length = (strength / strength[0].clamp(min=1e-30)).clamp(min=FAINTEST)
        scaled = torch.cat([components[:1], components[1:][order] / length[:, None, None, None]])
        precision = state.precision[:, order[:, None], order] / (length[:, None] * length)
        return cls(scaled, state.latents[:, order] * length, precision)

    def write(self, job: JobFolder) -> None:
        """latents.npy (n, zdim) and latents_precision.npy (n, zdim, zdim), float32, row i the particle i of the input."""
        write_npy_atomic(job.path / "latents.npy", self.latents.cpu().numpy())
        write_npy_atomic(job.path / "latents_precision.npy", self.precision.cpu().numpy())


def state_components(found: Conformations, consensus: Float[Tensor, "d d d"]) -> Float[Tensor, "r d d d"]:
    """Mean and components as densities, filtered by where they stand out from noise; zero components where nothing moves."""
    state = found.state
    if state.is_flexible:
        return as_references(state.components, state.mean_noise, state.component_noise, found.mask)
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
    found: StatesInMaps,
    particle_radius_px: float,
    pixel_size_A: float,
    reporter: AbstractReporter,
    seed: int,
) -> None:
    """maps/states/: representative states from the data, where there are any."""
    if state.is_flexible:
        poses = state.joint_rotation, state.joint_shift_px, state.half
        data = LatentImages(images, *poses, found.latents, found.precision, particle_radius_px)
        write_states(job.maps / "states", data, pixel_size_A, reporter, seed=seed)
