"""Cross-validated regressions: how much of one thing is to be known from another, without fitting the noise."""

import numpy as np
from jaxtyping import Float, Int
from sklearn.model_selection import KFold
from sklearn.neighbors import NearestNeighbors

FOLDS = 5
NEIGHBOURS = (5, 10, 20, 50, 100, 200)


def nearest_neighbours(
    features: Float[np.ndarray, "n z"], targets: Float[np.ndarray, "n m"], seed: int = 0
) -> tuple[Float[np.ndarray, "n m"], int]:
    """Each row's targets as the mean of its nearest rows in the other folds, and how many neighbours were best.

    Of `NEIGHBOURS` the number with the least squared error is taken; among so few the choice itself learns next to
    nothing. Fewer than 10 rows are too few (ValueError).
    """
    if len(features) < 2 * FOLDS:
        raise ValueError(f"{len(features)} rows are too few for {FOLDS} folds")
    smallest = len(features) - -(-len(features) // FOLDS)  # rows that the smallest training set has
    numbers = [k for k in NEIGHBOURS if k <= smallest]
    predicted = np.empty((len(numbers), *targets.shape))
    for train, test in KFold(FOLDS, shuffle=True, random_state=seed).split(features):
        near = NearestNeighbors(n_neighbors=numbers[-1]).fit(features[train]).kneighbors(features[test], return_distance=False)
        for column in range(targets.shape[1]):
            running = targets[train, column][near].cumsum(axis=1)
            for i, k in enumerate(numbers):
                predicted[i, test, column] = running[:, k - 1] / k
    error = ((predicted - targets) ** 2).sum(axis=(1, 2))
    best = int(error.argmin())
    return predicted[best], numbers[best]


def r_squared(targets: Float[np.ndarray, "n m"], predicted: Float[np.ndarray, "n m"]) -> float:
    """1 - Σ|target - predicted|² / Σ|target - mean|², all columns together; below 0 where the mean would do better."""
    spread = float(((targets - targets.mean(axis=0)) ** 2).sum())
    return 1 - float(((targets - predicted) ** 2).sum()) / max(spread, 1e-300)


def some_rows(n: int, most: int, seed: int = 0) -> Int[np.ndarray, " m"]:
    """All rows, or `most` of them drawn without repeats, in order."""
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
