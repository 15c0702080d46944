"""A map as a body: a part is cut out with a soft edge, turned by splines, and added to what is left.

What the edge takes from the part it leaves in the rest, so the unturned parts add up to the map, and each keeps its mass.
Quintic splines (Unser 1999, IEEE Signal Process. Mag. 16, 22): against turned Gaussians their error is, relative in power,
1e-6 at a quarter of the sampling frequency, 1e-4 at a third, 2e-2 at 0.45. Maps are turned on their own grid, which is
mostly finer than the images'.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from cryodrake.data.body import AbstractBody, Grid, Mass
from cryodrake.data.density import centre_of_mass_px, resample
from cryodrake.errors import InputError
from cryodrake.io.mrc import read_map
from cryodrake.physics.fourier import centred_resize

_EDGE_PX = 4.0  # width of the raised cosine across a cut
_SOLVENT = 0.1  # of the highest density: what is below is no mass
_MARGIN_PX = 4


@dataclass(frozen=True, eq=False)
class MapBody(AbstractBody):
    """A density map (z, y, x)."""

    volume: Float[np.ndarray, "d d d"]
    pixel_size_A: float

    @classmethod
    def read(cls, path: Path) -> "MapBody":
        """An MRC file.

        Raises:
            InputError: it is missing or not a cubic map.
        """
        return cls(*read_map(path))

    def mass(self) -> Mass:
        if not self.volume.max() > 0:
            raise InputError("the map has no density above zero", where="--structures", expected="particles that are positive")
        at = np.argwhere(self.volume > _SOLVENT * self.volume.max())
        points_A = (at[:, ::-1] - self.volume.shape[0] // 2) * self.pixel_size_A
        return Mass(points_A, self.volume[tuple(at.T)].astype(float))

    def centre_A(self) -> Float[np.ndarray, " 3"]:
        return centre_of_mass_px(torch.from_numpy(self.volume)).double().numpy() * self.pixel_size_A

    def beyond(self, normal: Float[np.ndarray, " 3"], offset_A: float) -> Float[np.ndarray, "d d d"]:
        axis = (np.arange(self.volume.shape[0]) - self.volume.shape[0] // 2) * self.pixel_size_A
        beyond_A = axis[:, None, None] * normal[2] + axis[:, None] * normal[1] + axis * normal[0] - offset_A
        across = np.clip(beyond_A / (self.pixel_size_A * _EDGE_PX), -0.5, 0.5)
        return (0.5 * (1 + np.sin(np.pi * across))).astype(np.float32)

    def with_turned(
        self, part: Float[np.ndarray, "d d d"], rotation: Float[np.ndarray, "3 3"], about_A: Float[np.ndarray, " 3"]
    ) -> "MapBody":
        """The box grows where the turned part needs it."""
        moving = MapBody(self.volume * part, self.pixel_size_A)
        turned = moving._turned(rotation, about_A)
        rest = centred_resize(torch.from_numpy(self.volume - moving.volume), len(turned), 3).numpy()
        return MapBody(rest + turned, self.pixel_size_A)

    def _turned(self, rotation: Float[np.ndarray, "3 3"], about_A: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "d2 d2 d2"]:
        reach_A = np.abs((self.mass().points_A - about_A) @ rotation.T + about_A).max()
        d = self.volume.shape[0]
        box = max(d, 2 * (math.ceil(reach_A / self.pixel_size_A) + _MARGIN_PX))
        # A voxel of the turned map takes the value from where it came; indices run (z, y, x).
        back = rotation.T[::-1, ::-1]
        about = about_A[::-1] / self.pixel_size_A
        offset = about + d // 2 - back @ (about + box // 2)
        return ndimage.affine_transform(self.volume, back, offset, (box,) * 3, order=5, output=np.float32)

    def density(self, grid: Grid, origin_A: Float[np.ndarray, " 3"]) -> Float[Tensor, "d d d"]:
        # With its own origin and the same grid a map stays as it is.
        origin = torch.from_numpy(origin_A).float() if origin_A.any() else None
        return resample(torch.from_numpy(self.volume), self.pixel_size_A, grid.box, grid.pixel_size_A, origin)
