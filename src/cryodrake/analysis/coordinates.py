"""Latents against a known coordinate of the motion: an angle, or a fraction of the way.

A line is judged by rank correlation; a full circle of degrees by Fisher and Lee's correlation of two angles (1983,
Biometrika 70, 327), which does not depend on where either begins.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import spearmanr

from cryodrake.analysis.regression import nearest_neighbours, r_squared
from cryodrake.inference.latent_components import principal_components


def is_circle(coordinates_deg: Float[np.ndarray, " m"]) -> bool:
    """Whether states' coordinates are degrees that go all the way round: what is missing of 360° is one more step."""
    values = np.unique(coordinates_deg)
    if len(values) < 4:
        return False
    missing = 360 - (values[-1] - values[0])
    return bool(-1e-6 <= missing <= 2 * np.diff(values).max() and values[-1] - values[0] > 240)


def line_scores(latents: Float[np.ndarray, "n z"], coordinate: Float[np.ndarray, " n"]) -> dict[str, float | int | None]:
    """Entries of `StatesResult` for a coordinate on a line."""
    first = principal_components(latents).scores[:, 0]
    target = coordinate[:, None]
    predicted, neighbours = nearest_neighbours(latents, target)
    return {
        "pc_correlation": rank_correlation(first, coordinate),
        "coordinate_correlation": rank_correlation(predicted[:, 0], coordinate),
        "coordinate_r2": r_squared(target, predicted),
        "coordinate_neighbours": neighbours,
    }


def circle_scores(
    latents: Float[np.ndarray, "n z"], coordinate_deg: Float[np.ndarray, " n"], state: Int[np.ndarray, " n"]
) -> dict[str, float | int | None]:
    """The same for a coordinate that comes back to its beginning."""
    angle = np.deg2rad(coordinate_deg)
    target = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    predicted, neighbours = nearest_neighbours(latents, target)
    scores = principal_components(latents).scores
    around = abs(circular_correlation(np.arctan2(scores[:, 1], scores[:, 0]), angle)) if scores.shape[1] > 1 else None
    return {
        "pc_correlation": around,
        "coordinate_correlation": circular_correlation(np.arctan2(predicted[:, 1], predicted[:, 0]), angle),
        "coordinate_r2": r_squared(target, predicted),
        "coordinate_neighbours": neighbours,
        "circle_gap": circle_gap(latents, coordinate_deg, state),
    }


def rank_correlation(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    """|ρ| of Spearman; 0 where either is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return abs(float(spearmanr(a, b).statistic))


def circular_correlation(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    """Fisher and Lee's ρ_T of two angles in radians: 1 for a = b + const, -1 for a = const - b, 0 for independent ones.

    Σ sin(a_i - a_j) sin(b_i - b_j) over pairs, normalised, by their identity in sums over single rows.
    """
    ca, sa, cb, sb = np.cos(a), np.sin(a), np.cos(b), np.sin(b)
    cross = 4 * ((ca * cb).sum() * (sa * sb).sum() - (ca * sb).sum() * (sa * cb).sum())
    own = [len(x) ** 2 - np.cos(2 * x).sum() ** 2 - np.sin(2 * x).sum() ** 2 for x in (a, b)]
    return float(cross / np.sqrt(max(own[0] * own[1], 1e-300)))


def circle_gap(latents: Float[np.ndarray, "n z"], coordinate_deg: Float[np.ndarray, " n"], state: Int[np.ndarray, " n"]) -> float:
    """The longest step from one state's mean latent to the next one's round the circle, over the median step.

    Near 1 where the latents go round; near the number of states where they are laid out as an open line.
    """
    states, first = np.unique(state, return_index=True)
    order = np.argsort(coordinate_deg[first] % 360, kind="stable")
    means = np.stack([latents[state == s].mean(axis=0) for s in states[order]])
    steps = np.linalg.norm(means - np.roll(means, 1, axis=0), axis=1)
    return float(steps.max() / max(np.median(steps), 1e-300))
