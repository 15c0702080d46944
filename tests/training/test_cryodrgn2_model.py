"""The losses, term by term, and which map an image is searched against."""

import pytest
import torch

from cryodrake.fields.conditioned import ConditionedField
from cryodrake.fields.latent_encoder import LatentEncoder
from cryodrake.fields.latent_table import LatentTable
from cryodrake.fields.mlp import MLPField
from cryodrake.inference.likelihood import shift_phases
from cryodrake.physics.rotations import random_rotations
from cryodrake.training.cryodrgn2.images import NormalisedImages, phase_flipped
from cryodrake.training.cryodrgn2.model import squared_error
from cryodrake.training.cryodrgn2.model_flexible import FlexibleModel
from cryodrake.training.cryodrgn2.model_rigid import RigidModel

ZDIM = 4


@pytest.fixture(scope="module")
def images(store):
    return NormalisedImages(store)


@pytest.fixture
def batch(images):
    g = torch.Generator().manual_seed(0)
    return images.batch(torch.tensor([3, 700, 12, 55, 9]), random_rotations(5, g), torch.randn(5, 2, generator=g))


def plain(store):
    return MLPField(store.box, store.box_A, 2.0, positions=16, width=12, depth=1)


@pytest.fixture(params=["encoder", "table"])
def flexible(request, store):
    latents = LatentEncoder(store.disc.n_points, ZDIM, 16, 1) if request.param == "encoder" else LatentTable(store.n, ZDIM)
    return FlexibleModel(ConditionedField(plain(store), ZDIM), latents)


def test_a_batch_is_images_at_their_poses(images, batch, store):
    kxy = store.disc.kxy
    moved = batch.images * shift_phases(torch.tensor([0.5, -1.0]), kxy, store.box)
    same = images.batch(batch.rows, torch.eye(3).expand(5, 3, 3), torch.tensor([0.5, -1.0]).expand(5, 2))
    torch.testing.assert_close(same.centred, moved)
    torch.testing.assert_close(same.points[2, :, :2], kxy)
    assert float(same.points[..., 2].abs().max()) == 0
    torch.testing.assert_close(batch.images, store.images(batch.rows) / images.std)


def test_phase_flipping_makes_every_contrast_positive(images, batch, store):
    clean = torch.randn(5, store.disc.n_points, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    transfer = store.ctf(batch.rows)
    assert bool((transfer < 0).any())
    torch.testing.assert_close(phase_flipped(clean * transfer, transfer), clean * transfer.abs())
    torch.testing.assert_close(images.flipped(batch.rows), batch.phase_flipped)


def test_the_squared_error_is_that_of_the_whole_disc_point_by_point():
    g = torch.Generator().manual_seed(0)
    y = torch.randn(2, 7, dtype=torch.complex64, generator=g)
    c, v = torch.randn(2, 7, generator=g), torch.randn(2, 7, 2, generator=g)
    total = 0.0
    for i in range(2):
        for k in range(7):
            rest = complex(y[i, k]) - float(c[i, k]) * complex(float(v[i, k, 0]), float(v[i, k, 1]))
            total += 2 * abs(rest) ** 2  # and at -k
    assert float(squared_error(y, c, v)) == pytest.approx(total / (2 * 2 * 7), rel=1e-5)


def test_the_rigid_loss_is_the_squared_error(batch, store):
    model = RigidModel(plain(store))
    slices = torch.stack([model.field(points) for points in batch.points])
    expected = squared_error(batch.centred, batch.transfer, slices)
    torch.testing.assert_close(model.loss(batch, torch.Generator()), expected)


def test_the_flexible_loss_is_the_error_plus_the_divergence_over_zdim_and_points(batch, flexible):
    """Against torch.distributions. Of the right sign: KL is added."""
    loss = flexible.loss(batch, torch.Generator().manual_seed(5))
    posterior = flexible.latents(batch.rows, batch.phase_flipped)
    normal = torch.distributions.Normal(posterior.mean, torch.exp(0.5 * posterior.log_variance))
    z = normal.mean + normal.stddev * torch.randn(5, ZDIM, generator=torch.Generator().manual_seed(5))
    slices = torch.stack([flexible.field.at(state)(points) for state, points in zip(z, batch.points, strict=True)])
    divergence = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
    assert float(divergence.detach()) > 0
    assert flexible.beta == 1 / ZDIM
    error = squared_error(batch.centred, batch.transfer, slices)
    expected = error + divergence / ZDIM / (2 * batch.images.shape[1])
    torch.testing.assert_close(loss, expected)


def test_every_parameter_is_trained_by_one_optimiser(batch, flexible):
    optimisers = flexible.optimisers(1e-4)
    trained = [p for optimiser in optimisers for group in optimiser.param_groups for p in group["params"]]
    assert sorted(map(id, trained)) == sorted(map(id, flexible.parameters()))
    assert optimisers[0].param_groups[0]["lr"] == 1e-4
    before = [p.detach().clone() for p in flexible.parameters()]
    flexible.loss(batch, torch.Generator().manual_seed(0)).backward()
    for optimiser in optimisers:
        optimiser.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, flexible.parameters(), strict=True))


def test_states_are_not_trained_at_random_poses(batch, flexible):
    flexible.pretraining_loss(batch, torch.Generator().manual_seed(0)).backward()
    assert all(p.grad is None for p in flexible.latents.parameters())
    assert all(p.grad is not None for p in flexible.field.parameters())


def test_images_are_searched_against_the_map_of_the_nearest_anchor(images, flexible):
    rows = torch.arange(300, 0, -1)
    z = flexible.posterior(images, rows).mean
    groups = flexible.groups(images, rows, False, 0)
    assert len(groups) == 3
    assert sorted(torch.cat([g.members for g in groups]).tolist()) == list(range(300))
    point = torch.tensor([[3.0, 1.0, -2.0]])
    with torch.no_grad():
        for group in groups:  # k-means: an anchor is the mean of its images' states
            torch.testing.assert_close(group.field(point), flexible.field.at(z[group.members].mean(0))(point), rtol=1e-3, atol=1e-4)


def test_in_an_exact_search_each_image_has_its_own_state(images, flexible):
    rows = torch.tensor([5, 1, 80])
    groups = flexible.groups(images, rows, True, 0)
    assert [g.members.tolist() for g in groups] == [[0], [1], [2]]
    z, point = flexible.posterior(images, rows).mean, torch.tensor([[3.0, 1.0, -2.0]])
    with torch.no_grad():
        for state, group in zip(z, groups, strict=True):
            torch.testing.assert_close(group.field(point), flexible.field.at(state)(point))


def test_the_saved_field_is_in_the_units_asked_for(store, flexible):
    z = torch.ones(1, ZDIM)
    torch.testing.assert_close(flexible.field_in_units_of(3.0).to_volume(z), 3 * flexible.field.to_volume(z))
    rigid = RigidModel(plain(store))
    torch.testing.assert_close(rigid.field_in_units_of(3.0).to_volume(), 3 * rigid.field.to_volume())
