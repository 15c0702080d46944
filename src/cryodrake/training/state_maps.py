"""Maps of states from the data: half maps, their FSC and a filtered map at any point of the latents' space.

Unlike a decoded map, which is a network's opinion, these are back-projected images (`inference.kernel_maps`), and two half sets
say how far to trust them. Where the poses come from a map of both half sets, as those in particles.star do, the FSC is
slightly too good, as is that of any consensus map made with such poses.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.fields.statistics import edge_px, flatten_solvent, signal_to_noise
from cryodrake.fields.target import from_sums
from cryodrake.inference.kernel_maps import BANDWIDTHS, kernel_sums
from cryodrake.inference.neighbours import nearest_first, squared_distances
from cryodrake.inference.reconstruct import solve
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.fsc import fsc


@dataclass(frozen=True, eq=False)
class LatentImages:
    """Images of known pose, half set and state: all that maps of states are made from.

    Attributes:
        shift_px: applied to an image it centres the particle.
        half: 1 or 2.
        precision: of each image's latent; None: equal.
        radius_px: of the sphere that holds the particle.
    """

    images: AbstractImages
    rotation: Float[Tensor, "n 3 3"]
    shift_px: Float[Tensor, "n 2"]
    half: Int64[Tensor, " n"]
    latents: Float[Tensor, "n z"]
    precision: Float[Tensor, "n z z"] | None
    radius_px: float


@dataclass(frozen=True, eq=False)
class StateMaps:
    """What the images near a state say.

    Attributes:
        map: of both half sets, filtered by their agreement, zero outside the sphere.
        half_maps: unfiltered.
        fsc: between them, under the sphere.
        n_images: the bandwidth of each shell, as the number of images in both half sets.
    """

    map: Float[Tensor, "d d d"]
    half_maps: Float[Tensor, "2 d d d"]
    fsc: Float[Tensor, " s"]
    n_images: Int64[Tensor, " s"]


def maps_from_data(data: LatentImages, z: Float[Tensor, " z"], bandwidths: int = BANDWIDTHS) -> StateMaps:
    """Maps at the state z, out to the images' Nyquist frequency."""
    grid = BallGrid(data.images.disc.box, data.images.disc.box / 2)
    nearest = nearest_first(squared_distances(data.latents, data.precision, z), data.half)
    found = kernel_sums(data.images, data.rotation, data.shift_px, nearest, grid, data.radius_px, bandwidths)
    half_maps = torch.stack([solve(half, grid) for half in found.sums])
    bare = [flatten_solvent(volume, data.radius_px, edge_px(grid.box)) for volume in half_maps]
    ssnr = signal_to_noise(found.sums[0], found.sums[1], grid, data.radius_px)
    both = from_sums(found.sums.sum(0), grid, data.radius_px, ssnr)
    return StateMaps(both.density[0], half_maps, fsc(bare[0], bare[1]), found.n_images)
