"""Clusters, neighbourhoods and classes against true states."""

import warnings

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors

NEIGHBOURS = 20


def neighbourhood_share(latents: Float[np.ndarray, "n z"], state: Int[np.ndarray, " n"]) -> tuple[float, float]:
    """Share of each particle's nearest others in latent space that have its state, and the share expected by chance."""
    k = min(NEIGHBOURS, len(latents) - 1)
    near = NearestNeighbors(n_neighbors=k).fit(latents).kneighbors(return_distance=False)  # without the row itself
    share = float((state[near] == state[:, None]).mean())
    count = np.bincount(state).astype(float)
    chance = float((count * (count - 1)).sum() / (len(state) * (len(state) - 1)))
    return share, chance


def cluster_scores(latents: Float[np.ndarray, "n z"], state: Int[np.ndarray, " n"], seed: int = 0) -> dict[str, float]:
    """Adjusted Rand index and adjusted mutual information of k-means and of a Gaussian mixture, as many as states.

    Both are 0 on average for labels by chance and 1 for the true ones (Vinh, Epps & Bailey 2010, JMLR 11, 2837).
    """
    k = len(np.unique(state))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct latents than states: the scores tell
        by_means = KMeans(k, n_init=5, random_state=seed).fit_predict(latents)
        scale = max(float(latents.std()), 1e-30)  # the mixture's floor on variances is absolute
        mixture = GaussianMixture(k, random_state=seed, reg_covar=1e-4)
        by_mixture = mixture.fit_predict((latents - latents.mean(axis=0)) / scale)
    return label_scores("kmeans", by_means, state) | label_scores("gmm", by_mixture, state)


def label_scores(name: str, labels: Int[np.ndarray, " n"], state: Int[np.ndarray, " n"]) -> dict[str, float]:
    """Adjusted Rand index and adjusted mutual information, as `name`_ari and `name`_ami."""
    ami = adjusted_mutual_info_score(state, labels)
    return {f"{name}_ari": float(adjusted_rand_score(state, labels)), f"{name}_ami": float(ami)}


def share_in_right_class(classes: Int[np.ndarray, " n"], state: Int[np.ndarray, " n"]) -> float:
    """Share of images in the class of their state, after the assignment of classes to states that makes it largest."""
    together = contingency_matrix(state, classes)
    rows, columns = linear_sum_assignment(together, maximize=True)
    return float(together[rows, columns].sum() / len(state))
