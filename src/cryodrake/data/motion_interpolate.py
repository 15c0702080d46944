"""Interpolate: from one atomic model to another of the same molecule, atom by atom on straight lines.

Straight lines keep the ends exact and shorten what turns by θ to cos(θ/2) half-way: good for what density shows at the
resolutions of simulated images, not for chemistry.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from cryodrake.data.body_atoms import AtomBody
from cryodrake.data.motion import AbstractMotion, State
from cryodrake.errors import InputError

_FEWEST_ATOMS = 10
_STARTS = 8
_ROUNDS = 30
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

    First over the half of the atoms that fits best (least trimmed squares, by the concentration steps of Rousseeuw & Van
    Driessen 2006, Data Min. Knowl. Discov. 12, 29; each start takes neighbours, which seldom belong to two rigid parts),
    then over all that end up within 2.5 times the median distance.
    """
    found: list[tuple[float, Bool[np.ndarray, " a"]]] = []
    for start in fixed_A[np.linspace(0, len(fixed_A) - 1, _STARTS).astype(int)]:
        is_near = _smallest(np.linalg.norm(fixed_A - start, axis=1), len(fixed_A) // _STARTS + 3)
        is_rigid = _concentrated(moving_A, fixed_A, is_near, lambda apart_A: _smallest(apart_A, (len(apart_A) + 1) // 2))
        apart_A = np.linalg.norm(_placed(moving_A, fixed_A, is_rigid) - fixed_A, axis=1)
        found.append((float((apart_A[is_rigid] ** 2).sum()), is_rigid))
    best = min(found, key=lambda of: of[0])[1]
    is_rigid = _concentrated(
        moving_A, fixed_A, best, lambda apart_A: apart_A <= max(_OUTLIER * float(np.median(apart_A)), _LEAST_A)
    )
    return _placed(moving_A, fixed_A, is_rigid)


def _smallest(values: Float[np.ndarray, " a"], n: int) -> Bool[np.ndarray, " a"]:
    chosen = np.zeros(len(values), bool)
    chosen[np.argsort(values, kind="stable")[:n]] = True
    return chosen


def _concentrated(
    moving_A: Float[np.ndarray, "a 3"],
    fixed_A: Float[np.ndarray, "a 3"],
    by: Bool[np.ndarray, " a"],
    choose: Callable[[Float[np.ndarray, " a"]], Bool[np.ndarray, " a"]],
) -> Bool[np.ndarray, " a"]:
    """Superposed on some atoms, others are chosen by their distances, and so on until it is the same ones."""
    for _ in range(_ROUNDS):
        before, by = by, choose(np.linalg.norm(_placed(moving_A, fixed_A, by) - fixed_A, axis=1))
        if (before == by).all():
            break
    return by


def _placed(
    moving_A: Float[np.ndarray, "a 3"], fixed_A: Float[np.ndarray, "a 3"], by: Bool[np.ndarray, " a"]
) -> Float[np.ndarray, "a 3"]:
    from_A, to_A = moving_A[by].mean(0), fixed_A[by].mean(0)
    rotation, _ = Rotation.align_vectors(fixed_A[by] - to_A, moving_A[by] - from_A)
    return rotation.apply(moving_A - from_A) + to_A
