"""What runs as compiled loops on a CPU: when, and on how many threads.

Interpolation touches eight places of a lattice for each point. Written in torch, every step of it is a pass over memory; compiled
by numba it is one pass in registers, several times as fast on a CPU (docs/log.md). The torch versions stay: they run on cards
and on other number types, and tests hold the two together.

Threads are Python's own, over loops that leave the interpreter's lock: numba's parallel layers abort the process when two of its
threads, a web page's say, call at the same time.
"""

import inspect
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import numba
import torch
from torch import Tensor

LEAST = 1 << 13  # points worth a thread of their own

# Sums may be taken in any order and products contracted: needed for vector instructions. NaN and infinity keep their meaning.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"}}


def loop(function: Callable[..., None]) -> Callable[..., None]:
    """Compiles it when it is first called, and keeps the result on disk where there is room for it.

    Without what a type checker wrapped around it.
    """
    bare = inspect.unwrap(function)
    try:
        return numba.njit(bare, cache=True, **_OPTIONS)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written: compiled anew in every run
        return numba.njit(bare, **_OPTIONS)


def piece(function: Callable[..., None]) -> Callable[..., None]:
    """Of a loop: compiled into it."""
    return numba.njit(inspect.unwrap(function), inline="always", **_OPTIONS)


def is_compiled_for(*tensors: Tensor) -> bool:
    """Whether the loops take these: float32 in this machine's own memory."""
    return all(t.device.type == "cpu" and t.dtype in (torch.float32, torch.complex64) for t in tensors)


def parts(n: int, points: int, most: int | None = None) -> list[tuple[int, int]]:
    """Bounds of equal parts of n items with `points` points in all, one for each thread that is worth its while."""
    threads = min(torch.get_num_threads(), max(1, points // LEAST), max(1, n))
    count = threads if most is None else min(threads, most)
    edges = [n * i // count for i in range(count + 1)]
    return list(itertools.pairwise(edges))


def side_by_side(calls: list[Callable[[], None]]) -> None:
    """Runs them all, each in a thread."""
    if len(calls) == 1:
        calls[0]()
        return
    for done in [_pool().submit(call) for call in calls]:
        done.result()


def over(kernel: Callable[..., None], n: int, points: int, *args: Any) -> None:
    """kernel(*args, first, last) for the parts of n items side by side."""
    side_by_side([partial(kernel, *args, first, last) for first, last in parts(n, points)])


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=64, thread_name_prefix="cryodrake")
