"""States under a learned distribution: against numerical integration, and against distributions that made the states."""

import math
from itertools import pairwise

import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from cryodrake.inference.state_groups import groups_of, likeliest_groups, valleys
from cryodrake.inference.state_mixture import Evidence, GaussianMixture, learn, under
from cryodrake.inference.states import States

HEAPS = torch.tensor([[1.2, 0.0], [-1.0, 1.0], [-1.0, -1.0]])
SHARES = torch.tensor([0.5, 0.3, 0.2])


def seen(z, information, seed=1):
    """Posterior under a standard normal prior of states that images tell with so much information (n z z)."""
    n, dim = z.shape
    generator = torch.Generator().manual_seed(seed)
    root = torch.linalg.eigh(information)
    half = (root.eigenvectors * root.eigenvalues.clamp(min=0).sqrt()[:, None]) @ root.eigenvectors.mT
    noise = (half @ torch.randn(n, dim, 1, generator=generator)).squeeze(2)
    pull = (information @ z[:, :, None]).squeeze(2) + noise
    precision = information + torch.eye(dim)
    mean = torch.linalg.solve(precision, pull)
    nothing = torch.zeros(n)
    return States(mean, precision, nothing, nothing, nothing)


def equally(n, dim, information):
    return information * torch.eye(dim).expand(n, dim, dim)


@pytest.fixture(scope="module")
def heaps():
    """1500 images in three narrow heaps, told to 0.3; and the heap of each."""
    generator = torch.Generator().manual_seed(0)
    heap = torch.multinomial(SHARES, 1500, replacement=True, generator=generator)
    z = HEAPS[heap] + 0.1 * torch.randn(1500, 2, generator=generator)
    return seen(z, equally(1500, 2, 11.0)), heap, z


@pytest.fixture(scope="module")
def ring():
    """2000 images around a circle, told to 0.45."""
    angle = torch.rand(2000, generator=torch.Generator().manual_seed(2)) * 2 * math.pi
    z = 2**0.5 * torch.stack([angle.cos(), angle.sin()], 1)
    return seen(z, equally(2000, 2, 5.0)), z


def halves(n):
    return torch.arange(n) % 2 + 1


def a_mixture():
    wide = torch.tensor([[[0.6, 0.2], [0.2, 0.3]], [[0.1, 0.0], [0.0, 0.8]]], dtype=torch.float64)
    centre = torch.tensor([[0.5, -1.0], [-0.8, 0.7]], dtype=torch.float64)
    return GaussianMixture(torch.tensor([0.3, 0.7], dtype=torch.float64), centre, wide)


def test_likelihood_and_states_are_those_of_numerical_integration():
    """Of images that tell both coordinates, one, and nothing."""
    information = torch.stack([torch.diag(torch.tensor(v)) for v in ([3.0, 1.5], [4.0, 0.0], [0.0, 0.0])])
    states = seen(torch.tensor([[0.4, -0.2], [-0.5, 1.0], [0.0, 0.0]]), information)
    evidence, mixture = Evidence.of(states), a_mixture()
    axis = torch.linspace(-8, 8, 401, dtype=torch.float64)
    z, cell = torch.cartesian_prod(axis, axis), float(axis[1] - axis[0]) ** 2
    log_prior = mixture.log_density(z)
    assert float(log_prior.exp().sum() * cell) == pytest.approx(1, abs=1e-4)
    mean, covariance, chance = mixture.states(evidence)
    for i in range(3):
        log_joint = log_prior + z @ evidence.pull[i] - 0.5 * torch.einsum("pz,zy,py->p", z, evidence.information[i], z)
        total = torch.logsumexp(log_joint, 0) + math.log(cell)
        assert float(mixture.log_likelihood(evidence)[i]) == pytest.approx(float(total), abs=1e-4)
        p = torch.softmax(log_joint, 0)
        torch.testing.assert_close(mean[i], p @ z, atol=1e-4, rtol=1e-4)
        apart = z - p @ z
        torch.testing.assert_close(covariance[i], (p[:, None] * apart).T @ apart, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(chance[2], mixture.share)  # an image that says nothing is as likely of each as all are


def test_under_the_standard_normal_nothing_changes(heaps):
    states, chance = under(GaussianMixture.standard(2, torch.device("cpu")), heaps[0])
    torch.testing.assert_close(states.mean, heaps[0].mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(states.precision, heaps[0].precision, atol=1e-4, rtol=1e-5)
    assert bool((chance == 1).all())


def test_a_step_makes_images_likelier(heaps):
    evidence, mixture = Evidence.of(heaps[0]), a_mixture()
    heard = []
    for _ in range(12):
        mixture, log_likelihood = mixture.step(evidence, torch.zeros(2, 2, dtype=torch.float64))
        heard.append(log_likelihood)
    assert all(b > a - 1e-3 for a, b in pairwise(heard))  # shares hold an image too many, which costs next to nothing
    assert heard[-1] > heard[0] + 0.5


def test_heaps_are_found_with_their_shares(heaps):
    states, heap, z = heaps
    mixture = learn(states, halves(1500), 0)
    found, chance = under(mixture, states)
    label = likeliest_groups(groups_of(mixture), chance)
    shares = torch.bincount(label) / 1500
    assert len(shares) == 3
    torch.testing.assert_close(shares, torch.bincount(heap) / 1500, atol=0.01, rtol=0)
    assert adjusted_rand_score(heap, label) > 0.98
    error, before = (found.mean - z).square().mean(), (states.mean - z).square().mean()
    assert error < 0.25 * before  # heaps are a third as wide as what an image alone can tell
    told = torch.linalg.inv(found.precision).diagonal(dim1=1, dim2=2).mean()
    assert error < told < 0.5 * torch.linalg.inv(states.precision).diagonal(dim1=1, dim2=2).mean()  # EM narrows normals slowly


def test_a_ring_is_one_group_and_its_images_come_nearer_to_it(ring):
    states, z = ring
    mixture = learn(states, halves(2000), 0)
    assert len(mixture.share) >= 4
    assert int(groups_of(mixture).max()) == 0
    found, _ = under(mixture, states)
    assert (found.mean - z).square().mean() < 0.85 * (states.mean - z).square().mean()


@pytest.mark.parametrize(("dim", "information"), [(2, 20.0), (3, 0.5)])
def test_normal_states_stay_as_they_are(dim, information):
    z = torch.randn(1500, dim, generator=torch.Generator().manual_seed(3))
    states = seen(z, equally(1500, dim, information))
    assert len(learn(states, halves(1500), 0).share) == 1


def test_of_few_images_or_none_in_a_half_set_nothing_is_learned():
    z = HEAPS[torch.arange(30) % 3]
    states = seen(z, equally(30, 2, 50.0))
    assert len(learn(states, halves(30), 0).share) == 1
    assert len(learn(states, torch.ones(30, dtype=torch.int64), 0).share) == 1


def test_one_coordinate_is_enough(heaps):
    z = heaps[2][:, :1]
    mixture = learn(seen(z, equally(1500, 1, 60.0)), halves(1500), 0)
    assert int(groups_of(mixture).max()) == 1  # two heaps lie one above the other


def test_a_coordinate_of_which_images_say_nothing_stays_standard(heaps):
    """It keeps the prior's variance, and the heaps are found in the others."""
    z = torch.cat([heaps[2], torch.zeros(1500, 1)], 1)
    states = seen(z, torch.diag(torch.tensor([11.0, 11.0, 0.0])).expand(1500, 3, 3))
    mixture = learn(states, halves(1500), 0)
    assert int(groups_of(mixture).max()) == 2
    found, _ = under(mixture, states)
    assert float(torch.linalg.inv(found.precision)[:, 2, 2].mean()) == pytest.approx(1, abs=0.3)


def test_the_valley_is_the_least_density_on_a_line_for_equal_normals():
    """Two unit normals at a distance d: in the middle 2 exp(-d²/8) of a peak's 1 + exp(-d²/2)."""
    for d in (3.0, 4.0, 6.0):
        centre = torch.tensor([[0.0, 0.0], [d, 0.0]], dtype=torch.float64)
        share, covariance = torch.full((2,), 0.5, dtype=torch.float64), torch.eye(2, dtype=torch.float64).expand(2, 2, 2)
        expected = 2 * math.exp(-(d**2) / 8) / (1 + math.exp(-(d**2) / 2))
        assert float(valleys(GaussianMixture(share, centre, covariance))[0, 1]) == pytest.approx(min(1.0, expected), rel=1e-6)


def test_groups_are_what_hangs_together():
    centre = torch.tensor([[0.0], [20.0], [1.0], [40.0]], dtype=torch.float64)
    share = torch.tensor([0.2, 0.45, 0.3, 0.05], dtype=torch.float64)
    group = groups_of(GaussianMixture(share, centre, torch.ones(4, 1, 1, dtype=torch.float64))).tolist()
    assert group[0] == group[2]
    assert len(set(group)) == 3


def test_the_group_with_the_most_images_comes_first_and_none_is_empty():
    """Of four groups of five normals; no image is likeliest in the second, and that of two normals wins by their sum."""
    group = torch.tensor([0, 1, 2, 3, 2])
    chance = torch.tensor([[0.9, 0.1, 0, 0, 0], [0, 0.4, 0.3, 0, 0.3], [0, 0, 1.0, 0, 0], [0, 0, 0, 1.0, 0], [0, 0, 0.1, 0, 0.9]])
    assert likeliest_groups(group, torch.cat([chance, chance[3:4]])).tolist() == [2, 0, 0, 1, 0, 1]
