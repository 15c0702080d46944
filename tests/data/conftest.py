"""A dumbbell of atoms: a body of 300 and, beyond a gap, an arm of 100; long along x, the body wide along y."""

import numpy as np
import pytest

from cryodrake.data.body_atoms import AtomBody


def in_ellipsoid(rng, n, semi_axes_A):
    points = rng.normal(size=(n, 3))
    points *= (rng.random(n) ** (1 / 3) / np.linalg.norm(points, axis=1))[:, None]
    return points * semi_axes_A


@pytest.fixture(scope="session")
def dumbbell():
    """Chain A is the body, within 20 Å of the origin; chain B the arm, 32 to 56 Å along +x."""
    rng = np.random.default_rng(3)
    body = in_ellipsoid(rng, 300, [18, 20, 12])
    arm = in_ellipsoid(rng, 100, [12, 6, 6]) + np.array([44, 0, 3])
    chain = np.repeat(["A", "B"], [300, 100])
    return AtomBody(np.concatenate([body, arm]), rng.uniform(6, 8, 400), chain, np.arange(400))
