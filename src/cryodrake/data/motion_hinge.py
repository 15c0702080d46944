"""Hinge: the part swings to and fro about an axis that lies in the cut."""

import numpy as np

from cryodrake.data.body import AbstractBody
from cryodrake.data.motion import AbstractMotion, State
from cryodrake.data.motion_cut import Cut


class Hinge(AbstractMotion):
    """n states from one angle to the other in equal steps; at 0° the structure is as given. The coordinate is the angle."""

    def __init__(self, cut: Cut, from_deg: float, to_deg: float, n: int):
        self.cut = cut
        self.states = tuple(State(f"hinge {angle:+.2f} deg", float(angle)) for angle in np.linspace(from_deg, to_deg, n))

    def unmoved(self) -> AbstractBody:
        return self.cut.body

    def body(self, state: int) -> AbstractBody:
        angle_deg = self.states[state].coordinate
        assert angle_deg is not None
        return self.cut.turned(self.cut.across, angle_deg)
