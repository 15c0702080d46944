"""Interpolate: from one atomic model to another of the same molecule, atom by atom on straight lines.

Straight lines keep the ends exact and shorten what turns by θ to cos(θ/2) half-way: good for what density shows at the
resolutions of simulated images, not for chemistry.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from cryodrake.data.body_atoms import AtomBody
from cryodrake.data.motion import AbstractMotion, State
from cryodrake.errors import InputError

_FEWEST_ATOMS = 10
_ROUNDS = 100
_OUTLIER = 2.5  # times the median distance: an atom that moves
_LEAST_A = 0.1


class Interpolate(AbstractMotion):
    """n states; the coordinate is the fraction of the way, 0 the first model and 1 the second.

    Atoms are those of both models (chain, residue number, atom name); the second is superposed on the first.

    Raises:
        InputError: the models have too few atoms in common.
    """

    def __init__(self, first: AtomBody, second: AtomBody, n: int):
        _, i, j = np.intersect1d(first.identity, second.identity, return_indices=True)
        if len(i) < _FEWEST_ATOMS:
            raise InputError(
                f"the two models share {len(i)} atoms (chain, residue number and atom name)",
                where="--structures", expected="two conformations of one molecule",
            )  # fmt: skip
        order = np.argsort(i)
        is_kept = np.zeros(len(first), bool)
        is_kept[i] = True
        self._first = first.only(is_kept)
        self._second_A = superpose(second.positions_A[j[order]], self._first.positions_A)
        self.states = tuple(State(f"fraction {f:.4f}", float(f)) for f in np.linspace(0, 1, n))

    def unmoved(self) -> AtomBody:
        return self._first

    def body(self, state: int) -> AtomBody:
        fraction = self.states[state].coordinate
        assert fraction is not None
        return replace(self._first, positions_A=(1 - fraction) * self._first.positions_A + fraction * self._second_A)


def superpose(moving_A: Float[np.ndarray, "a 3"], fixed_A: Float[np.ndarray, "a 3"]) -> Float[np.ndarray, "a 3"]:
    """`moving_A` brought onto `fixed_A` by least squares (Kabsch 1976, Acta Cryst. A32, 922) over what is rigid.

    Atoms that end up farther apart than 2.5 times the median are left out of the next round, until it is the same ones.
    """
    is_rigid = np.ones(len(fixed_A), bool)
    for _ in range(_ROUNDS):
        from_A, to_A = moving_A[is_rigid].mean(0), fixed_A[is_rigid].mean(0)
        rotation, _ = Rotation.align_vectors(fixed_A[is_rigid] - to_A, moving_A[is_rigid] - from_A)
        placed_A = rotation.apply(moving_A - from_A) + to_A
        apart_A = np.linalg.norm(placed_A - fixed_A, axis=1)
        now = apart_A <= max(_OUTLIER * float(np.median(apart_A)), _LEAST_A)
        if (now == is_rigid).all():
            break
        is_rigid = now
    return placed_A
