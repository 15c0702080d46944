"""Do latents tell what they should not: how a particle was seen, rather than what it is?

Each latent is regressed, with cross-validation, on low-order functions of a covariate (spherical harmonics of the viewing
direction, harmonics of the in-plane angle, polynomials of defocus, shift and scale). The same is done with the latents' rows
shuffled: a leak must be larger than nearly all of these, and large enough to matter. So neither few particles nor few
directions of view raise an alarm, as the shuffled latents have the same particles and the same directions.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float
from sklearn.model_selection import KFold

from cryodrake.analysis.covariates import Covariates
from cryodrake.analysis.regression import FOLDS, some_rows

MOST_ROWS = 10_000
FEWEST_ROWS = 100
SHUFFLES = 200
AT_ONCE = 20
LEVEL = 0.005  # share of shuffles that may do as well: one in 200, or none
WEAK, STRONG = 0.02, 0.10  # R² that matters
VIEW_DEGREES, POLYNOMIAL_DEGREE = (1, 2, 4), 3

Bases = Callable[[np.ndarray], list[np.ndarray]]


@dataclass(frozen=True)
class Leak:
    """Attributes:
    covariate: what the latents were regressed on.
    r2: cross-validated R² of each latent; below 0 where the mean would do better.
    chance_r2: what the best latent of shuffled ones stays below in all but `LEVEL` of the shuffles.
    p: share of the shuffles whose best latent is as good as the best true one.
    verdict: "clean", "weak" or "strong".
    words: what it means and what to do.
    """

    covariate: str
    r2: tuple[float, ...]
    chance_r2: float
    p: float
    verdict: str
    words: str


@dataclass(frozen=True)
class Diagnosis:
    """Attributes:
    n: particles that were looked at.
    leaks: one of each covariate that is known.
    constant: latents (from 1) that are the same for every particle.
    notes: what was not looked at, and why.
    """

    n: int
    leaks: tuple[Leak, ...]
    constant: tuple[int, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict:
        """For JSON."""
        return asdict(self)

    def words(self) -> list[str]:
        """Lines for people, what needs attention first."""
        order = {"strong": 0, "weak": 1, "clean": 2}
        lines = [leak.words for leak in sorted(self.leaks, key=lambda leak: order[leak.verdict])]
        if self.constant:
            names = ", ".join(map(str, self.constant))
            lines.insert(0, f"Latent {names} is the same for every particle: fewer dimensions (--zdim) would do.")
        return [*lines, *self.notes]


def diagnose(latents: Float[np.ndarray, "n z"], covariates: Covariates, seed: int = 0) -> Diagnosis:
    """Look for each covariate in the latents."""
    rows = some_rows(len(latents), MOST_ROWS, seed)
    z = latents[rows]
    spread = np.ptp(z, axis=0)
    constant = tuple((np.flatnonzero(spread <= 1e-7 * np.abs(z).max(axis=0)) + 1).tolist())
    if len(rows) < FEWEST_ROWS:
        note = f"{len(rows)} particles are too few to say whether latents tell how a particle was seen."
        return Diagnosis(len(rows), (), constant, (note,))
    leaks, missing = [], []
    for name, (attribute, bases, _) in QUESTIONS.items():
        values = getattr(covariates, attribute)
        if values is None:
            missing.append(name)
            continue
        leaks.append(_leak(name, z, bases(values[rows]), seed))
    notes = (f"Not looked at, as particles.star does not say, or says the same of all: {', '.join(missing)}.",) if missing else ()
    return Diagnosis(len(rows), tuple(leaks), constant, notes)


def _leak(name: str, z: Float[np.ndarray, "n z"], designs: list[Float[np.ndarray, "n _"]], seed: int) -> Leak:
    regressions = [CrossValidated(design, seed) for design in designs]

    def best_r2(latents: Float[np.ndarray, "n z"]) -> Float[np.ndarray, " z"]:
        # The best of several bases is taken of the shuffled latents too, so the choice is no advantage.
        return np.max([regression.r2(latents) for regression in regressions], axis=0)

    r2 = best_r2(z)
    rng = np.random.default_rng([seed, 3])
    shuffled = np.empty((SHUFFLES // AT_ONCE, AT_ONCE))
    for row in shuffled:
        row[:] = best_r2(np.hstack([rng.permutation(z) for _ in range(AT_ONCE)])).reshape(AT_ONCE, -1).max(axis=1)
    chance_r2 = float(np.quantile(shuffled, 1 - LEVEL))
    p = float((1 + (shuffled >= r2.max()).sum()) / (1 + SHUFFLES))
    is_real = p <= LEVEL and r2.max() >= WEAK
    verdict = "strong" if is_real and r2.max() >= STRONG else "weak" if is_real else "clean"
    return Leak(name, tuple(r2.tolist()), chance_r2, p, verdict, _words(name, r2, verdict))


def _words(name: str, r2: Float[np.ndarray, " z"], verdict: str) -> str:
    which = int(r2.argmax())
    if verdict == "clean":
        return f"Latents do not tell the {name} (R² {max(float(r2[which]), 0):.3f}): good."
    degree = "clearly tell" if verdict == "strong" else "tell a little of"
    return f"Latents {degree} the {name}: R² {r2[which]:.3f}, mostly latent {which + 1}. {QUESTIONS[name][2]}"


class CrossValidated:
    """Least squares on one design, for any number of targets: the folds' pseudo-inverses are made once."""

    def __init__(self, design: Float[np.ndarray, "n p"], seed: int):
        scale = design.std(axis=0)
        design = np.column_stack([np.ones(len(design)), (design - design.mean(axis=0)) / np.where(scale > 0, scale, 1)])
        self._folds = []
        for train, test in KFold(FOLDS, shuffle=True, random_state=seed).split(design):
            # Directions that the data hardly have (a preferred view) are left out: they would only carry noise.
            self._folds.append((train, test, np.linalg.pinv(design[train], rcond=1e-3), design[test]))

    def r2(self, targets: Float[np.ndarray, "n z"]) -> Float[np.ndarray, " z"]:
        """1 - Σ (target - predicted)² / Σ (target - mean of its training rows)²; 0 for a constant target."""
        error, spread = np.zeros(targets.shape[1]), np.zeros(targets.shape[1])
        for train, test, inverse, design in self._folds:
            error += ((targets[test] - design @ (inverse @ targets[train])) ** 2).sum(axis=0)
            spread += ((targets[test] - targets[train].mean(axis=0)) ** 2).sum(axis=0)
        tiny = 1e-12 * np.maximum((targets**2).sum(axis=0), 1e-300)
        return np.where(spread > tiny, 1 - error / np.maximum(spread, 1e-300), 0.0)


def view_harmonics(view: Float[np.ndarray, "n 3"]) -> list[Float[np.ndarray, "n _"]]:
    """For each of `VIEW_DEGREES` x^a y^b z^c of 1 ≤ a + b + c ≤ degree with c ≤ 1: on the sphere the harmonics' span.

    Few particles can afford only few functions, so the lower degrees are tried on their own.
    """
    x, y, z = view.T
    designs = []
    for degree in VIEW_DEGREES:
        every = [(a, b, c) for c in (0, 1) for a in range(degree + 1) for b in range(degree + 1) if 1 <= a + b + c <= degree]
        designs.append(np.stack([x**a * y**b * z**c for a, b, c in every], axis=1))
    return designs


def angle_harmonics(angle_deg: Float[np.ndarray, " n"]) -> list[Float[np.ndarray, "n _"]]:
    """cos and sin of the angle and of its double."""
    angle = np.deg2rad(angle_deg)
    return [np.stack([f(m * angle) for m in (1, 2) for f in (np.cos, np.sin)], axis=1)]


def powers(values: Float[np.ndarray, " n"]) -> list[Float[np.ndarray, "n _"]]:
    """Powers up to `POLYNOMIAL_DEGREE` of the ranks, from -1 to 1: a few outliers do not decide."""
    ranks = np.unique(values, return_inverse=True)[1].astype(np.float64)
    unit = 2 * ranks / max(float(ranks.max()), 1.0) - 1
    return [np.stack([unit**m for m in range(1, POLYNOMIAL_DEGREE + 1)], axis=1)]


def plane_powers(shift: Float[np.ndarray, "n 2"]) -> list[Float[np.ndarray, "n _"]]:
    """x, y and their products, both as ranks."""
    x, y = (powers(along)[0][:, 0] for along in shift.T)
    return [np.stack([x, y, x * x, x * y, y * y], axis=1)]


# Covariate: where it stands, its functions, and what to do about a leak.
QUESTIONS: dict[str, tuple[str, Bases, str]] = {
    "viewing direction": (
        "view",
        view_harmonics,
        "Clusters may be views rather than states: compare maps of both ends, and refine poses further. Honest only where a "
        "state is seen from certain sides alone.",
    ),
    "in-plane angle": (
        "psi_deg",
        angle_harmonics,
        "A state cannot depend on how the image lies: poses are not converged, or images hold a neighbour or an edge.",
    ),
    "defocus": ("defocus_A", powers, "Check defocus and pixel size of the input, and whether images were phase-flipped before."),
    "shift": ("shift_A", plane_powers, "Particles off the centre differ: centre them better, or take a larger --diameter-A."),
    "scale": (
        "scale",
        powers,
        "Bright and faint particles differ: remove ice, aggregates and empty picks, then run again. Honest only where states "
        "lack a large part: that makes a particle fainter, too.",
    ),
}
