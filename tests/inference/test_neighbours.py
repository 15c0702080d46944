"""Distances between states, and the sets of images that they make."""

import torch

from cryodrake.inference.neighbours import nearest_first, set_sizes, squared_distances


def test_distances_are_mahalanobis_under_each_images_own_precision():
    g = torch.Generator().manual_seed(0)
    latents, root, z = torch.randn(7, 3, generator=g), torch.randn(7, 3, 3, generator=g), torch.randn(3, generator=g)
    precision = root @ root.transpose(1, 2)
    found = squared_distances(latents, precision, z)
    for i in range(7):
        d = (latents[i] - z).double()
        assert abs(float(d @ precision[i].double() @ d) - float(found[i])) < 1e-4 * (1 + float(found[i]))
    torch.testing.assert_close(squared_distances(latents, None, z), torch.cdist(latents, z[None])[:, 0] ** 2)


def test_an_uncertain_coordinate_counts_less():
    latents = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    precision = torch.diag_embed(torch.tensor([[0.1, 10.0], [0.1, 10.0]]))
    assert squared_distances(latents, precision, torch.zeros(2)).argmin() == 0
    assert squared_distances(latents, None, torch.zeros(2)).argmin() == 1


def test_each_half_is_ordered_by_distance_and_ties_by_row():
    distance = torch.tensor([3.0, 1.0, 2.0, 1.0, 0.0, 1.0])
    first, second = nearest_first(distance, torch.tensor([1, 2, 1, 1, 2, 2]))
    assert first.tolist() == [3, 2, 0]
    assert second.tolist() == [4, 1, 5]


def test_sets_grow_in_equal_ratios_to_all():
    assert set_sizes(1600, 100, 5) == [100, 200, 400, 800, 1600]
    assert set_sizes(30, 50, 3) == [30, 30, 30]
    assert set_sizes(0, 50, 2) == [0, 0]
