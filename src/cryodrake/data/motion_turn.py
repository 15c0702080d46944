"""Turn: the part goes round a full circle about a bond-like axis, as the Fab of CryoBench's IgG-1D about a dihedral.

The axis is tilted from the arm's own direction, so that the arm sweeps a cone; about its own axis it would hardly change.
"""

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from cryodrake.data.body import AbstractBody
from cryodrake.data.motion import AbstractMotion, State
from cryodrake.data.motion_cut import Cut, rotation_about

TILT_DEG = 35.0
_TRIES = 12  # directions of the tilt, and angles at which each is judged
_POINTS = 400
_CLASH_A = 6.0


class Turn(AbstractMotion):
    """n states, equally spaced from 0° to 360° exclusive; 0° is the structure as given. The coordinate is the angle."""

    def __init__(self, cut: Cut, n: int):
        self.cut = cut
        self.axis = cone_axis(cut)
        self.states = tuple(State(f"turn {angle:.2f} deg", float(angle)) for angle in np.arange(n) * 360 / n)

    def unmoved(self) -> AbstractBody:
        return self.cut.body

    def body(self, state: int) -> AbstractBody:
        angle_deg = self.states[state].coordinate
        assert angle_deg is not None
        return self.cut.turned(self.axis, angle_deg)


def cone_axis(cut: Cut) -> Float[np.ndarray, " 3"]:
    """Unit vector `TILT_DEG` from the line that runs from the joint to the arm's centre of mass.

    It can be tilted to any side: the one is taken where the arm, on its way round, runs into the rest least.
    """
    arm = cut.moving.centre_A() - cut.joint_A
    arm = arm / np.linalg.norm(arm)
    side = np.cross(arm, np.eye(3)[np.abs(arm).argmin()])
    tilted = rotation_about(side / np.linalg.norm(side), TILT_DEG) @ arm
    rest = KDTree(cut.rest.points_A)
    points_A = cut.moving.points_A[:: max(1, len(cut.moving.points_A) // _POINTS)] - cut.joint_A
    angles_deg = np.arange(_TRIES) * 360 / _TRIES

    def clashes(axis: Float[np.ndarray, " 3"]) -> int:
        around = np.concatenate([points_A @ rotation_about(axis, angle).T for angle in angles_deg])
        return int(np.isfinite(rest.query(around + cut.joint_A, distance_upper_bound=_CLASH_A)[0]).sum())

    return min((rotation_about(arm, angle) @ tilted for angle in angles_deg), key=clashes)
