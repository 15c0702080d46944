"""The built-in complex: an asymmetric assembly of globular domains, made of pseudo-residues from a seed.

It needs no file, has no symmetry, and has structure at every scale that matters here: an outline of domains of unequal
size, helices (rods of 10 Å) and strands inside them, and residues on chains. Helices: rise 1.5 Å, radius
2.3 Å, 100° a residue; strands: rise 3.3 Å, zigzag of 0.9 Å (Schulz & Schirmer 1979, Principles of Protein Structure).
"""

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

RESIDUE_ELECTRONS = 58.0  # a residue of 110 Da
_RESIDUE_VOLUME_A3 = 135.0
_PACKING_A = 8.0  # axes of neighbouring segments lie about this far apart


def procedural_complex(seed: int = 0, n_residues: int = 6000, n_domains: int = 14) -> Float[np.ndarray, "a 3"]:
    """Positions (x, y, z) in Å of the pseudo-residues, centred; some 200 Å across for the default size.

    Each residue stands for `RESIDUE_ELECTRONS` electrons. The same seed gives the same complex.
    """
    return np.concatenate(procedural_chains(seed, n_residues, n_domains))


def procedural_chains(seed: int = 0, n_residues: int = 6000, n_domains: int = 14) -> list[Float[np.ndarray, "_ 3"]]:
    """The same, domain by domain, each a chain of its own; the largest first."""
    rng = np.random.default_rng([seed, 71])
    share = rng.dirichlet(np.full(n_domains, 4.0))
    counts = np.maximum(40, np.round(share * n_residues)).astype(int)
    domains = [_domain(int(count), rng) for count in sorted(counts, reverse=True)]
    placed = _assemble(domains, rng)
    centre = np.concatenate(placed).mean(axis=0)
    return [domain - centre for domain in placed]


def _random_direction(rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    v = rng.standard_normal(3)
    return v / np.linalg.norm(v)


def _domain(count: int, rng: np.random.Generator) -> Float[np.ndarray, "a 3"]:
    """One chain: segments of helix or strand that run to and fro inside an ellipsoid, keeping off each other."""
    radius = (3 * count * _RESIDUE_VOLUME_A3 / (4 * np.pi)) ** (1 / 3)
    stretch = rng.uniform(0.75, 1.3, 3)
    semi_axes = radius * stretch / np.prod(stretch) ** (1 / 3)
    helical = rng.uniform(0.2, 0.9)
    chain = [np.zeros((1, 3))]
    axes = np.zeros((1, 3))
    total = 1
    while total < count:
        is_helix = rng.random() < helical
        n = int(rng.integers(9, 26) if is_helix else rng.integers(5, 11))
        rise = 1.5 if is_helix else 3.3
        start, direction = _next_segment(chain[-1][-1], axes, semi_axes, n * rise, rng)
        line = start + np.arange(n)[:, None] * rise * direction
        chain.append(line + _wind(n, is_helix, direction, rng))
        axes = np.concatenate([axes, line])
        total += n
    return np.concatenate(chain)[:count]


def _next_segment(
    end: Float[np.ndarray, " 3"],
    axes: Float[np.ndarray, "a 3"],
    semi_axes: Float[np.ndarray, " 3"],
    length_A: float,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    """Of 24 tries, the start and direction that crowd least and stay inside the ellipsoid best."""
    directions, hops = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.standard_normal((2, 24, 3)))
    starts = end + hops * rng.uniform(5, 12, (24, 1))
    lines = starts[:, None] + np.linspace(0, length_A, 8)[:, None] * directions[:, None]
    outside = np.clip(np.linalg.norm(lines / semi_axes, axis=2) - 0.9, 0, None).sum(1)
    squared = ((lines[:, :, None] - axes) ** 2).sum(3)
    best = (20 * outside + np.exp(-squared / _PACKING_A**2).sum((1, 2))).argmin()
    return starts[best], directions[best]


def _wind(n: int, is_helix: bool, direction: Float[np.ndarray, " 3"], rng: np.random.Generator) -> Float[np.ndarray, "n 3"]:
    """Offsets of residues from a segment's axis."""
    across = np.cross(direction, _random_direction(rng))
    across /= np.linalg.norm(across)
    other = np.cross(direction, across)
    if is_helix:
        angle = np.deg2rad(100) * np.arange(n)
        return 2.3 * (np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * other)
    return 0.9 * np.where(np.arange(n) % 2, 1.0, -1.0)[:, None] * across


def _assemble(domains: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Each domain is turned at random and slid in from afar, towards near the middle, until it touches the rest.

    Of three directions the one that lets it in deepest is taken: compact, but with arms and clefts.
    """
    placed = [domains[0] - domains[0].mean(axis=0)]
    for domain in domains[1:]:
        q, r = np.linalg.qr(rng.standard_normal((3, 3)))
        turn = q * np.sign(np.diag(r))
        turn *= np.linalg.det(turn)  # a rotation, not a mirror: helices stay right-handed
        moving = (domain - domain.mean(axis=0)) @ turn.T
        rest = np.concatenate(placed)[::5]
        target = rest.mean(axis=0) + rng.normal(0, 12, 3)
        tries = [_slide_in(moving, target, _random_direction(rng), rest) for _ in range(3)]
        placed.append(moving + min(tries, key=lambda at: float(np.linalg.norm(at - rest.mean(axis=0)))))
    return placed


def _slide_in(
    domain: Float[np.ndarray, "a 3"],
    target: Float[np.ndarray, " 3"],
    direction: Float[np.ndarray, " 3"],
    rest: Float[np.ndarray, "b 3"],
) -> Float[np.ndarray, " 3"]:
    """The place on the ray target + t·direction, t falling, where the domain comes within 5 Å of the rest."""
    tree = KDTree(rest)
    place = target + 400 * direction
    for t in np.arange(397.0, 0.0, -3.0):
        if np.isfinite(tree.query(domain[::5] + target + t * direction, distance_upper_bound=5.0)[0]).any():
            break
        place = target + t * direction
    return place
