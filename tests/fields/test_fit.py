"""Fits recover a known map from noisy back-projections, and the parts they are made of are what they say."""

import math

import pytest
import torch

from cryodrake.fields import statistics, target
from cryodrake.fields.fit import FitSettings, fit_network
from cryodrake.fields.grid import GridField
from cryodrake.fields.lattice import half_lattice
from cryodrake.fields.mlp import MLPField
from cryodrake.physics.fourier import volume_to_coeff
from cryodrake.physics.fsc import area_under, fsc

BOX = 32
RADIUS_PX = 12.0


@pytest.fixture(scope="module")
def ssnr(half_sums, grid):
    return statistics.signal_to_noise(*half_sums, grid, RADIUS_PX)


@pytest.fixture(scope="module")
def wanted(half_sums, grid, ssnr):
    return target.from_sums(half_sums[0] + half_sums[1], grid, RADIUS_PX, ssnr)


def test_signal_to_noise_is_that_of_the_simulation(blobs, half_sums, grid, ssnr):
    sums = half_sums[0] + half_sums[1]
    density = statistics.flatten_solvent(
        statistics.wiener_map(sums, grid, 1e-3 * statistics.shell_weight(sums, grid)), RADIUS_PX, 1.5
    )
    truth = statistics.flatten_solvent(blobs.density, RADIUS_PX, 1.5)
    curve = fsc(density, truth)
    # Against the truth FSC = sqrt(ssnr / (1 + ssnr)) (Rosenthal & Henderson 2003, J. Mol. Biol. 333, 721).
    expected = (ssnr / (1 + ssnr)).sqrt()
    assert float((curve - expected)[2:10].abs().max()) < 0.05
    assert ssnr[2] > 100 * ssnr[13]


def test_flattening_removes_an_offset(blobs):
    assert float(statistics.flatten_solvent(blobs.density, RADIUS_PX, 2.0)[0].abs().max()) == 0
    plain = statistics.flatten_solvent(blobs.density, RADIUS_PX, 2.0)
    offset = statistics.flatten_solvent(blobs.density + 5, RADIUS_PX, 2.0)
    assert torch.allclose(plain, offset, atol=1e-4)


def test_target_is_white_and_gives_the_map_back(wanted):
    shell = wanted.points.norm(dim=1).round().long()
    for s in (3, 8, 13):
        assert float((wanted.values[shell == s] ** 2).mean()) == pytest.approx(1, abs=1e-3)
    assert float(wanted.weights.mean()) == pytest.approx(1, abs=1e-4)
    rest = half_lattice(BOX, BOX / 2 + 0.5)
    assert len(wanted.points) == len(rest)
    k = wanted.points[100].long() + BOX // 2
    coefficient = volume_to_coeff(wanted.density[0])[k[2], k[1], k[0]]
    back = torch.view_as_complex(wanted.values[100] * wanted.profile[shell[100]])
    assert torch.allclose(back, coefficient, atol=1e-4)


def test_network_recovers_the_map_as_well_as_back_projection(blobs, wanted):
    field = MLPField(BOX, 96.0, 0.3 * RADIUS_PX, positions=192, width=96)
    losses = fit_network(field, wanted, FitSettings(epochs=16, batch=512))
    with torch.no_grad():
        density = field.to_volume()[0]
    reached = area_under(fsc(density, blobs.density))
    back_projected = area_under(fsc(wanted.density[0], blobs.density))
    assert losses[-1] < 0.1 < losses[0]
    assert back_projected > 0.7
    assert reached > back_projected - 0.01


def test_grid_field_takes_the_map_itself(blobs, wanted):
    field = GridField(BOX, 96.0)
    with torch.no_grad():
        field.density.copy_(wanted.density)
        curve = fsc(field.to_volume()[0], wanted.density[0])
    assert float(curve[1:-1].min()) > 1 - 1e-4  # the Nyquist shell lacks the mates of the box's last planes
    assert curve[-1] > 0.95


def test_fits_with_the_same_seed_are_identical(wanted):
    def fitted() -> torch.Tensor:
        field = MLPField(BOX, 96.0, 3.0, positions=32, width=32, seed=1)
        fit_network(field, wanted, FitSettings(epochs=1, seed=7))
        return field.output.weight.detach()

    assert torch.equal(fitted(), fitted())


def test_profile_interpolates_and_ends(wanted):
    field = MLPField(BOX, 96.0, 3.0, positions=8, width=8)
    field.profile.amplitude.copy_(torch.arange(17.0))
    points = torch.tensor([[3.0, 0, 0], [0, 3.25, 0], [0, 0, 16.0], [0, 16.4, 0], [16.6, 0, 0]])
    assert field.profile(points)[:, 0].tolist() == pytest.approx([3, 3.25, 16, 16, 0])
    assert math.isclose(field.band, 16.5)
