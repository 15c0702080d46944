"""Maps of states from the data, on a small hinge whose poses and angles are known."""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryodrake.app.progress import open_screen
from cryodrake.data.density import gaussian_density
from cryodrake.data.procedural import procedural_complex
from cryodrake.fields.statistics import flatten_solvent, signal_to_noise
from cryodrake.fields.target import from_sums
from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.reconstruct import accumulate
from cryodrake.inference.source import AbstractImages
from cryodrake.io.mrc import read_map
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.ctf import CTFParams, ctf
from cryodrake.physics.disc import Disc
from cryodrake.physics.fsc import area_under, fsc
from cryodrake.physics.rotations import random_rotations
from cryodrake.physics.slices import raster, slice_ball
from cryodrake.training.state_files import write_states
from cryodrake.training.state_maps import LatentImages, maps_from_data

BOX, PIXEL_A, N = 32, 7.0, 2400
RADIUS_PX = 0.42 * BOX
ANGLES_DEG = np.linspace(-25, 25, 21)
SNR = 0.1
GRID = BallGrid(BOX, BOX / 2)


class ArrayImages(AbstractImages):
    """coeff and transfer (n k) in memory, white noise."""

    def __init__(self, disc, coeff, transfer, variance):
        self.disc, self.coeff, self.transfer, self.variance = disc, coeff, transfer, variance

    def matched(self, rows, k):
        transfer = self.transfer[rows, :k]
        return self.coeff[rows, :k] * transfer / self.variance, transfer**2 / self.variance


@pytest.fixture(scope="module")
def states():
    """(21 d d d): 30 % of the atoms turned about a hinge."""
    atoms = procedural_complex(seed=3, n_residues=1200, n_domains=6)
    arm, pivot = atoms[:, 0] > 10, np.array([10.0, 0, 0])
    maps = []
    for angle in ANGLES_DEG:
        turned = atoms.copy()
        turned[arm] = (atoms[arm] - pivot) @ Rotation.from_euler("z", angle, degrees=True).as_matrix().T + pivot
        maps.append(gaussian_density(torch.from_numpy(turned), torch.full((len(atoms),), 100.0), BOX, PIXEL_A, 2 * PIXEL_A))
    return torch.stack(maps)


@pytest.fixture(scope="module")
def data(states):
    """2400 noisy images at known poses; the latent is the angle, in units of 15°."""
    g = torch.Generator().manual_seed(0)
    disc = Disc.build(BOX)
    rotation, state = random_rotations(N, g), torch.randint(len(states), (N,), generator=g)
    shift_px = 4 * (torch.rand(N, 2, generator=g) - 0.5)
    u = 10000 + 10000 * torch.rand(N, generator=g)
    voltage, cs, w, zero, size = (torch.full((N,), x) for x in (300.0, 2.7, 0.1, 0.0, PIXEL_A))
    transfer = ctf(CTFParams(size, voltage, cs, w, u, u - 500, zero, zero, zero), disc.kxy, BOX * size)
    coeff = torch.zeros(N, disc.n_points, dtype=torch.complex64)
    for s, volume in enumerate(states):
        coeff[state == s] = torch.view_as_complex(slice_ball(raster(volume, GRID), GRID, rotation[state == s], disc.kxy))
    coeff *= transfer * shift_phases(-shift_px, disc.kxy, BOX)
    variance = float(coeff.abs().square().sum()) * 2 / (N * BOX**2) / SNR
    coeff += math.sqrt(variance / 2) * torch.view_as_complex(torch.randn(N, disc.n_points, 2, generator=g))
    latents = torch.from_numpy(ANGLES_DEG).float()[state, None] / 15
    half = torch.randperm(N, generator=g) % 2 + 1
    return LatentImages(ArrayImages(disc, coeff, transfer, variance), rotation, shift_px, half, latents, None, RADIUS_PX)


def plain_map(data, rows):
    """Back-projection of these images, filtered by the FSC of their halves."""
    halves = [rows[data.half[rows] == h] for h in (1, 2)]
    sums = [accumulate(data.images, r, data.rotation[r], data.shift_px[r], GRID) for r in halves]
    return from_sums(sums[0] + sums[1], GRID, RADIUS_PX, signal_to_noise(*sums, GRID, RADIUS_PX)).density[0]


def auc(found, truth):
    return area_under(fsc(found, flatten_solvent(truth, RADIUS_PX, 1.5))[:-1])


@pytest.mark.parametrize("s", [2, 10, 16])
def test_a_state_beats_the_static_map_and_the_nearest_images(data, states, s):
    found = maps_from_data(data, torch.tensor([ANGLES_DEG[s] / 15]).float(), bandwidths=12)
    near = (data.latents[:, 0] - ANGLES_DEG[s] / 15).abs().argsort(stable=True)[: N // 20]
    reached = auc(found.map, states[s])
    assert reached > auc(plain_map(data, torch.arange(N)), states[s]) + 0.004
    assert reached > auc(plain_map(data, near), states[s]) + 0.05
    # Shells that motion blurs most take fewer images than the last, which are noise in any case.
    assert int(found.n_images[4:12].max()) < int(found.n_images[-1])


def test_the_fsc_tells_the_half_maps_agreement_with_the_truth(data, states):
    """FSC against the truth is √(FSC between halves), for what each half alone shows (Rosenthal & Henderson 2003)."""
    found = maps_from_data(data, torch.zeros(1), bandwidths=12)
    truth = flatten_solvent(states[10], RADIUS_PX, 1.5)
    alone = fsc(flatten_solvent(found.half_maps[0], RADIUS_PX, 1.5), truth)
    assert float((alone - found.fsc.clamp(min=0).sqrt())[2:12].abs().max()) < 0.1
    halves = [flatten_solvent(volume, RADIUS_PX, 1.5) for volume in found.half_maps]
    torch.testing.assert_close(found.fsc, fsc(*halves))


def test_maps_are_on_the_scale_of_the_density(data, states):
    """However many images each shell holds."""
    found = maps_from_data(data, torch.zeros(1), bandwidths=12)
    truth = flatten_solvent(states[10], RADIUS_PX, 1.5)
    slope = float((found.half_maps.mean(0) * truth).sum() / (truth * truth).sum())
    assert slope == pytest.approx(1, abs=0.1)


def test_latents_that_tell_nothing_give_the_static_map(data, states):
    shuffled = data.latents[torch.randperm(N, generator=torch.Generator().manual_seed(1))]
    found = maps_from_data(replace(data, latents=shuffled), torch.zeros(1), bandwidths=12)
    static = plain_map(data, torch.arange(N))
    assert auc(found.map, states[10]) > auc(static, states[10]) - 0.01


def test_precisions_weigh_the_coordinates(data):
    """A second coordinate of noise, known to be uncertain, changes nothing; taken at face value, it would."""
    noise = 3 * torch.randn(N, 1, generator=torch.Generator().manual_seed(2))
    both, z = torch.cat([data.latents, noise], dim=1), torch.zeros(2)
    precision = torch.diag_embed(torch.tensor([1.0, 0.0])).expand(N, 2, 2)
    alone = maps_from_data(data, z[:1], bandwidths=4)
    known = maps_from_data(replace(data, latents=both, precision=precision), z, bandwidths=4)
    believed = maps_from_data(replace(data, latents=both), z, bandwidths=4)
    torch.testing.assert_close(known.map, alone.map)
    assert float((believed.map - alone.map).norm()) > 0.05 * float(alone.map.norm())


def test_representative_states_are_written_with_halves_and_fsc(data, tmp_path, monkeypatch):
    few = functools.partial(maps_from_data, bandwidths=4)
    monkeypatch.setattr("cryodrake.training.state_files.maps_from_data", few)
    with open_screen() as screen:
        write_states(tmp_path / "states", data, PIXEL_A, screen, n=3)
    z = np.loadtxt(tmp_path / "states" / "z_values.txt", ndmin=2)
    assert z.shape == (3, 1)
    assert (np.diff(z[:, 0]) > 0).all()
    expected = few(data, torch.from_numpy(z[1]).float())
    volume, pixel_size_A = read_map(tmp_path / "states" / "state_01.mrc")
    assert pixel_size_A == pytest.approx(PIXEL_A)
    np.testing.assert_allclose(volume, expected.map, atol=1e-4 * float(expected.map.abs().max()))
    half, _ = read_map(tmp_path / "states" / "state_01_half2_unfil.mrc")
    np.testing.assert_allclose(half, expected.half_maps[1], atol=1e-4 * float(expected.half_maps.abs().max()))
    table = np.genfromtxt(tmp_path / "states" / "state_01_fsc.csv", delimiter=",", names=True)
    np.testing.assert_allclose(table["fsc"], expected.fsc[1:], atol=1e-4)
    assert table["images"].tolist() == expected.n_images[1:].tolist()
    np.testing.assert_allclose(table["frequency_inv_A"], np.arange(1, 17) / (BOX * PIXEL_A), atol=1e-6)
