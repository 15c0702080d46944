"""Particle images beside what the map says they should look like: projections at their poses, with shift and CTF."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from cryodrake.data.coefficients_ctf import ctf_params
from cryodrake.data.images import Cleaner, read_clean
from cryodrake.data.images_frame import Frame, kinds_of
from cryodrake.errors import InputError
from cryodrake.io.particles import ParticleFile
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.ctf import ctf
from cryodrake.physics.disc import Disc
from cryodrake.physics.fourier import coeff_to_image, resample_volume
from cryodrake.physics.slices import raster, slice_ball

LARGEST_BOX = 96  # pictures of a hand's breadth
SMOOTH_A = 30.0  # resolution at which the images' Gaussian filter has fallen to 1/e: noise hides them otherwise

MapOf = Callable[[int], Float[Tensor, "d d d"]]


@dataclass(frozen=True, eq=False)
class Montage:
    """Attributes:
    rows: the particles shown.
    images: filtered, particles white; projections: with shift, CTF and the same filter.
    agreement: correlation of each image with its projection, over the window around the particle.
    """

    rows: Int[np.ndarray, " b"]
    images: Float32[np.ndarray, "b d d"]
    projections: Float32[np.ndarray, "b d d"]
    agreement: Float32[np.ndarray, " b"]


def montage(
    particles: ParticleFile, rows: Int[np.ndarray, " b"], map_of: MapOf, pixel_size_A: float, smooth_A: float = SMOOTH_A
) -> Montage:
    """Images and projections of these rows, in the frame of the maps.

    Args:
        particles: with images and poses.
        map_of: the map of a row's state; all of one size, and of `pixel_size_A`.

    Raises:
        InputError: the particles have no poses, or images that cannot be read.
    """
    table = particles.table
    if table.rotations is None or table.shifts_A is None:
        raise InputError("the particles have no poses", where=particles.path, expected="a finished job")
    first = map_of(int(rows[0]))
    frame = _frame(first.shape[-1], pixel_size_A)
    disc = Disc.build(frame.box)
    low_pass = torch.exp(-((disc.length * smooth_A / frame.box_A) ** 2))
    found = _images(particles, rows, frame, disc) * low_pass
    chosen = table.select(rows)
    params = ctf_params(chosen)
    transfer = torch.ones(len(rows), disc.n_points)
    if params is not None:
        transfer = ctf(params, disc.kxy, torch.full((len(rows),), frame.box_A))
    assert chosen.rotations is not None
    assert chosen.shifts_A is not None
    sits_at = -torch.from_numpy(chosen.shifts_A).float() / frame.pixel_size_A  # a stored shift is what brings it to the centre
    phase = -2 * torch.pi / frame.box * (sits_at @ disc.kxy.T)
    slices = _slices(rows, first, map_of, torch.from_numpy(chosen.rotations).float(), frame.box, disc)
    expected = slices * torch.polar(transfer, phase) * low_pass
    images, projections = coeff_to_image(disc.scatter(found)), coeff_to_image(disc.scatter(expected))
    agreement = _correlation(images, projections)
    if agreement.sum() < 0:  # the stack's particles are dark
        images, agreement = -images, -agreement
    return Montage(rows, images.numpy(), projections.numpy(), agreement.numpy())


def _frame(box: int, pixel_size_A: float) -> Frame:
    return Frame(min(box, LARGEST_BOX), box * pixel_size_A)


def _images(particles: ParticleFile, rows: Int[np.ndarray, " b"], frame: Frame, disc: Disc) -> Tensor:
    coefficients = torch.zeros(len(rows), disc.n_points, dtype=torch.complex64)
    for kind in kinds_of(particles.table.select(rows)):
        cleaner = Cleaner(kind, frame, disc, None)
        clean = read_clean(particles, rows[kind.rows], cleaner, "cpu")
        coefficients[torch.from_numpy(kind.rows)] = cleaner.coefficients(clean.images)
    return coefficients


def _slices(rows: Int[np.ndarray, " b"], first: Tensor, map_of: MapOf, rotations: Tensor, box: int, disc: Disc) -> Tensor:
    """`first` is the first row's map, which is known: a map may take long."""
    grid = BallGrid(box, box / 2)
    values = []
    ball, of = None, None
    for i, (row, rotation) in enumerate(zip(rows.tolist(), rotations, strict=True)):
        volume = first if i == 0 else map_of(row)
        if ball is None or volume is not of:  # one map for all is rasterised once
            ball, of = raster(resample_volume(volume.float(), box), grid), volume
        values.append(torch.view_as_complex(slice_ball(ball, grid, rotation[None], disc.kxy))[0])
    return torch.stack(values)


def _correlation(a: Float[Tensor, "b d d"], c: Float[Tensor, "b d d"]) -> Float[Tensor, " b"]:
    a, c = (x.flatten(1) - x.mean((1, 2))[:, None] for x in (a, c))
    return (a * c).sum(1) / (a.norm(dim=1) * c.norm(dim=1)).clamp(min=1e-20)
