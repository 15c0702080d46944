"""Results that are kept while the files that they come from stay as they are."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


class Memory:
    """The last `most` results. Two requests for the same one make it once."""

    def __init__(self, most: int):
        self._most, self._lock = most, threading.RLock()
        self._kept: OrderedDict[Hashable, tuple[object, object]] = OrderedDict()

    def get(self, name: Hashable, files: Iterable[Path], make: Callable[[], Result]) -> Result:
        """What `make` gives, anew when one of the files came, went or changed."""
        stamp = tuple(map(_stamp, files))
        with self._lock:
            if name not in self._kept or self._kept[name][0] != stamp:
                self._kept[name] = (stamp, make())
            self._kept.move_to_end(name)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return self._kept[name][1]  # type: ignore[return-value]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
