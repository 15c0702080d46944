"""A structure in two parts with a joint between them: what hinges and turns move, and about which point."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from cryodrake.data.body import AbstractBody, Mass
from cryodrake.data.body_atoms import AtomBody
from cryodrake.errors import InputError

_NEAR_SHARE = 0.05  # of the mass: what counts as close to the plane
_SAME_A = 1e-3
_CONTACT_A = 8.0  # atoms of two parts that are this near touch


@dataclass(frozen=True, eq=False)
class Cut:
    """A structure and its part that moves.

    Attributes:
        part: as the body has it.
        rest, moving: the mass of either side.
        joint_A: the point that holds the two together.
        away: unit vector from the rest to the part.
        across: unit vector along the longer side of the joint, perpendicular to `away`.
    """

    body: AbstractBody
    part: Float[np.ndarray, "*p"]
    rest: Mass
    moving: Mass
    joint_A: Float[np.ndarray, " 3"]
    away: Float[np.ndarray, " 3"]
    across: Float[np.ndarray, " 3"]

    def turned(self, axis: Float[np.ndarray, " 3"], angle_deg: float) -> AbstractBody:
        """The structure with its part turned about an axis (unit) through the joint, right-handed."""
        return self.body.with_turned(self.part, rotation_about(axis, angle_deg), self.joint_A)


def rotation_about(axis: Float[np.ndarray, " 3"], angle_deg: float) -> Float[np.ndarray, "3 3"]:
    """The right-handed rotation about a unit vector."""
    return Rotation.from_rotvec(axis * np.deg2rad(angle_deg)).as_matrix()


def cut_by_plane(body: AbstractBody, share: float) -> Cut:
    """The part is the `share` of the mass beyond a plane across the longest axis, on the side where the structure tapers.

    Raises:
        InputError: it is so small a structure that nothing is left on one side.
    """
    mass = body.mass()
    centre_A, normal = mass.centre_A(), mass.principal_axes()[:, 2]
    along_A = (mass.points_A - centre_A) @ normal
    if (mass.weights * along_A**3).sum() < 0:  # the longer tail is on the other side
        normal, along_A = -normal, -along_A
    order = np.argsort(along_A)
    below = np.cumsum(mass.weights[order]) / mass.weights.sum()
    # Half-way between the last point of the rest and the first of the part.
    last = max(min(int((below < 1 - share).sum()), len(order) - 2), 0)
    at_A = float(along_A[order[last : last + 2]].mean())
    away_A = np.abs(along_A - at_A)
    nearest = np.argsort(away_A)
    is_nearer = np.cumsum(mass.weights[nearest]) < _NEAR_SHARE * mass.weights.sum()
    near = mass.only(away_A <= away_A[nearest[is_nearer.sum()]] + _SAME_A)  # whole layers of voxels
    joint_A = near.centre_A()
    joint_A = joint_A - ((joint_A - centre_A) @ normal - at_A) * normal
    is_moving = along_A > at_A
    if is_moving.all() or not is_moving.any():
        raise InputError("nothing is left on one side of the cut", where="--moving-share", expected="a larger part, or rest")
    part = body.beyond(normal, at_A + float(centre_A @ normal))
    return Cut(body, part, mass.only(~is_moving), mass.only(is_moving), joint_A, normal, _longest_across(near, normal))


def cut_by_chains(body: AtomBody, chains: Sequence[str]) -> Cut:
    """The part is these chains; the joint lies where they touch the rest.

    Raises:
        InputError: there is no such chain, or nothing else is left.
    """
    is_moving = body.of_chains(chains, "--moving")
    if is_moving.all():
        raise InputError("all chains move", where="--moving", expected="some of the chains")
    mass = body.mass()
    moving, rest = mass.only(is_moving), mass.only(~is_moving)
    to_rest_A, to_moving_A = _distances(moving, rest), _distances(rest, moving)
    touching_A = max(_CONTACT_A, float(to_rest_A.min()) + 1)
    contacts = [moving.only(to_rest_A < touching_A), rest.only(to_moving_A < touching_A)]
    joint_A = np.mean([side.centre_A() for side in contacts], axis=0)
    near = Mass(*(np.concatenate(both) for both in zip(*((c.points_A, c.weights) for c in contacts), strict=True)))
    away = moving.centre_A() - joint_A
    away = away / np.linalg.norm(away)
    return Cut(body, is_moving.astype(float), rest, moving, joint_A, away, _longest_across(near, away))


def _distances(of: Mass, to: Mass) -> Float[np.ndarray, " m"]:
    return KDTree(to.points_A).query(of.points_A)[0]


def _longest_across(near: Mass, normal: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    """The longest axis of what is seen along `normal`: turned about it, the two sides of a cut part least."""
    flat = Mass(near.points_A - np.outer(near.points_A @ normal, normal), near.weights)
    axis = flat.principal_axes()[:, 2]
    axis = axis - (axis @ normal) * normal
    return axis / np.linalg.norm(axis)
