"""Results that are kept while the files that they come from stay as they are."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


class Memory:
    """The last `most` results. Two requests for the same one make it once; those for others do not wait."""

    def __init__(self, most: int):
        self._most, self._lock = most, threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[object, object]] = OrderedDict()
        self._making: dict[Hashable, threading.RLock] = {}

    def get(self, name: Hashable, files: Iterable[Path], make: Callable[[], Result]) -> Result:
        """What `make` gives, anew when one of the files came, went or changed."""
        stamp = tuple((path, _stamp(path)) for path in files)
        with self._lock:
            making = self._making.setdefault(name, threading.RLock())
        with making:
            with self._lock:
                kept = self._kept.get(name)
            result = kept[1] if kept is not None and kept[0] == stamp else make()
            with self._lock:
                self._kept[name] = (stamp, result)
                self._kept.move_to_end(name)
                while len(self._kept) > self._most:
                    self._making.pop(self._kept.popitem(last=False)[0], None)
        return result  # type: ignore[return-value]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
