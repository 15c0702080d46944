"""A way through states: its line through latent space, the states at equal steps along it, and whether particles are there."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from sklearn.neighbors import NearestNeighbors

from cryodrake.analysis.paths import NeighbourGraph, equal_steps
from cryodrake.analysis.regression import some_rows
from cryodrake.errors import InputError
from cryodrake.inference.latent_clusters import k_means

K = 10  # the neighbour whose distance says how dense it is
EMPTY = 3.0  # times the distance that 95 % of the particles have to their own: nothing of the kind was seen
SAMPLE = 2000


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Attributes:
    z: the states, in equal steps along the way.
    length: of the way up to each.
    nearest: row of the particle nearest to each state.
    gap: distance to the K-th nearest particle, over that which 95 % of the particles do not exceed.
    rows: the particles that it steps over; None on straight lines.
    """

    z: Float[np.ndarray, "m z"]
    length: Float[np.ndarray, " m"]
    nearest: Int[np.ndarray, " m"]
    gap: Float[np.ndarray, " m"]
    rows: Int[np.ndarray, " p"] | None

    def words(self) -> list[str]:
        """Which states nothing seen is near to."""
        empty = np.nonzero(self.gap > EMPTY)[0]
        if not len(empty):
            return []
        where = ", ".join(map(str, empty))
        return [f"States {where} (from 0) lie where no particles are: their maps are invented. --way graph keeps to what was seen."]


def straight(latents: Float[np.ndarray, "n z"], anchors: Float[np.ndarray, "m z"], n: int) -> Trajectory:
    """Straight lines through these states."""
    return _along(latents, anchors, n, None)


def over_particles(latents: Float[np.ndarray, "n z"], anchor_rows: Int[np.ndarray, " m"], n: int, neighbours: int) -> Trajectory:
    """The shortest path over particles through these ones.

    Raises:
        InputError: none leads from one to another.
    """
    graph = NeighbourGraph(latents, neighbours, anchor_rows)
    if not graph.are_connected(anchor_rows):
        do = f"choose others, more --neighbours than {neighbours}, or --way direct"
        raise InputError("no path leads from particle to particle: their states are separate", where="--through", do=do)
    rows = graph.path(anchor_rows)
    return _along(latents, latents[rows], n, rows)


def farthest_rows(latents: Float[np.ndarray, "n z"], clusters: int, neighbours: int, seed: int) -> Int[np.ndarray, " 2"]:
    """Of the cluster centres, as particles, the two with the longest shortest path between them.

    Raises:
        InputError: no path joins any two.
    """
    centres = k_means(latents, clusters, seed).distinct_rows
    ends = NeighbourGraph(latents, neighbours, centres).farthest_pair(centres)
    if ends is None:
        do = "give --through, or more --neighbours"
        raise InputError(f"the clusters are separate states at {neighbours} neighbours", where="--neighbours", do=do)
    return ends


def nearest_rows(latents: Float[np.ndarray, "n z"], z: Float[np.ndarray, "m z"]) -> Int[np.ndarray, " m"]:
    """The particle nearest to each state."""
    return NearestNeighbors(n_neighbors=1).fit(latents).kneighbors(z, return_distance=False)[:, 0]


def _along(latents: np.ndarray, line: np.ndarray, n: int, rows: np.ndarray | None) -> Trajectory:
    z, length = equal_steps(line, n)
    k = min(K, len(latents) - 1)
    near = NearestNeighbors(n_neighbors=k + 1).fit(latents)
    usual = near.kneighbors(latents[some_rows(len(latents), SAMPLE)])[0][:, k]  # its first neighbour is the particle itself
    distance, index = near.kneighbors(z, n_neighbors=k)
    gap = distance[:, -1] / max(float(np.percentile(usual, 95)), 1e-30)
    return Trajectory(z, length, index[:, 0], gap, rows)
