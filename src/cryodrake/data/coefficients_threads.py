"""Independent pieces of work in a few threads, each of which computes on one core.

One piece per core has no barriers inside: where other programs share the machine, torch's own division of every small
operation among all cores is many times slower. Reading, which waits for the disk, overlaps with computing.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Task = TypeVar("Task")
Result = TypeVar("Result")

MOST_THREADS = 16  # more only quarrel about the disk


def in_threads(work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
    """work(task) for each task, results in the order of tasks; the first error, in that order, ends it all."""
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(min(threads, MOST_THREADS), initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from pool.map(work, tasks)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
