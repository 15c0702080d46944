"""Fields with states: components of very different size are all fitted, states mix them as the formula says, files keep them."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from scipy.spatial.transform import Rotation

from cryodrake.data.density import gaussian_density
from cryodrake.data.procedural import procedural_complex
from cryodrake.errors import InputError
from cryodrake.fields.factored import FactoredField
from cryodrake.fields.fit import FitSettings, fit_network
from cryodrake.fields.grid import GridField
from cryodrake.fields.mixer import AffineMixer
from cryodrake.fields.mixer_mlp import MLPMixer
from cryodrake.fields.mlp import MLPField
from cryodrake.fields.raster import rasterise
from cryodrake.fields.store import load_field, load_state_field, save_field
from cryodrake.fields.target import from_density
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.fsc import area_under, fsc
from cryodrake.physics.slices import raster

BOX, PIXEL_A = 32, 6.0
SSNR = torch.full((BOX // 2 + 1,), 10.0)


@pytest.fixture(scope="module")
def modes():
    """(4 d d d): the mean map of a hinge's 9 states, and its three largest modes scaled by their standard deviations."""
    atoms = procedural_complex(seed=3, n_residues=1200, n_domains=6)
    arm = atoms[:, 0] > 10
    states = []
    for angle in np.linspace(-20, 20, 9):
        turned = atoms.copy()
        turned[arm] = (atoms[arm] - [10, 0, 0]) @ Rotation.from_euler("z", angle, degrees=True).as_matrix().T + [10, 0, 0]
        states.append(gaussian_density(torch.from_numpy(turned), torch.ones(len(atoms)), BOX, PIXEL_A, 14.0))
    density = torch.stack(states)
    density = density / density.std()
    mean = density.mean(0)
    _, size, directions = torch.linalg.svd((density - mean).flatten(1), full_matrices=False)
    return torch.cat([mean[None], (directions[:3] * size[:3, None] / 3).unflatten(1, mean.shape)])


def fitted(density):
    field = MLPField(BOX, BOX * PIXEL_A, 4.0, positions=256, width=128, components=len(density))
    fit_network(field, from_density(density, SSNR), FitSettings(epochs=10, batch=512))
    with torch.no_grad():
        return field.to_volume()


def test_a_target_is_white_component_by_component(modes):
    target = from_density(modes, SSNR)
    shell = target.points.norm(dim=1).round().long()
    assert target.profile.shape == (4, BOX // 2 + 1)
    assert float(target.profile[0, 1:14].mean()) > 5 * float(target.profile[3, 1:14].mean())
    for s in (2, 7, 13):
        power = (target.values[shell == s] ** 2).unflatten(1, (4, 2)).mean((0, 2))
        torch.testing.assert_close(power, torch.ones(4), rtol=1e-3, atol=0)
    for r in range(4):
        alone = from_density(modes[r : r + 1], SSNR)
        torch.testing.assert_close(alone.profile, target.profile[r])
        # Modes have no mean: alone, they lack the point 0.
        same = target.points.norm(dim=1) > 0
        torch.testing.assert_close(
            alone.values[alone.points.norm(dim=1) > 0], target.values[same, 2 * r : 2 * r + 2], rtol=1e-4, atol=1e-4
        )


def test_a_component_of_nothing_is_fitted_as_nothing(modes):
    target = from_density(torch.stack([modes[0], torch.zeros_like(modes[0])]), SSNR)
    assert bool(torch.isfinite(target.values).all())
    assert float(target.values[:, 2:].abs().max()) == 0
    assert float(target.profile[1].abs().max()) == 0


def test_a_mean_and_its_modes_are_fitted_together_as_well_as_one_by_one(modes):
    together = fitted(modes)
    for r in range(4):
        alone = fitted(modes[r : r + 1])
        reached, single = (area_under(fsc(volume, modes[r])[:15]) for volume in (together[r], alone[0]))
        assert single > 0.95
        assert reached > single - 0.02, r
        assert float(together[r].std() / alone[0].std()) == pytest.approx(1, abs=0.05)


def random_grid(components):
    field = GridField(16, 64.0, components)
    with torch.no_grad():
        field.density.copy_(torch.randn(components, 16, 16, 16, generator=torch.Generator().manual_seed(0)))
    return field


def test_components_are_rasterised_side_by_side(modes):
    """What the slices of all states are mixed from; each with its own profile."""
    basis = MLPField(BOX, BOX * PIXEL_A, 4.0, positions=32, width=16, components=4)
    basis.profile.amplitude.copy_(from_density(modes, SSNR).profile)
    grid = BallGrid(BOX, 8.0)
    with torch.no_grad():
        ball, maps = rasterise(basis, grid), basis.to_volume()
    assert float(maps[0].std()) > 3 * float(maps[3].std())
    inside = grid.lengths() < 8
    for r in range(4):
        alone, together = raster(maps[r], grid)[inside], ball[inside, 2 * r : 2 * r + 2]
        # Within what the ball loses beyond its radius: an untrained network fills the whole box.
        assert float((together - alone).norm()) < 0.1 * float(alone.norm())


def test_affine_states_are_the_mean_and_what_each_coordinate_adds():
    basis = random_grid(3)
    field = FactoredField(basis, AffineMixer(2))
    z = torch.tensor([[0.0, 0.0], [2.0, -0.5]])
    with torch.no_grad():
        maps, (mean, first, second) = field.to_volume(z, 24, 96.0), basis.to_volume(24, 96.0)
    torch.testing.assert_close(maps, torch.stack([mean, mean + 2 * first - 0.5 * second]))
    assert not list(field.mixer.parameters())


def test_a_networks_first_coefficient_is_1_and_the_others_can_be_learnt():
    mixer = MLPMixer(1, 4, width=16, seed=1)
    z = torch.linspace(-1, 1, 64)[:, None]
    wanted = torch.cat([torch.ones_like(z), z, z**2, (3 * z).sin()], dim=1)
    optimiser = torch.optim.Adam(mixer.parameters(), lr=0.02)
    for _ in range(400):
        optimiser.zero_grad()
        ((mixer(z) - wanted) ** 2).mean().backward()
        optimiser.step()
    with torch.no_grad():
        found = mixer(z)
    assert bool((found[:, 0] == 1).all())
    assert float((found - wanted).abs().max()) < 0.15


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="3 components, the mixer 2"):
        FactoredField(random_grid(3), AffineMixer(1))
    with pytest.raises(ValueError, match="2 or more"):
        MLPMixer(1, 1)


@pytest.mark.parametrize("mixer", [AffineMixer(2), MLPMixer(2, 3, width=8, seed=5)], ids=["affine", "mlp"])
@pytest.mark.parametrize("kind", ["mlp", "grid"])
def test_a_saved_field_comes_back_exactly(mixer, kind, tmp_path):
    basis = MLPField(16, 64.0, 2.0, positions=16, width=8, components=3) if kind == "mlp" else random_grid(3)
    path = tmp_path / "field.safetensors"
    save_field(path, FactoredField(basis, mixer))
    back = load_state_field(path)
    z = torch.randn(3, 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(back.to_volume(z), FactoredField(basis, mixer).to_volume(z))
    with safe_open(path, "pt") as file:
        meta = json.loads(file.metadata()["cryodrake_field"])
    assert meta["mixer"]["settings"]["zdim"] == 2
    assert meta["basis"]["settings"]["components"] == 3


def test_a_field_with_states_is_not_taken_for_one_without_nor_the_reverse(tmp_path):
    path = tmp_path / "field.safetensors"
    save_field(path, FactoredField(random_grid(2), AffineMixer(1)))
    with pytest.raises(InputError, match="depends on a state"):
        load_field(path)
    save_field(path, random_grid(1))
    with pytest.raises(InputError, match="no states"):
        load_state_field(path)
    assert isinstance(load_field(path), GridField)


def test_one_component_is_a_target_as_it_always_was(modes):
    """The sums written out, for one map."""
    target = from_density(modes[:1], SSNR)
    assert target.profile.shape == (BOX // 2 + 1,)
    shell = target.points.norm(dim=1).round().long()
    raw = target.values * target.profile[shell, None]
    for s in (1, 9):
        assert float(target.profile[s]) == pytest.approx(float((raw[shell == s] ** 2).mean().sqrt()), rel=1e-4)
