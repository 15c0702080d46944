"""Where simulated particles look and sit: rotations and shifts, drawn whole from a seed.

The view direction of a particle is the beam's direction in the volume's frame, Rᵀ e_z: the third row of R.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.physics.rotations import euler_deg_to_matrix, random_rotations


def uniform_rotations(n: int, seed: int) -> Float[Tensor, "n 3 3"]:
    """Uniform over SO(3)."""
    return random_rotations(n, torch.Generator().manual_seed(seed))


def preferred_rotations(n: int, seed: int, n_views: int, spread_deg: float, share: float) -> Float[Tensor, "n 3 3"]:
    """A share of the views in von Mises-Fisher clusters, the rest uniform; in-plane angles uniform.

    A cluster's density is exp(κ cos θ) with κ = 1/spread²; sampled in closed form: Ulrich (1984), Appl. Stat. 33, 158.
    """
    rng = np.random.default_rng([seed, 1])
    centres = rng.standard_normal((n_views, 3))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    weight = 1 / np.arange(1, n_views + 1)
    cluster = rng.choice(n_views, n, p=weight / weight.sum())
    kappa = 1 / math.radians(spread_deg) ** 2
    u = np.where(rng.random(n) < share, rng.random(n), np.nan)
    cosine = np.where(np.isnan(u), rng.uniform(-1, 1, n), 1 + np.log(u + (1 - u) * np.exp(-2 * kappa)) / kappa)
    views = _around(centres[cluster], cosine, rng.uniform(0, 2 * np.pi, n))
    rot = np.arctan2(views[:, 1], views[:, 0])
    tilt = np.arccos(np.clip(views[:, 2], -1, 1))
    psi = rng.uniform(-np.pi, np.pi, n)
    return euler_deg_to_matrix(torch.from_numpy(np.rad2deg(np.stack([rot, tilt, psi], axis=1)))).float()


def _around(
    centre: Float[np.ndarray, "n 3"], cosine: Float[np.ndarray, " n"], azimuth: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n 3"]:
    """Unit vectors at an angle (given by its cosine) from `centre`, at an azimuth about it."""
    helper = np.where(np.abs(centre[:, :1]) < 0.9, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    across = np.cross(centre, helper)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    other = np.cross(centre, across)
    side = np.cos(azimuth)[:, None] * across + np.sin(azimuth)[:, None] * other
    return cosine[:, None] * centre + np.sqrt(np.clip(1 - cosine**2, 0, None))[:, None] * side


def uniform_shifts_px(n: int, seed: int, extent_px: float) -> Float[np.ndarray, "n 2"]:
    """(x, y) uniform in a square of ± extent."""
    return np.random.default_rng([seed, 2]).uniform(-extent_px, extent_px, (n, 2))
