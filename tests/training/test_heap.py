"""Giving memory back does no harm, and helps where the system can tell."""

import sys
from pathlib import Path

import pytest
import torch

from cryodrake.training.heap import give_back


def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_what_is_freed_below_something_that_stays_is_given_back():
    torch.empty(8 << 20).fill_(1.0)  # 32 MiB: freeing it tells glibc to keep such blocks on its heap from now on
    small = [torch.ones(100_000) for _ in range(500)]  # 200 MB in blocks of 0.4 MB
    last = small[-1]
    del small
    before = resident_mib()
    give_back()
    assert resident_mib() < before + 1
    assert float(last.sum()) == 100_000
