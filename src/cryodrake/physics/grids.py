"""Nested grids of rotations and shifts.

Rotations: HEALPix directions (nside 2^order, nested ordering; Górski et al. 2005) × 6·2^order in-plane angles. Pixel p of one
order has children 4p…4p+3 in the next and in-plane angle j has children 2j, 2j+1, so a rotation has 8 children (near the
poles, where rot jumps between pixels, a child may lie more than a cell away). Order 1 is 48 × 12 = 576 (30°), order 2 is
192 × 24 = 4608 (15°). Yershova et al. 2010, IJRR 29, 801.
Index of a rotation: pixel · n_inplane + j.
"""

import math

import healpix
import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.physics.rotations import euler_deg_to_matrix, matrix_to_euler_deg

GOLDEN = (math.sqrt(5) - 1) / 2  # of a step, from ring to ring


def n_inplane(order: int) -> int:
    return 6 * 2**order


def n_rotations(order: int) -> int:
    """12·4^order directions × 6·2^order in-plane angles."""
    return 12 * 4**order * n_inplane(order)


def spacing_deg(order: int) -> float:
    """In-plane step; the HEALPix directions lie about as far apart (58.6°/nside)."""
    return 360.0 / n_inplane(order)


def rotations_of(order: int, index: Int64[Tensor, " q"]) -> Float[Tensor, "q 3 3"]:
    """Rotation matrices of grid indices. In-plane angle j sits at the centre of its cell, (j + ½)·spacing."""
    pixel, j = index // n_inplane(order), index % n_inplane(order)
    tilt, rot = healpix.pix2ang(2**order, pixel.cpu().numpy(), nest=True)
    psi = (j.cpu().double() + 0.5) * spacing_deg(order)
    euler = torch.stack([torch.from_numpy(np.rad2deg(rot)), torch.from_numpy(np.rad2deg(tilt)), psi], dim=1)
    return euler_deg_to_matrix(euler).float().to(index.device)


def all_rotations(order: int, device: str | torch.device = "cpu") -> Float[Tensor, "q 3 3"]:
    """The whole grid, in index order (direction-major)."""
    return rotations_of(order, torch.arange(n_rotations(order))).to(device)


def base_rotations(order: int, device: str | torch.device = "cpu") -> Float[Tensor, "m 3 3"]:
    """A quarter of the grid: `turned` makes all of it, in another order.

    Directions are symmetric about the centre and in-plane angles about 0: (rot, tilt, ψ) seen from behind is (rot + 180°,
    180° - tilt, -ψ).
    """
    n = n_inplane(order)
    tilt, rot = healpix.pix2ang(2**order, np.arange(12 * 4**order), nest=True)
    height, equator = np.cos(tilt), np.abs(np.cos(tilt)) < 1e-9
    pixel = torch.from_numpy(np.flatnonzero(np.where(equator, rot % (2 * np.pi) < np.pi, height > 0)))
    return rotations_of(order, (pixel[:, None] * n + torch.arange(n // 2)).flatten()).to(device)


def children(order: int, index: Int64[Tensor, "*q"]) -> Int64[Tensor, "*q 8"]:
    """Indices, at order + 1, of the eight cells that cut each cell."""
    pixel, j = index // n_inplane(order), index % n_inplane(order)
    p = torch.arange(4, device=index.device)
    c = torch.arange(2, device=index.device)
    kids = (4 * pixel[..., None, None] + p[:, None]) * n_inplane(order + 1) + 2 * j[..., None, None] + c
    return kids.flatten(-2)


def index_of(order: int, rotations: Float[Tensor, "*q 3 3"]) -> Int64[Tensor, " *q"]:
    """The cell that holds each rotation; of a grid's own rotations, their indices."""
    rot, tilt, psi = matrix_to_euler_deg(rotations).cpu().double().unbind(-1)
    pixel = torch.from_numpy(np.asarray(healpix.ang2pix(2**order, tilt.deg2rad().numpy(), rot.deg2rad().numpy(), nest=True)))
    j = (psi.remainder(360.0) / spacing_deg(order)).long() % n_inplane(order)
    return (pixel.view(j.shape).long() * n_inplane(order) + j).to(rotations.device)


def nearest_children(order: int, index: Int64[Tensor, " q"]) -> Int64[Tensor, "q 8"]:
    """Of the four directions at order + 1 that cut each cell's, with any in-plane angle, the eight nearest rotations.

    Away from the poles they are `children`. With R(ψ) = Z(ψ) B for a direction's rotation B at ψ = 0, trace(Z(ψ) B Rᵀ) is largest
    at ψ = atan2(M_yx - M_xy, M_xx + M_yy), M = B Rᵀ: only the angles next to that are compared.
    """
    n = n_inplane(order + 1)
    pixel = 4 * (index // n_inplane(order))[:, None] + torch.arange(4, device=index.device)
    # In-plane angle 0 of a direction lies half a step from ψ = 0.
    first = rotations_of(order + 1, (pixel * n).flatten()).view(-1, 4, 3, 3).double()
    m = first @ rotations_of(order, index)[:, None].double().transpose(-1, -2)
    steps = torch.atan2(m[..., 1, 0] - m[..., 0, 1], m[..., 0, 0] + m[..., 1, 1]) / math.radians(spacing_deg(order + 1))
    j = (steps.floor().long()[..., None] + torch.arange(-1, 3, device=index.device)) % n  # (q 4 4)
    near = (pixel[..., None] * n + j).flatten(1)
    turned = rotations_of(order + 1, near.flatten()).view(*near.shape, 3, 3)
    distance = (turned - rotations_of(order, index)[:, None]).square().sum((-1, -2))
    return near.gather(1, distance.topk(8, dim=1, largest=False).indices)


def square_shifts(extent_px: float, n_side: int) -> Float[Tensor, "t 2"]:
    """n_side × n_side shifts (x, y), evenly from -extent_px to extent_px in both."""
    axis = torch.linspace(-extent_px, extent_px, n_side)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


def ring_base(spacing: float, device: str | torch.device = "cpu") -> Float[Tensor, "m 3 3"]:
    """A quarter of a grid of any spacing (degrees), not nested: its half turns (`physics.turns`) are the rest.

    Directions on rings of equal tilt over the upper half of the sphere, each ring with as many as its area holds, times half of the
    in-plane angles. Numbers on a ring are even, so that what is seen from behind continues the pattern.
    """
    n_rings, n_half = max(1, round(90 / spacing)), round(180 / spacing)
    edges = torch.linspace(0, 90, n_rings + 1, dtype=torch.float64)
    area = 2 * math.pi * -torch.cos(torch.deg2rad(edges)).diff()
    tilt, rot = [], []
    for r, a in enumerate(area.tolist()):
        n = 2 * max(1, round(a / (2 * math.radians(spacing) ** 2)))
        tilt += n * [float(edges[r] + edges[r + 1]) / 2]
        rot += [(j + GOLDEN * r) * 360 / n for j in range(n)]
    psi = torch.arange(n_half, dtype=torch.float64) * 180 / n_half
    directions = torch.tensor([rot, tilt], dtype=torch.float64).T
    euler = torch.cat([directions[:, None].expand(-1, n_half, -1), psi[:, None].expand(len(tilt), -1, 1)], dim=-1)
    return euler_deg_to_matrix(euler.reshape(-1, 3)).float().to(device)


def shift_grid(extent_px: float, step_px: float) -> Float[Tensor, "t 2"]:
    """Shifts (x, y) on a square lattice with `step_px`, symmetric about 0, inside the disc of radius `extent_px`."""
    n = int(np.ceil(extent_px / step_px - 1e-6))
    axis = torch.arange(-n, n + 1, dtype=torch.float32) * step_px
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([x.flatten(), y.flatten()], dim=1)
    return grid[grid.norm(dim=1) <= extent_px * 1.1 + 1e-6]
