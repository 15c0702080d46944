"""A map's isosurface as a mesh of triangles (Lewiner et al. 2003, J. Graph. Tools 8, 1, in scikit-image)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from skimage.measure import marching_cubes

from cryodrake.analysis.figures_surface import contour_level, without_dust
from cryodrake.physics.fourier import resample_volume

LARGEST_BOX = 128  # a finer mesh shows no more on a screen, and takes long to send


@dataclass(frozen=True, eq=False)
class Surface:
    """Attributes:
    vertices_A: (x, y, z) from the map's centre, index d//2.
    faces: three vertices each, anticlockwise from outside.
    """

    vertices_A: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]


@dataclass(frozen=True, eq=False)
class Viewable:
    """A map small enough to be looked at, and what its slider needs.

    Attributes:
        volume: (z, y, x), `LARGEST_BOX` voxels at most.
        sigma: the map's standard deviation, and mean its mean: a level in σ is mean + level·sigma.
        suggested: Otsu's level between particle and surroundings, in σ; highest: the largest density, in σ.
    """

    volume: Float[np.ndarray, "d d d"]
    pixel_size_A: float
    mean: float
    sigma: float
    suggested: float
    highest: float

    @classmethod
    def of(cls, volume: Float[np.ndarray, "d d d"], pixel_size_A: float) -> "Viewable":
        """From any cubic map."""
        box = volume.shape[0]
        small = torch.from_numpy(np.asarray(volume, dtype=np.float32))
        if box > LARGEST_BOX:
            small = resample_volume(small, LARGEST_BOX)
        mean, sigma = float(small.mean()), float(small.std())
        unit = sigma if sigma > 0 else 1.0
        level = contour_level(small) if sigma > 0 else mean
        highest = (float(small.max()) - mean) / unit
        return cls(small.numpy(), pixel_size_A * box / len(small), mean, unit, (level - mean) / unit, highest)

    def level(self, sigmas: float) -> float:
        """The density that is this many σ above the mean."""
        return self.mean + sigmas * self.sigma

    def surface(self, sigmas: float, hide_dust: bool = False) -> Surface:
        """The isosurface at this many σ."""
        level = self.level(sigmas)
        volume = without_dust(torch.from_numpy(self.volume), level).numpy() if hide_dust else self.volume
        return isosurface(volume, level, self.pixel_size_A)


def isosurface(volume: Float[np.ndarray, "d d d"], level: float, pixel_size_A: float) -> Surface:
    """Triangles between densities below and above `level`; none where all are on one side."""
    if not volume.min() < level < volume.max():
        return Surface(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    # "descent": dense is inside. Corners come in array order (z, y, x); turning that into (x, y, z) turns the faces round.
    vertices, faces, _, _ = marching_cubes(volume, level, gradient_direction="descent", allow_degenerate=False)
    centred = (vertices - volume.shape[0] // 2) * pixel_size_A
    return Surface(np.ascontiguousarray(centred[:, ::-1], np.float32), np.ascontiguousarray(faces, np.int32))
