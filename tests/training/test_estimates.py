"""Noise and scales that were put into images are found again."""

import copy
import json

import pytest
import torch

from cryodrake.inference.reference import Reference
from cryodrake.io.mrc import read_map
from cryodrake.io.particles import read_particles
from cryodrake.physics.rotations import random_rotations
from cryodrake.training.estimates import image_amplitudes, residual_noise

RADIUS = 14.0
LEVELS = (0.5, 2.0)


@pytest.fixture(scope="module")
def scene(store, data):
    """Images of two optics groups made over: scale · C · V at the particle's place, in white and in coloured noise."""
    g = torch.Generator().manual_seed(0)
    made = copy.deepcopy(store)
    made.group = torch.arange(store.n) % 2
    disc, n = store.disc, store.n
    truth = torch.from_numpy(read_map(data / "truth" / "volumes" / "state_000.mrc")[0])
    truth = truth - truth.mean()
    rotation = random_rotations(n, g)
    shift_px = 4 * torch.rand(n, 2, generator=g) - 2
    scale = (1 + 0.15 * torch.randn(n, generator=g)).clamp(0.5, 1.6)
    label = torch.arange(n) // 2 % 2
    references = tuple(Reference.build(factor * truth / truth.std(), RADIUS) for factor in (1.0, 1.1))  # they differ a little
    k = disc.count(RADIUS)
    slices = [torch.view_as_complex(r.slices(rotation, disc.kxy[:k])) for r in references]
    slices = torch.where((label == 0)[:, None], *slices)
    at = -shift_px  # where the particle is
    phase = -2 * torch.pi / disc.box * (at @ disc.kxy[:k].T)
    signal = torch.zeros(n, disc.n_points, dtype=torch.complex64)
    signal[:, :k] = scale[:, None] * store.ctf(torch.arange(n), k) * torch.polar(torch.ones_like(phase), phase) * slices
    spectrum = torch.stack([torch.full((disc.n_shells,), LEVELS[0]), LEVELS[1] / (1 + torch.arange(disc.n_shells) / 8)])
    white = torch.randn(n, disc.n_points, dtype=torch.complex64, generator=g)
    noise = white * spectrum[made.group][:, disc.shell].sqrt()
    made._storage.write(torch.arange(n).numpy(), signal + noise)
    return made, references, (label, rotation, shift_px), scale, spectrum


def test_the_noise_is_what_the_model_leaves(scene):
    store, references, poses, scale, spectrum = scene
    before = torch.rand(2, store.disc.n_shells)
    found = residual_noise(store, references, *poses, scale, before)
    # Images are windowed, so the unwindowed noise is larger by the window's power.
    torch.testing.assert_close(found[:, 2:16] * store.window_power, spectrum[:, 2:16], rtol=0.06, atol=0)
    torch.testing.assert_close(found[:, 1] * store.window_power, spectrum[:, 1], rtol=0.15, atol=0)
    assert torch.equal(found[:, 0], before[:, 0])  # no points there
    wrong = residual_noise(store, references, poses[0], poses[1].flip(0), poses[2], scale, before)
    assert bool((wrong[:, 2:6] > 1.2 * found[:, 2:6]).all())


def test_scales_are_found(scene):
    store, references, poses, scale, spectrum = scene
    found = image_amplitudes(store, references, *poses, spectrum).scale
    assert float(found.mean()) == pytest.approx(1, abs=1e-5)
    true = scale / scale.mean()
    assert float(torch.corrcoef(torch.stack([found, true]))[0, 1]) > 0.95
    assert float((found - true).abs().median()) < 0.04


def test_a_scale_is_the_most_probable_one(scene):
    """Of s on a fine grid: Σ |Y - s·C·V|²/σ² over the half disc, and a normal prior of deviation 0.2 about 1."""
    store, references, (label, rotation, shift_px), _, spectrum = scene
    noise = 60 * spectrum  # neither the images nor the prior alone decide
    found = image_amplitudes(store, references, label, rotation, shift_px, noise).scale
    disc = store.disc
    k = disc.count(RADIUS)
    s = torch.linspace(0.3, 3.0, 5401)
    best = []
    for i in range(6):
        slices = references[int(label[i])].slices(rotation[i : i + 1], disc.kxy[:k])[0]
        phase = 2 * torch.pi / disc.box * (disc.kxy[:k] @ shift_px[i])  # t = -shift
        model = store.ctf(torch.tensor([i]), k)[0] * torch.polar(torch.ones_like(phase), phase) * torch.view_as_complex(slices)
        residual = store.images(torch.tensor([i]), k) - s[:, None] * model
        loss = (residual.abs().square() / noise[store.group[i]][disc.shell[:k]]).sum(1) + (s - 1) ** 2 / (2 * 0.2**2)
        best.append(float(s[loss.argmin()]))
    ratio = found[:6] / torch.tensor(best)  # the mean over all images is then made 1
    torch.testing.assert_close(ratio, ratio.mean().expand(6), atol=2e-3, rtol=0)
    assert float(torch.tensor(best).std()) > 0.02


def test_images_in_wrong_poses_hold_surprisingly_little(scene):
    store, references, (label, rotation, shift_px), _, spectrum = scene
    wrong = torch.zeros(store.n, dtype=torch.bool)
    wrong[::20] = True
    turned = torch.where(wrong[:, None, None], rotation.flip(0), rotation)
    surprise = image_amplitudes(store, references, label, turned, shift_px, spectrum).surprise
    assert float((surprise[wrong] < -2).float().mean()) > 0.95
    assert float((surprise[~wrong] < -2).float().mean()) < 0.05
    assert float(surprise[~wrong].std()) == pytest.approx(1, abs=0.25)


def test_images_that_say_nothing_have_scale_one(scene):
    """In overwhelming noise the prior decides."""
    store, references, poses, _, spectrum = scene
    found = image_amplitudes(store, references, *poses, 1e6 * spectrum).scale
    torch.testing.assert_close(found, torch.ones_like(found), atol=1e-3, rtol=0)


def test_the_simulated_noise_is_recovered(store, data):
    """The level that `simulate` wrote down, in units of the images' background, from the true poses and map."""
    record = json.loads((data / "truth" / "simulation.json").read_text())
    table = read_particles(data / "truth" / "particles.star", need_images=False).table
    rotation = torch.from_numpy(table.rotations).float()
    shift_px = torch.from_numpy(table.shifts_A / table.pixel_size_A[:, None]).float()
    truth = torch.from_numpy(read_map(data / "truth" / "volumes" / "state_000.mrc")[0])
    reference = Reference.build(truth / record["noise_std"], 16.0)  # images are in units of about one standard deviation
    label, scale = torch.zeros(store.n, dtype=torch.int64), torch.ones(store.n)
    found = residual_noise(store, (reference, reference), label, rotation, shift_px, scale, store.noise)
    torch.testing.assert_close(found[0, 3:16], torch.ones(13), rtol=0.15, atol=0)
