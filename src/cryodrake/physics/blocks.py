"""How much is done at once, and how much room there is for it: on a processor, and on a card.

A card takes microseconds to begin an operation, however small, and has gigabytes for what lies between operations; on a processor
it is the other way round: what fits its cache is done at once. So loops over images or slice points go by blocks that were measured
on a processor, and by so many times more on a card.
"""

from functools import cache

import torch

GIB = 1 << 30
MOST_TIMES = 16  # as much as on a processor; a block's tensors then take up to 2 GiB at a time


def at_once(on_processor: int, device: torch.device) -> int:
    """Size of a block there; `on_processor` is what is best on a processor."""
    return on_processor if device.type == "cpu" else on_processor * _times(device)


@cache
def _times(device: torch.device) -> int:
    """Small cards have less room."""
    if device.type != "cuda":
        return MOST_TIMES
    return max(1, min(MOST_TIMES, torch.cuda.get_device_properties(device).total_memory // GIB))


def room_bytes(device: torch.device, memory_gib: float) -> float:
    """What data may take there: what is free on a card, what the user gives on the host."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else memory_gib * GIB
