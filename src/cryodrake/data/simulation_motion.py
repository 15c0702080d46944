"""The motion that a config asks for: its states, from the structures it names."""

from collections.abc import Callable

from cryodrake.data.body import AbstractBody
from cryodrake.data.body_atoms import AtomBody
from cryodrake.data.body_map import MapBody
from cryodrake.data.motion import AbstractMotion
from cryodrake.data.motion_composition import Composition
from cryodrake.data.motion_cut import Cut, cut_by_chains, cut_by_plane
from cryodrake.data.motion_hinge import Hinge
from cryodrake.data.motion_interpolate import Interpolate
from cryodrake.data.motion_none import NoMotion
from cryodrake.data.motion_turn import Turn
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.errors import InputError

MAP_SUFFIXES = (".mrc", ".map", ".ccp4", ".mrc.gz", ".map.gz")


def load_motion(config: SimulateConfig) -> AbstractMotion:
    """The states of `config`.

    Raises:
        InputError: a file is missing or cannot be read, maps and models are mixed, or the motion needs other ones.
    """
    match config.motion:
        case "none":
            names = tuple(map(str, config.structures)) or ("built-in complex",)
            return NoMotion(names, _sources(config))
        case "hinge":
            return Hinge(_cut(config), config.from_deg, config.to_deg, config.states)
        case "turn":
            return Turn(_cut(config), config.states)
        case "interpolate":
            first, second = (_atoms(source(), config) for source in _sources(config))
            return Interpolate(first, second, config.states)
        case "composition":
            return Composition(_atoms(_sources(config)[0](), config), config.subsets)


def _sources(config: SimulateConfig) -> list[Callable[[], AbstractBody]]:
    """What gives each structure. Models are read once; maps, which are larger, whenever they are asked for."""
    if not config.structures:
        built_in = AtomBody.built_in(config.complex_seed)
        return [lambda: built_in]
    is_map = [str(path).lower().endswith(MAP_SUFFIXES) for path in config.structures]
    if all(is_map):
        return [lambda path=path: MapBody.read(path) for path in config.structures]  # type: ignore[misc]
    if any(is_map):
        raise InputError("maps and models are mixed", where="--structures", expected="maps only, or models only")
    models = [AtomBody.read(path) for path in config.structures]
    return [lambda body=body: body for body in models]  # type: ignore[misc]


def _cut(config: SimulateConfig) -> Cut:
    body = _sources(config)[0]()
    if not config.moving:
        return cut_by_plane(body, config.moving_share)
    names = [name.strip() for given in config.moving for name in given.split(",")]
    if not isinstance(body, AtomBody):
        raise InputError("a map has no chains", where="--moving", do="give --moving-share, or an atomic model")
    return cut_by_chains(body, names)


def _atoms(body: AbstractBody, config: SimulateConfig) -> AtomBody:
    if not isinstance(body, AtomBody):
        raise InputError("a map has no atoms", where="--structures", expected=f"atomic models for --motion {config.motion}")
    return body
