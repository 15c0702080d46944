"""The built-in complex is what it says: seeded, chain-like, compact, and without symmetry."""

import numpy as np
import torch

from cryodrake.data.density import gaussian_density
from cryodrake.data.procedural import procedural_complex


def correlation(a, b):
    return float(np.corrcoef(a.flatten(), b.flatten())[0, 1])


def test_the_seed_decides():
    first = procedural_complex(3, n_residues=900, n_domains=4)
    assert np.array_equal(first, procedural_complex(3, n_residues=900, n_domains=4))
    other = procedural_complex(4, n_residues=900, n_domains=4)
    assert other.shape != first.shape or not np.allclose(other, first)


def test_the_default_is_a_large_compact_assembly():
    positions = procedural_complex(0)
    assert len(positions) > 4000
    assert np.allclose(positions.mean(axis=0), 0, atol=1e-9)
    radius = np.linalg.norm(positions, axis=1)
    assert 70 < radius.max() < 160
    # Residues follow each other on a chain: helices at 3.8 Å, strands at 3.3 to 3.8 Å.
    step = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    assert 3.2 < np.median(step) < 3.95
    # No residue sits on another: at protein density about one per 135 Å3 locally.
    some = positions[::40]
    near = (np.linalg.norm(some[:, None] - positions, axis=2) < 10).sum(1)
    assert near.mean() < 2 * (4 / 3 * np.pi * 10**3) / 135


def test_helices_are_right_handed():
    # Of four successive residues 100° apart on a right-handed helix the dihedral is near +50°; strands give ±180°.
    p = procedural_complex(1, n_residues=1500, n_domains=4)
    b = np.diff(p, axis=0)
    normal_1, normal_2 = np.cross(b[:-2], b[1:-1]), np.cross(b[1:-1], b[2:])
    sine = (np.cross(normal_1, normal_2) * b[1:-1]).sum(1) / np.linalg.norm(b[1:-1], axis=1)
    dihedral = np.rad2deg(np.arctan2(sine, (normal_1 * normal_2).sum(1)))
    assert (np.abs(dihedral - 50) < 10).mean() > 10 * (np.abs(dihedral + 50) < 10).mean()
    assert (np.abs(dihedral - 50) < 10).mean() > 0.2


def test_it_looks_like_none_of_its_half_turns_and_mirrors():
    positions = procedural_complex(0)
    axes = np.linalg.eigh(np.cov(positions.T))[1]
    aligned = positions @ axes
    weights = torch.ones(len(aligned))
    maps = {
        signs: gaussian_density(torch.from_numpy(aligned * np.array(signs)), weights, 32, 8.0, 16.0).numpy()
        for signs in ((1, 1, 1), (-1, -1, 1), (-1, 1, -1), (1, -1, -1), (-1, 1, 1), (1, 1, -1), (1, -1, 1))
    }
    original = maps.pop((1, 1, 1))
    assert max(correlation(original, other) for other in maps.values()) < 0.85
