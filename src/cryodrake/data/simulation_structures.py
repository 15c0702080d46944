"""The densities that are simulated: the built-in complex, atomic models, or maps; one state each, on one grid."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.data.density import centre_of_mass_px, gaussian_density, resample
from cryodrake.data.procedural import RESIDUE_ELECTRONS, procedural_complex
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.errors import InputError
from cryodrake.io.atoms import read_atoms
from cryodrake.io.mrc import read_map

MAP_SUFFIXES = (".mrc", ".map", ".ccp4", ".mrc.gz", ".map.gz")
_SHARE_OF_BOX = 0.65  # that a model's diameter takes up where no pixel size is given

Model = tuple[Float[Tensor, "a 3"], Float[Tensor, " a"]]  # positions in Å, weights


@dataclass(frozen=True)
class Structures:
    """The states.

    Attributes:
        names: where each comes from.
        pixel_size_A: of the images as written.
        density: computes a state on the grid on which images are formed; anew each time, so that memory holds one.
    """

    names: tuple[str, ...]
    pixel_size_A: float
    density: Callable[[int], Float[Tensor, "d d d"]]

    def __len__(self) -> int:
        return len(self.names)


def load_structures(config: SimulateConfig) -> Structures:
    """The states that `config` names.

    Raises:
        InputError: a file is missing or cannot be read, or maps and models are mixed.
    """
    if not config.structures:
        positions = torch.from_numpy(procedural_complex(config.complex_seed))
        return _from_atoms(config, ("built-in complex",), [(positions, torch.full((len(positions),), RESIDUE_ELECTRONS))])
    is_map = [str(path).lower().endswith(MAP_SUFFIXES) for path in config.structures]
    if all(is_map):
        return _from_maps(config)
    if any(is_map):
        raise InputError("maps and models are mixed", where="--structures", expected="maps only, or models only")
    names = tuple(str(path) for path in config.structures)
    return _from_atoms(config, names, [_read_model(path) for path in config.structures])


def _read_model(path: Path) -> Model:
    atoms = read_atoms(path)
    # Scattering at the resolutions in question goes roughly with the electrons.
    return torch.from_numpy(atoms.positions_A), torch.from_numpy(atoms.atomic_number * atoms.occupancy).float()


def _from_maps(config: SimulateConfig) -> Structures:
    recipe = config.recipe()
    first, first_pixel_A = read_map(config.structures[0])
    pixel_size_A = config.apix or first.shape[0] * first_pixel_A / recipe.box
    # One origin for all: what moves between the states is part of the truth.
    origin_A = centre_of_mass_px(torch.from_numpy(first)) * first_pixel_A if config.centre else None

    def density(state: int) -> Tensor:
        volume, own_pixel_A = read_map(config.structures[state])
        form_pixel_A = pixel_size_A * recipe.box / recipe.form_box
        return resample(torch.from_numpy(volume), own_pixel_A, recipe.form_box, form_pixel_A, origin_A)

    return Structures(tuple(map(str, config.structures)), pixel_size_A, density)


def _from_atoms(config: SimulateConfig, names: tuple[str, ...], models: list[Model]) -> Structures:
    recipe = config.recipe()
    positions, weights = models[0]
    origin_A = (positions * weights[:, None]).sum(0) / weights.sum()
    radius_A = max(float((p - origin_A).norm(dim=1).max()) for p, _ in models)
    # Rounded to 0.01 Å: a number that people can type.
    pixel_size_A = config.apix or max(round(2 * radius_A / (_SHARE_OF_BOX * recipe.box), 2), 0.01)
    form_pixel_A = pixel_size_A * recipe.box / recipe.form_box

    def density(state: int) -> Tensor:
        positions, weights = models[state]
        resolution_A = config.resolution_A or 2 * form_pixel_A
        return gaussian_density(positions - origin_A, weights, recipe.form_box, form_pixel_A, resolution_A)

    return Structures(names, pixel_size_A, density)
