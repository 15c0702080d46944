"""A decoy looks like its map and is none; images that hold the map are told from those of noise."""

import pytest
import torch

from cryodrake.physics.fourier import volume_to_coeff
from cryodrake.physics.fsc import fsc, shell_index
from cryodrake.physics.masks import sphere
from cryodrake.training import refinement
from cryodrake.training.decoys import FALSE_SHARE, decoy, hold
from cryodrake.training.images import WeightedImages

BOX = 32


@pytest.fixture(scope="module")
def pair():
    """A map of 60 blobs within a ball, and its decoy."""
    generator = torch.Generator().manual_seed(0)
    axis = torch.arange(BOX, dtype=torch.float32) - BOX // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    volume = torch.zeros(BOX, BOX, BOX)
    for centre in (
        torch.nn.functional.normalize(torch.randn(60, 3, generator=generator)) * 8 * torch.rand(60, 1, generator=generator)
    ):
        volume += torch.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2) / 4)
    return volume, decoy(volume)


def test_it_has_the_power_of_the_map_in_each_shell(pair):
    shell = shell_index(BOX, torch.device("cpu")).flatten()
    of_map, of_decoy = (
        torch.zeros(int(shell.max()) + 1).index_add_(0, shell, volume_to_coeff(v).abs().square().flatten()) for v in pair
    )
    torch.testing.assert_close(of_decoy[1:13], of_map[1:13], rtol=0.1, atol=0)


def test_it_is_in_the_same_place(pair):
    ball = sphere(BOX, 0.4 * BOX, 0.0) > 0.5
    volume, other = pair
    assert float(other[ball].square().sum() / other.square().sum()) > 0.97
    assert float(volume[ball].square().sum() / volume.square().sum()) > 0.97


def test_it_is_another_map(pair):
    curve = fsc(*pair)
    assert float(curve[:3].min()) > 0.9  # at low resolution it is the same
    assert bool((curve[3:12] > curve[4:13]).all())  # and further and further from it
    assert float(curve[11:13].max()) < 0.35


def test_images_that_hold_a_map_are_told_from_chance():
    generator = torch.Generator().manual_seed(1)
    chance = 2 * torch.randn(600, generator=generator)
    assert not bool(hold(chance).any())
    gain = torch.cat([chance, 6 + 2 * torch.randn(200, generator=generator)])
    held = hold(gain)
    assert int(held[600:].sum()) > 150
    assert int(held[:600].sum()) < 2 * FALSE_SHARE * int(held.sum())
    assert float(gain[held].min()) > float(gain[~held].max())
    assert bool(hold(gain[600:]).all())
    assert not bool(hold(gain[600:604]).any())  # of so few nothing is known


def test_images_of_another_complex_hold_the_decoy_as_well(mixture_of_two, posed):
    store, rotation, shift_px, kind = posed(mixture_of_two(200, 200))
    images, everyone = WeightedImages(store, store.noise, torch.ones(store.n)), torch.arange(store.n)
    grid = refinement.Grid.draw(10.0, BOX, torch.Generator().manual_seed(0), store.device)
    for own in (0, 1):
        rows = torch.nonzero(kind == own).squeeze(1)
        members = WeightedImages(store.select(rows), store.noise, torch.ones(len(rows)))
        halves = refinement.half_maps(members, torch.arange(len(rows)) % 2 + 1, rotation[rows], shift_px[rows], 14.0, 0.42 * BOX)
        score, by_chance = (
            refinement.global_poses(images, everyone, volume, 12.0, grid, None, False, torch.eye(3)[None]).score
            for volume in (halves.raw.mean(0), decoy(halves.raw.mean(0)))
        )
        gain = score - by_chance
        assert float(hold(gain[kind == own]).float().mean()) > 0.95
        assert 0.3 < float((gain[kind != own] < 0).float().mean()) < 0.7
        assert not bool(hold(gain[kind != own]).any())
