"""Half sets 1 and 2: the file's own (rlnRandomSubset) where it has both, else a seeded balanced draw."""

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from cryodrake.io.table import ParticleTable


def half_sets(table: ParticleTable, seed: int) -> Int64[Tensor, " n"]:
    """1 or 2 for each particle; drawn, the two differ in size by at most one."""
    given = table.half_set
    if given is not None and set(np.unique(given).tolist()) == {1, 2}:
        return torch.from_numpy(np.asarray(given, dtype=np.int64))
    order = np.random.default_rng([seed, 0x4A1F]).permutation(len(table))
    return torch.from_numpy(order % 2 + 1)
