"""Half sets: the file's own, or a seeded balanced draw."""

import numpy as np
import torch

from cryodrake.data.halves import half_sets
from cryodrake.io.table import ParticleTable


def table(n, half_set=None):
    return ParticleTable(np.ones(n), np.zeros(n, dtype=np.int64), half_set=half_set)


def test_the_files_own_are_kept():
    given = np.array([2, 2, 1, 2, 1])
    assert half_sets(table(5, given), seed=3).tolist() == given.tolist()


def test_drawn_ones_are_balanced_and_depend_on_the_seed_only():
    for n in (1, 10, 101):
        half = half_sets(table(n), seed=3)
        counts = [int((half == h).sum()) for h in (1, 2)]
        assert sum(counts) == n
        assert abs(counts[0] - counts[1]) <= 1
        assert torch.equal(half, half_sets(table(n), seed=3))
    assert not torch.equal(half, half_sets(table(101), seed=4))
    # Not simply every second particle, which may be the second frame of the same hole.
    assert not torch.equal(half[::2], half[:1].expand(51))


def test_one_half_only_is_no_division():
    half = half_sets(table(10, np.ones(10, dtype=np.int64)), seed=0)
    assert sorted(half.tolist()) == [1] * 5 + [2] * 5
