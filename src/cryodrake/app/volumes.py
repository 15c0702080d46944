"""`cryodrake volumes`: maps at chosen states of a heterogeneous job, decoded by its field or made from its images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from cryodrake.analysis.job_states import require_latents_of_one_model
from cryodrake.analysis.map_folder import write_series_views
from cryodrake.analysis.states import decoded_maps, latent_images, radius_A
from cryodrake.app.export import flipped_map
from cryodrake.app.folders import make_folder, refuse_taken
from cryodrake.app.maps_config import MapsConfig
from cryodrake.app.options import read_shared_options
from cryodrake.app.progress import open_screen
from cryodrake.app.volumes_config import VolumesConfig
from cryodrake.app.volumes_states import chosen_states
from cryodrake.errors import InputError
from cryodrake.fields.state_field import AbstractStateField
from cryodrake.fields.store import load_state_field
from cryodrake.io.mrc import write_map
from cryodrake.training.config import InputOptions
from cryodrake.training.events import AbstractReporter
from cryodrake.training.loading import choose_device
from cryodrake.training.state_files import write_state, write_z_values
from cryodrake.training.state_maps import StateMaps, maps_from_data


def main(config: VolumesConfig) -> None:
    """Writes the maps and their states, and says which.

    Raises:
        InputError: there is no such job or it has no states, the states asked for are not there, or the folder is taken.
    """
    options = job_options(config)
    z = chosen_states(config, require_latents_of_one_model(config.job).astype(np.float32))
    refuse_taken(config.out)
    with open_screen() as screen:
        write_maps_at(config, options, z, screen)
    print(f"  {config.out / name_of(0)}.mrc  the first of {len(z)} maps; z_values.txt beside it has their states")
    print(f"  {config.out / 'view.cxc'}  opens them in ChimeraX; {name_of(0)}.png … are pictures of them")


def job_options(config: MapsConfig) -> InputOptions:
    """How the job read its images.

    Raises:
        InputError: there is no such job.
    """
    return replace(read_shared_options(config.job / "job.toml", InputOptions), device=config.device)


def write_maps_at(config: MapsConfig, options: InputOptions, z: Float32[np.ndarray, "m z"], screen: AbstractReporter) -> list[Path]:
    """Maps at these states in a new folder, their states, stills and view.cxc. Returns the maps' paths.

    Raises:
        InputError: the job's files do not fit, or the folder cannot be made.
    """
    make = from_data if config.kind == "data" else decode
    make(config, options, z, screen)
    write_z_values(config.out, z)
    paths = [config.out / f"{name_of(i)}.mrc" for i in range(len(z))]
    write_series_views(config.out, paths)
    return paths


def name_of(i: int) -> str:
    """As cryoDRGN names them."""
    return f"vol_{i:03d}"


def decode(config: MapsConfig, options: InputOptions, z: Float32[np.ndarray, "m z"], screen: AbstractReporter) -> None:
    """The field's maps."""
    path = config.job / "checkpoints" / "field.safetensors"
    field = load_state_field(path).to(choose_device(config.device))
    if field.zdim != z.shape[1]:
        raise InputError(f"the field's states have {field.zdim} coordinates", where=path, expected=f"{z.shape[1]}, as latents.npy")
    box, pixel_size_A = sampling(field, config)
    make_folder(config.out)
    screen.phase("decode", len(z), "decoding maps")
    states = torch.from_numpy(z).to(field.device)
    maps = decoded_maps(field, states, box, pixel_size_A, radius_A(options, field.box_A))
    for i, volume in enumerate(maps):
        write_map(config.out / f"{name_of(i)}.mrc", turned(volume, config.flip).cpu().numpy(), pixel_size_A)
        screen.step(i + 1)


def from_data(config: MapsConfig, options: InputOptions, z: Float32[np.ndarray, "m z"], screen: AbstractReporter) -> None:
    """Maps, half maps and FSC of the images near each state."""
    data, pixel_size_A = latent_images(config.job, options, screen)
    make_folder(config.out)
    screen.phase("volumes", len(z), "back-projecting the images near each state")
    for i, state in enumerate(torch.from_numpy(z).to(data.latents.device)):
        found = maps_from_data(data, state)
        half_maps = torch.stack([turned(half, config.flip) for half in found.half_maps])
        hand = StateMaps(turned(found.map, config.flip), half_maps, found.fsc, found.n_images)
        write_state(config.out, name_of(i), hand, pixel_size_A)
        screen.step(i + 1)


def sampling(field: AbstractStateField, config: MapsConfig) -> tuple[int, float]:
    """Voxels and voxel size in Å: what is not given follows from the field of view, which changes only where both are."""
    box_A = field.box_A
    if config.apix is None:
        box = config.box or field.box
        return box, box_A / box
    return config.box or max(2, 2 * round(box_A / config.apix / 2)), config.apix


def turned(volume: Tensor, flip: bool) -> Tensor:
    """The map, or its mirror image."""
    return torch.from_numpy(np.ascontiguousarray(flipped_map(volume.cpu().numpy()))) if flip else volume
