"""States of images under a linear model: against numerical integration, and against a model that made the images."""

import pytest
import torch

from cryodrake.inference.states import States, component_columns, expected_residual, infer_states

B, K, R = 6, 40, 3


@pytest.fixture(scope="module")
def scene():
    """Images y = C(B_0 + Σ z B) + n as the sums see them: y·C/σ², C²/σ²."""
    g = torch.Generator().manual_seed(0)
    slices = torch.randn(B, K, R, dtype=torch.complex64, generator=g)
    ctf, sigma2 = torch.rand(B, K, generator=g) - 0.3, 40.0
    z = torch.randn(B, R - 1, generator=g)
    noise = torch.randn(B, K, dtype=torch.complex64, generator=g) * sigma2**0.5
    image = ctf * (slices[..., 0] + (slices[..., 1:] * z[:, None]).sum(2)) + noise
    return slices, ctf, image, sigma2, z


def likelihood(scene, i, z):
    """-Σ |Y - C V(z)|²/σ² + Σ |Y|²/σ² of image i, for many z (m 2), by its definition."""
    slices, ctf, image, sigma2, _ = scene
    model = ctf[i] * (slices[i, :, 0] + z.to(torch.complex64) @ slices[i, :, 1:].T)
    return -((image[i] - model).abs().square() - image[i].abs().square()).sum(1) / sigma2


def infer(scene):
    slices, ctf, image, sigma2, _ = scene
    columns = component_columns(torch.view_as_real(slices).flatten(2))
    return infer_states(ctf * image / sigma2, ctf**2 / sigma2, columns), columns


def test_the_posterior_is_that_of_numerical_integration(scene):
    states, _ = infer(scene)
    axis = torch.linspace(-6, 6, 241)
    z = torch.cartesian_prod(axis, axis)
    for i in range(B):
        log_joint = likelihood(scene, i, z) - 0.5 * z.square().sum(1) - torch.log(torch.tensor(2 * torch.pi))
        p = torch.softmax(log_joint, 0)
        mean = p @ z
        covariance = (p[:, None] * (z - mean)).T @ (z - mean)
        torch.testing.assert_close(states.mean[i], mean, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(torch.linalg.inv(states.precision[i]), covariance, atol=1e-3, rtol=1e-2)
        marginal = torch.logsumexp(log_joint, 0) + 2 * torch.log(axis[1] - axis[0])
        assert float(states.log_marginal[i]) == pytest.approx(float(marginal), abs=2e-2)


def test_amplitudes_are_of_the_map_at_the_mean(scene):
    states, _ = infer(scene)
    slices, ctf, image, sigma2, _ = scene
    model = ctf * (slices[..., 0] + (slices[..., 1:] * states.mean[:, None]).sum(2))
    torch.testing.assert_close(states.cross, (image * model.conj()).real.sum(1) / sigma2, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(states.power, model.abs().square().sum(1) / sigma2, rtol=1e-3, atol=1e-3)


def test_the_residual_is_half_the_gradient_of_the_expected_likelihood(scene):
    """By differentiating E over samples' exact moments: the likelihood's quadratic form in the slices."""
    states, columns = infer(scene)
    _, ctf, image, sigma2, _ = scene
    y = torch.view_as_real(ctf * image / sigma2).flatten(1)
    w = (ctf**2 / sigma2).repeat_interleave(2, dim=1)
    variable = columns.clone().requires_grad_()
    cross = torch.einsum("br,brk,bk->", states.weights, variable, y)
    power = torch.einsum("brs,brk,bsk,bk->", states.moments, variable, variable, w)
    (2 * cross - power).backward()
    found = component_columns(expected_residual(states, ctf * image / sigma2, ctf**2 / sigma2, columns))
    torch.testing.assert_close(found, variable.grad / 2, rtol=1e-4, atol=1e-4)


def test_known_states_have_no_doubt():
    z = torch.randn(4, 2, generator=torch.Generator().manual_seed(1))
    moments = States.known(z).moments
    torch.testing.assert_close(moments[:, 1:, 1:], z[:, :, None] * z[:, None], atol=1e-5, rtol=0)
    torch.testing.assert_close(moments[:, 0, 1:], z)


def test_what_is_integrated_out_is_a_coordinate_that_nobody_asks_for(scene):
    slices, ctf, image, sigma2, _ = scene
    columns = component_columns(torch.view_as_real(slices).flatten(2))
    whole, _ = infer(scene)
    found = infer_states(ctf * image / sigma2, ctf**2 / sigma2, columns[:, :2], besides=columns[:, 2:])
    torch.testing.assert_close(found.mean, whole.mean[:, :1])
    torch.testing.assert_close(torch.linalg.inv(found.precision), torch.linalg.inv(whole.precision)[:, :1, :1])
    for name in ("log_marginal", "cross", "power"):
        torch.testing.assert_close(getattr(found, name), getattr(whole, name))


def test_without_coordinates_only_the_mean_is_compared(scene):
    """zdim 0: the log marginal is the likelihood of the mean."""
    slices, ctf, image, sigma2, _ = scene
    columns = component_columns(torch.view_as_real(slices[..., :1]).flatten(2))
    states = infer_states(ctf * image / sigma2, ctf**2 / sigma2, columns)
    expected = torch.stack([likelihood(scene, i, torch.zeros(1, 2))[0] for i in range(B)])
    torch.testing.assert_close(states.log_marginal, expected, rtol=1e-3, atol=1e-3)
