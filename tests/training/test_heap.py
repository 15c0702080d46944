"""Memory that was freed goes back to the system."""

import platform
from pathlib import Path

import pytest
import torch

from cryodrake.training.heap import give_back


def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_is_freed_below_something_that_stays_is_given_back():
    large = torch.ones(7 << 20)
    del large  # 28 MiB that are freed: blocks of up to this size come from the heap from now on
    small = [torch.ones(100_000) for _ in range(500)]
    last = small[-1]
    del small
    kept = resident_mib()
    give_back()
    assert resident_mib() < kept - 150
    assert float(last.sum()) == 100_000
