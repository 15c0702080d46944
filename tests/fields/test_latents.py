"""States of images by encoder and by table: shapes, the Gaussian's algebra, and that a table's other rows stay where they are."""

import pytest
import torch

from cryodrake.fields.latent_encoder import LatentEncoder
from cryodrake.fields.latent_table import LatentTable
from cryodrake.fields.latents import StatePosterior

K, ZDIM = 50, 3


def images(n, seed=0):
    return torch.randn(n, K, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("latents", [LatentEncoder(K, ZDIM), LatentTable(9, ZDIM)], ids=["encoder", "table"])
def test_both_answer_with_a_mean_and_a_log_variance_for_each_image(latents):
    found = latents(torch.tensor([4, 0, 7, 8]), images(4))
    assert found.mean.shape == found.log_variance.shape == (4, ZDIM)
    assert latents.zdim == ZDIM


def test_the_encoder_reads_images_and_the_table_rows():
    encoder, table, rows = LatentEncoder(K, ZDIM), LatentTable(9, ZDIM), torch.arange(4)
    assert torch.equal(encoder(rows, images(4)).mean, encoder(rows + 5, images(4)).mean)
    assert not torch.equal(encoder(rows, images(4)).mean, encoder(rows, images(4, 1)).mean)
    assert torch.equal(table(rows, images(4)).mean, table(rows, images(4, 1)).mean)
    assert not torch.equal(table(rows, images(4)).mean, table(rows + 5, images(4)).mean)


def test_the_published_encoder_has_three_residual_layers_of_256():
    shapes = [tuple(p.shape) for p in LatentEncoder(K, 8).network.parameters() if p.ndim == 2]
    assert shapes == [(256, 2 * K), *[(256, 256)] * 3, (16, 256)]


def test_the_divergence_is_that_of_torch_and_positive():
    """Of the right sign: a posterior away from the prior costs, and pulling it there is what lowers the cost."""
    g = torch.Generator().manual_seed(0)
    found = StatePosterior(torch.randn(20, ZDIM, generator=g), torch.randn(20, ZDIM, generator=g))
    normal = torch.distributions.Normal(found.mean, (0.5 * found.log_variance).exp())
    prior = torch.distributions.Normal(torch.zeros(20, ZDIM), torch.ones(20, ZDIM))
    torch.testing.assert_close(found.divergence(), torch.distributions.kl_divergence(normal, prior).sum(1))
    assert bool((found.divergence() > 0).all())
    zero = torch.zeros(1, ZDIM)
    assert float(StatePosterior(zero, zero).divergence()) == 0
    mean = torch.full((1, ZDIM), 2.0, requires_grad=True)
    StatePosterior(mean, zero).divergence().sum().backward()
    torch.testing.assert_close(mean.grad, mean.detach())  # downhill is towards 0


def test_samples_have_the_posteriors_moments_and_gradients():
    mean = torch.tensor([[1.0, -2.0]], requires_grad=True)
    log_variance = torch.tensor([[0.0, 2.0]], requires_grad=True)
    found = StatePosterior(mean, log_variance)
    noise = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0))
    drawn = found.sample(noise).detach()
    torch.testing.assert_close(drawn.mean(0), mean[0].detach(), atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.var(0), log_variance[0].detach().exp(), atol=0, rtol=0.02)
    found.sample(torch.ones(1, 2)).sum().backward()
    torch.testing.assert_close(mean.grad, torch.ones(1, 2))
    torch.testing.assert_close(log_variance.grad, 0.5 * (0.5 * log_variance.detach()).exp())


def test_rows_that_are_not_in_the_batch_do_not_move():
    """Nor by Adam's momentum, when they were in an earlier one."""
    table = LatentTable(6, ZDIM)
    optimiser = table.optimiser(1e-4)
    before = table.rows.weight.detach().clone()

    def step(rows):
        optimiser.zero_grad()
        table(rows, images(len(rows))).mean.sum().backward()
        optimiser.step()
        return table.rows.weight.detach().clone()

    first = step(torch.tensor([0, 1, 2]))
    assert torch.equal(first[3:], before[3:])
    assert bool((first[:3, :ZDIM] != before[:3, :ZDIM]).all())
    second = step(torch.tensor([2, 3]))
    assert torch.equal(second[[0, 1, 4, 5]], first[[0, 1, 4, 5]])
    assert bool((second[[2, 3], :ZDIM] != first[[2, 3], :ZDIM]).all())


def test_plain_adam_would_have_moved_them():
    """The defect itself, so that the test above is known to be able to fail."""
    table = torch.nn.Parameter(torch.zeros(4, 2))
    optimiser = torch.optim.Adam([table], lr=0.1)
    for rows in ([0, 1], [2, 3]):
        optimiser.zero_grad()
        table[rows].sum().backward()
        before = table.detach().clone()
        optimiser.step()
    assert bool((table[:2] != before[:2]).all())
