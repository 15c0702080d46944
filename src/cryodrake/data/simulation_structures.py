"""The densities that are simulated: one for each state, on one grid."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from cryodrake.data.body import AbstractBody, Grid
from cryodrake.data.body_map import MapBody
from cryodrake.data.motion import AbstractMotion, State
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.data.simulation_motion import load_motion
from cryodrake.errors import InputError

_SHARE_OF_BOX = 0.65  # that a model's diameter takes up where no pixel size is given
_LOST_SHARE = 0.01  # of the mass, that a motion may carry out of the box


@dataclass(frozen=True)
class Structures:
    """The states.

    Attributes:
        states: their names and coordinates.
        pixel_size_A: of the images as written.
        density: computes a state on the grid on which images are formed; anew each time, so that memory holds one.
    """

    states: tuple[State, ...]
    pixel_size_A: float
    density: Callable[[int], Float[Tensor, "d d d"]]

    def __len__(self) -> int:
        return len(self.states)


def load_structures(config: SimulateConfig) -> Structures:
    """The states that `config` describes.

    Raises:
        InputError: a file is missing or cannot be read, or does not do for the motion.
    """
    recipe = config.recipe()
    motion = load_motion(config)
    first = motion.unmoved()
    # One origin for all: what moves between the states is part of the truth.
    common_A = np.zeros(3) if isinstance(first, MapBody) and not config.centre else first.centre_A()

    def origin_A(body: AbstractBody) -> Float[np.ndarray, " 3"]:
        return body.centre_A() if config.centre_each else common_A

    if isinstance(first, MapBody):
        pixel_size_A = config.apix or first.volume.shape[0] * first.pixel_size_A / recipe.box
    else:
        pixel_size_A = config.apix or _pixel_size_A(motion, origin_A, recipe.box)
    form_pixel_A = pixel_size_A * recipe.box / recipe.form_box
    grid = Grid(recipe.form_box, form_pixel_A, config.resolution_A or 2 * form_pixel_A)

    def density(state: int) -> Tensor:
        body = motion.body(state)
        origin = origin_A(body)
        if config.motion != "none":
            _refuse_loss(body, origin, grid, motion.states[state].name)
        return body.density(grid, origin)

    return Structures(motion.states, pixel_size_A, density)


def _pixel_size_A(motion: AbstractMotion, origin_A: Callable[[AbstractBody], Float[np.ndarray, " 3"]], box: int) -> float:
    """What gives the widest state its share of the box; rounded to 0.01 Å: a number that people can type."""
    radius_A = 0.0
    for state in range(len(motion.states)):
        body = motion.body(state)
        radius_A = max(radius_A, float(np.linalg.norm(body.mass().points_A - origin_A(body), axis=1).max()))
    return max(round(2 * radius_A / (_SHARE_OF_BOX * box), 2), 0.01)


def _refuse_loss(body: AbstractBody, origin_A: Float[np.ndarray, " 3"], grid: Grid, state: str) -> None:
    lost = body.mass().share_outside(origin_A, grid.field_A)
    if lost > _LOST_SHARE:
        raise InputError(
            f"in the state {state!r} {lost:.0%} of the mass lies outside the box of {grid.field_A:.0f} Å",
            where="--motion", do="give a larger --apix, --centre, or a smaller motion",
        )  # fmt: skip
