"""How much is done at once, and the room for it."""

from types import SimpleNamespace

import pytest
import torch

from cryodrake.physics import blocks


@pytest.mark.parametrize(("gib", "times"), [(139, 16), (24, 16), (8, 8), (0.5, 1)])
def test_a_card_takes_larger_blocks_as_far_as_it_has_room(monkeypatch, gib, times):
    properties = SimpleNamespace(total_memory=int(gib * blocks.GIB))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    blocks._times.cache_clear()
    assert blocks.at_once(1000, torch.device("cuda")) == 1000 * times
    blocks._times.cache_clear()


def test_a_processor_takes_what_it_was_measured_with():
    assert blocks.at_once(1000, torch.device("cpu")) == 1000


def test_room_is_what_the_user_gives_or_what_is_free_on_the_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * blocks.GIB, 8 * blocks.GIB))
    assert blocks.room_bytes(torch.device("cpu"), 2.5) == 2.5 * blocks.GIB
    assert blocks.room_bytes(torch.device("cuda"), 2.5) == 3 * blocks.GIB
