"""Every option of `trajectory`, and what goes together. Nothing heavy is imported here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryodrake.app.maps_config import MapsConfig, refuse_small, the_one_given
from cryodrake.data.seeds import check_seed

WAYS = ("through", "z")


@dataclass(frozen=True)
class TrajectoryConfig(MapsConfig):
    """Where the way goes through the states of a job, and how its maps are made."""

    through: str | None = None
    """Particles that it goes through, in this order: rows of particles.star, from 0, such as 0,10,20. Default: it joins
    the two cluster centres farthest apart along the particles."""
    z: Path | None = None
    """Or states that it goes through, in a text file, one a row; --way graph moves them to the nearest particles."""
    way: Literal["graph", "direct"] = "graph"
    """graph: the shortest path that steps from particle to particle, so that all of it was seen. direct: straight lines."""
    n: int = 10
    """Maps along it, in equal steps of its length, first and last included."""
    neighbours: int = 15
    """Neighbours of each particle in the graph."""
    clusters: int = 20
    """Cluster centres to choose the two ends from, where none are given."""
    seed: int = 0
    """Seed of these."""

    def __post_init__(self) -> None:
        the_one_given(self, WAYS, "what it goes through")
        super().__post_init__()
        refuse_small(self, n=2, neighbours=1, clusters=2)
        check_seed(self.seed)
