"""The joint filter against its formula voxel by voxel; what it keeps, what it loses, and that coordinates are nothing to it."""

import pytest
import torch
from scipy import ndimage

from cryodrake.physics.fourier import coeff_to_volume, volume_to_coeff
from cryodrake.physics.fsc import shell_index
from cryodrake.physics.masks import sphere
from cryodrake.training import joint_filter
from cryodrake.training.joint_filter import band_covariance, filter_jointly, thirds
from cryodrake.training.local_filter import BANDS, band_noise, bands, filter_locally

BOX, Z = 24, 3
CPU = torch.device("cpu")
EVERYWHERE = torch.ones(BOX, BOX, BOX)


def noise(seed, n=Z):
    return torch.randn(n, BOX, BOX, BOX, generator=torch.Generator().manual_seed(seed))


def turning(z=Z):
    """Components of which a ball of voxels varies along one direction, and nothing else."""
    there = sphere(BOX, 4.0, 2.0, CPU).roll(5, 2) * coeff_to_volume(volume_to_coeff(noise(1, 1)[0]) * (shell_index(BOX) < 8))
    direction = torch.tensor([0.8, -0.6, 0.3])[:z]
    return direction[:, None, None, None] * there * 20, there


@pytest.mark.parametrize("radius", [6.0, 9.3, 12.0])
def test_thirds_add_up_to_one(radius):
    windows = thirds(BOX, radius, CPU)
    assert len(windows) == 3
    torch.testing.assert_close(sum(windows), torch.ones(BOX, BOX, BOX // 2 + 1))


def test_it_is_the_formula_at_every_place():
    """One band, a noise that is known, means by scipy; eigenvectors in place of the matrices' inverse."""
    components, whole = noise(2) + turning()[0], [torch.ones(BOX, BOX, BOX // 2 + 1)]
    a = torch.randn(Z, Z, generator=torch.Generator().manual_seed(3))
    covariance = a @ a.T + torch.eye(Z)
    found = filter_jointly(components, whole, EVERYWHERE, 3.0, covariance[None])
    products = torch.einsum("iabc,jabc->abcij", components, components)
    means = products.unflatten(0, (-1, 2)).unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).mean((1, 3, 5))
    smooth = means.numpy()
    for axis in range(3):
        smooth = ndimage.correlate1d(smooth, (0.25, 0.5, 0.25), axis, mode="nearest")
    smooth = torch.from_numpy(smooth)
    values, vectors = torch.linalg.eigh(covariance)
    root, inverse = (vectors * values.sqrt()) @ vectors.T, (vectors / values.sqrt()) @ vectors.T
    strength, along = torch.linalg.eigh(inverse @ smooth @ inverse)
    kept = (along * (strength**2 / (strength**2 + 9))[..., None, :]) @ along.mT
    weights = (root @ kept @ inverse).repeat_interleave(2, 0).repeat_interleave(2, 1).repeat_interleave(2, 2)
    expected = torch.einsum("abcij,jabc->iabc", weights, components)
    torch.testing.assert_close(found, expected, atol=1e-3 * float(expected.std()), rtol=0)


@pytest.mark.parametrize("is_noise_known", [False, True])
def test_other_coordinates_of_states_are_the_same_filter(is_noise_known):
    """Components of mixed coordinates are filtered to the mixture of what they were."""
    components, mix = noise(4) + turning()[0], torch.randn(Z, Z, generator=torch.Generator().manual_seed(5))
    mixed = torch.einsum("ij,jabc->iabc", mix, components)
    level = (2 * torch.eye(Z)).expand(3, Z, Z) if is_noise_known else None
    of_mixed = mix @ level @ mix.T if is_noise_known else None
    found = filter_jointly(mixed, thirds(BOX, 12.0, CPU), EVERYWHERE, 8.0, of_mixed)
    expected = torch.einsum("ij,jabc->iabc", mix, filter_jointly(components, thirds(BOX, 12.0, CPU), EVERYWHERE, 8.0, level))
    torch.testing.assert_close(found, expected, atol=1e-3 * float(expected.abs().max()), rtol=0)


def test_noise_goes_and_what_is_free_of_it_stays():
    components = noise(6)
    assert float(filter_jointly(components, thirds(BOX, 12.0, CPU), EVERYWHERE, 8.0).square().mean()) < 0.01
    none = torch.zeros(BANDS + 1, Z, Z)
    torch.testing.assert_close(filter_jointly(components, bands(BOX, CPU), EVERYWHERE, 3.0, none), components, atol=1e-4, rtol=0)
    nothing = torch.zeros(Z, BOX, BOX, BOX)
    assert torch.equal(filter_jointly(nothing, thirds(BOX, 12.0, CPU), EVERYWHERE, 8.0), nothing)


def test_beside_what_is_very_strong_noise_is_told_as_elsewhere():
    """Local means are covariances, though signal end a voxel away: noise has a square root."""
    components = noise(11)
    components[:, 8:13, 8:13, 8:13] += 1e4 * noise(12)[:, 8:13, 8:13, 8:13]
    products = joint_filter._local_products(components, EVERYWHERE[::2, ::2, ::2] > 0)
    assert float(torch.linalg.eigvalsh(products.double())[:, 0].min()) > -1e-6 * float(products.abs().max())
    torch.testing.assert_close(joint_filter._of_faintest(products).diagonal(), torch.full((Z,), 0.8), atol=0.15, rtol=0)


def test_a_component_that_is_nothing_leaves_the_others_alone():
    components = noise(7) + turning()[0]
    with_nothing = torch.cat([components, torch.zeros(1, BOX, BOX, BOX)])
    found = filter_jointly(with_nothing, thirds(BOX, 12.0, CPU), EVERYWHERE, 8.0)
    expected = filter_jointly(components, thirds(BOX, 12.0, CPU), EVERYWHERE, 8.0)
    torch.testing.assert_close(found[:Z], expected, atol=1e-3 * float(expected.std()), rtol=0)
    assert not bool(found[Z].any())


def test_what_varies_along_one_direction_is_kept_better_than_one_component_at_a_time():
    truth, there = turning()
    halves = torch.stack([truth + level for level in noise(8, 2 * Z).unflatten(0, (2, Z))])
    mean, mask = halves.mean(0), sphere(BOX, 11.0, 1.0, CPU)
    jointly = filter_jointly(mean, bands(BOX, CPU), mask, 3.0, band_covariance((halves[0] - halves[1]) / 2, mask))
    singly = torch.stack([filter_locally(v, band_noise(halves[:, i], mask)) for i, v in enumerate(mean)]) * mask

    def error(found):
        return float((found - truth * mask).square().sum())

    assert error(jointly) < 0.7 * error(singly)
    assert float((jointly * (there == 0)).square().sum()) < 0.1 * float((mean * mask * (there == 0)).square().sum())
    assert not bool(jointly[:, mask == 0].any())


def test_the_covariance_of_noise_is_that_of_half_the_difference():
    """Of half sets; its diagonal is what the local filter takes for each alone."""
    halves, mask = noise(9, 2 * Z).unflatten(0, (2, Z)), sphere(BOX, 9.0, 1.0, CPU)
    halves[:, 1] += halves[:, 0]
    found = band_covariance((halves[0] - halves[1]) / 2, mask)
    singly = torch.stack([band_noise(halves[:, i], mask) for i in range(Z)], 1)
    torch.testing.assert_close(found.diagonal(dim1=1, dim2=2), singly)
    torch.testing.assert_close(found[2:, 0, 1] / found[2:, 0, 0], torch.ones(BANDS - 1), atol=0.3, rtol=0)
    torch.testing.assert_close(found, found.mT)


def test_what_is_faintest_is_noise_where_signal_is_elsewhere():
    components = noise(10) * torch.tensor([1.0, 3.0, 0.2])[:, None, None, None]
    products = joint_filter._local_products(components + turning()[0], EVERYWHERE[::2, ::2, ::2] > 0)
    found = joint_filter._of_faintest(products).diagonal()
    assert bool((found / torch.tensor([1.0, 9.0, 0.04]) > 0.6).all())
    assert bool((found / torch.tensor([1.0, 9.0, 0.04]) < 1.0).all())
