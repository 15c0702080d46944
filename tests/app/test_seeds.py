"""Seeds that every generator takes, and one message for those that none does."""

from pathlib import Path

import pytest
import torch
from sklearn.cluster import KMeans

from cryodrake.app.demo import DemoConfig
from cryodrake.app.fsc import FscConfig
from cryodrake.app.trajectory_config import TrajectoryConfig
from cryodrake.app.volumes_config import VolumesConfig
from cryodrake.data.seeds import MOST
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.errors import InputError
from cryodrake.training.config import AbinitConfig, AnalyzeConfig, TrainConfig

A = Path("a")
CONFIGS = {
    "abinit": lambda seed: AbinitConfig(particles=A, out=A, seed=seed),
    "train": lambda seed: TrainConfig(particles=A, out=A, seed=seed),
    "analyze": lambda seed: AnalyzeConfig(job=A, seed=seed),
    "simulate": lambda seed: SimulateConfig(out=A, seed=seed),
    "fsc": lambda seed: FscConfig(first=A, second=A, seed=seed),
    "demo": lambda seed: DemoConfig(seed=seed),
    "volumes": lambda seed: VolumesConfig(job=A, out=A, kmeans=3, seed=seed),
    "trajectory": lambda seed: TrajectoryConfig(job=A, out=A, seed=seed),
}


@pytest.mark.parametrize("command", CONFIGS)
def test_what_no_generator_takes_is_refused(command):
    for seed in (-1, MOST + 1):
        with pytest.raises(InputError, match=f"seed is {seed}"):
            CONFIGS[command](seed)
    assert CONFIGS[command](MOST).seed == MOST


def test_the_largest_seed_works_where_seeds_are_most_limited():
    KMeans(2, n_init=1, random_state=MOST).fit([[0.0], [1.0], [2.0]])
    torch.Generator().manual_seed(MOST * 100_003 + 30)
