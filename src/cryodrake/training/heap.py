"""Memory that was freed and that the C library keeps.

Tensors of up to 32 MiB come from its heap, which shrinks only from its end: after a model learned in thousands of small steps more
than a GiB of it may lie idle, where larger tensors, which are mapped, cannot use it.
"""

import ctypes
from contextlib import suppress


def give_back() -> None:
    """Return what is free to the system, where the C library can (glibc)."""
    with suppress(OSError, AttributeError, TypeError):  # another library, or another system
        ctypes.CDLL(None).malloc_trim(0)
