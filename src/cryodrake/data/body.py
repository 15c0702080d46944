"""The interface of what is simulated: a structure that can be cut, turned in part, and brought to a density.

Positions are (x, y, z) in Å, as the structure's file has them; a map's origin is its voxel d//2.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """Where densities are formed; atoms are Gaussians that reach 1/e at `resolution_A`."""

    box: int
    pixel_size_A: float
    resolution_A: float

    @property
    def field_A(self) -> float:
        """Side of the box."""
        return self.box * self.pixel_size_A


@dataclass(frozen=True, eq=False)
class Mass:
    """Where a structure is: points and their weights, noise and solvent left out."""

    points_A: Float[np.ndarray, "m 3"]
    weights: Float[np.ndarray, " m"]

    def centre_A(self) -> Float[np.ndarray, " 3"]:
        """Centre of mass."""
        return np.average(self.points_A, axis=0, weights=self.weights)

    def principal_axes(self) -> Float[np.ndarray, "3 3"]:
        """Unit vectors in the columns, the longest axis last; the largest component of each is positive."""
        moved = self.points_A - self.centre_A()
        axes = np.linalg.eigh(moved.T @ (moved * self.weights[:, None]))[1]
        return axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(3)])

    def only(self, chosen: Bool[np.ndarray, " m"]) -> "Mass":
        """Some of the points."""
        return Mass(self.points_A[chosen], self.weights[chosen])

    def share_outside(self, origin_A: Float[np.ndarray, " 3"], field_A: float) -> float:
        """Share of the mass that a box around `origin_A` with sides of `field_A` leaves out."""
        is_outside = (np.abs(self.points_A - origin_A) > field_A / 2).any(1)
        return float(self.weights[is_outside].sum() / self.weights.sum())


class AbstractBody(ABC):
    """A structure. A part of it is one number from 0 to 1 for each of its elements (atoms, or voxels)."""

    @abstractmethod
    def mass(self) -> Mass:
        """Where it is.

        Raises:
            InputError: it is empty.
        """

    @abstractmethod
    def centre_A(self) -> Float[np.ndarray, " 3"]:
        """Its centre of mass, all of it."""

    @abstractmethod
    def beyond(self, normal: Float[np.ndarray, " 3"], offset_A: float) -> Float[np.ndarray, "*p"]:
        """The part on the far side of the plane normal · x = offset."""

    @abstractmethod
    def with_turned(
        self, part: Float[np.ndarray, "*p"], rotation: Float[np.ndarray, "3 3"], about_A: Float[np.ndarray, " 3"]
    ) -> "AbstractBody":
        """The structure with a part of it turned about a point: x becomes rotation (x - about) + about."""

    @abstractmethod
    def density(self, grid: Grid, origin_A: Float[np.ndarray, " 3"]) -> Float[Tensor, "d d d"]:
        """On a grid whose centre is at `origin_A`."""
