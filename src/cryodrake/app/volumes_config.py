"""Every option of `volumes`, and what goes together. Nothing heavy is imported here."""

from dataclasses import dataclass
from pathlib import Path

from cryodrake.app.maps_config import MapsConfig, refuse_small, the_one_given
from cryodrake.data.seeds import check_seed
from cryodrake.errors import InputError

WAYS = ("particles", "z", "kmeans", "groups", "pc")


@dataclass(frozen=True)
class VolumesConfig(MapsConfig):
    """Which states of a job, and how their maps are made. Give one of --particles, --z, --kmeans, --groups and --pc."""

    particles: str | None = None
    """States of these particles: rows of particles.star, from 0, such as 0,10,20."""
    z: Path | None = None
    """States of a text file, one a row, such as z_values.txt."""
    kmeans: int | None = None
    """This many cluster centres, each moved to the particle nearest to it."""
    groups: bool = False
    """The middle of each separate group of states that the run found (groups.npy), moved to the particle nearest to it."""
    pc: int | None = None
    """Along this principal component of the states, 1 being the largest, from its 5th to its 95th percentile."""
    n: int = 10
    """Number of states along --pc."""
    seed: int = 0
    """Seed of --kmeans."""

    def __post_init__(self) -> None:
        if the_one_given(self, WAYS, "the states") is None:
            raise InputError("no states are chosen", expected=f"one of {', '.join(f'--{name}' for name in WAYS)}")
        super().__post_init__()
        refuse_small(self, kmeans=1, pc=1, n=2)
        check_seed(self.seed)
