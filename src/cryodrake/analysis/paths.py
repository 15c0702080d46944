"""Paths through latent space: straight lines, and shortest paths over particles.

A graph path steps from a particle to one of its nearest neighbours, so all of it was seen; its length is the geodesic
distance of Isomap (Tenenbaum, de Silva & Langford 2000, Science 290, 2319). A straight line may cross what was never seen.
"""

from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra
from sklearn.neighbors import kneighbors_graph

from cryodrake.analysis.regression import some_rows

MOST_NODES = 50_000


class NeighbourGraph:
    """The graph of each particle's nearest neighbours in latent space, both ways, edges as long as they are.

    Attributes:
        rows: the particles in it: all, or `MOST_NODES` of them with `needed` among them.
    """

    def __init__(self, latents: Float[np.ndarray, "n z"], neighbours: int, needed: Int[np.ndarray, " m"]):
        self.rows = np.union1d(some_rows(len(latents), MOST_NODES), needed)
        graph = csr_array(kneighbors_graph(latents[self.rows], min(neighbours, len(self.rows) - 1), mode="distance"))
        # Dijkstra takes a stored zero for an edge only where it is explicit: equal latents are next to each other.
        graph.data = np.maximum(graph.data, 1e-12 * max(float(graph.data.max(initial=0)), 1e-30))
        self._graph = graph.maximum(graph.T)
        self._part = connected_components(self._graph, directed=False)[1]

    def _nodes(self, rows: Int[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
        return np.searchsorted(self.rows, rows)

    def are_connected(self, rows: Int[np.ndarray, " m"]) -> bool:
        """Whether a path leads from each of these particles to each other."""
        return len(np.unique(self._part[self._nodes(rows)])) <= 1

    def farthest_pair(self, rows: Int[np.ndarray, " m"]) -> Int[np.ndarray, " 2"] | None:
        """The two of these particles with the longest shortest path, in the part of the graph that holds most particles.

        None where that part has fewer than two of them.
        """
        nodes = self._nodes(rows)
        rows = rows[self._part[nodes] == np.bincount(self._part).argmax()]
        if len(rows) < 2:
            return None
        distance = dijkstra(self._graph, directed=False, indices=self._nodes(rows))[:, self._nodes(rows)]
        return rows[np.sort(np.unravel_index(distance.argmax(), distance.shape))]

    def path(self, anchors: Int[np.ndarray, " m"]) -> Int[np.ndarray, " p"]:
        """The particles of the shortest path through these particles, in order.

        Raises:
            ValueError: they are not connected.
        """
        if not self.are_connected(anchors):
            raise ValueError("the particles are not connected")
        found = [int(anchors[0])]
        for start, end in pairwise(self._nodes(anchors).tolist()):
            before = dijkstra(self._graph, directed=False, indices=start, return_predecessors=True)[1]
            leg, node = [], end
            while node != start:
                leg.append(int(self.rows[node]))
                node = int(before[node])
            found += leg[::-1]
        return np.array(found, dtype=np.int64)


def straight_path(anchors: Float[np.ndarray, "m z"], points: int) -> Float[np.ndarray, "p z"]:
    """Straight lines from anchor to anchor, each of `points` states with both of its ends; an anchor between two is one state."""
    steps = np.linspace(0, 1, points)[1:, None]
    legs = [start + steps * (end - start) for start, end in pairwise(anchors)]
    return np.concatenate([anchors[:1], *legs])


def equal_steps(line: Float[np.ndarray, "p z"], n: int) -> tuple[Float[np.ndarray, "n z"], Float[np.ndarray, " n"]]:
    """n points in equal steps of length along a broken line, both ends included, and the length up to each."""
    reached = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0, reached[-1], n)
    return np.stack([np.interp(at, reached, column) for column in line.T], axis=1), at
