"""Loops are compiled wherever the program is installed, and cut into parts that cover everything once."""

import numba
import numpy as np
import pytest
import torch

from cryodrake.physics import compiled


def double(values, begin, end):
    for i in range(begin, end):
        values[i] *= 2


def test_a_loop_is_compiled_where_nothing_can_be_written(monkeypatch):
    njit = numba.njit

    def without_a_folder(function, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(function, **options)

    monkeypatch.setattr(numba, "njit", without_a_folder)
    values = np.ones(5)
    compiled.loop(double)(values, 1, 4)
    assert values.tolist() == [1, 2, 2, 2, 1]


@pytest.mark.parametrize(
    ("n", "points", "most", "count"),
    [(10, 100, None, 1), (10, 1 << 20, None, 3), (2, 1 << 20, None, 2), (10, 1 << 20, 2, 2), (0, 0, None, 1)],
)
def test_parts_cover_everything_once(monkeypatch, n, points, most, count):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    found = compiled.parts(n, points, most)
    assert len(found) == count
    assert [i for begin, end in found for i in range(begin, end)] == list(range(n))


def test_a_fault_in_a_thread_is_heard():
    def fault():
        raise ValueError("here")

    with pytest.raises(ValueError, match="here"):
        compiled.side_by_side([lambda: None, fault])


def test_only_what_the_loops_take():
    assert compiled.is_compiled_for(torch.zeros(2), torch.zeros(2, dtype=torch.complex64))
    assert not compiled.is_compiled_for(torch.zeros(2), torch.zeros(2, dtype=torch.float64))
    assert not compiled.is_compiled_for(torch.zeros(2, device="meta"))
