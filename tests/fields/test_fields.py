"""What every field promises: conjugate symmetry, maps of any box, files that give the same field back."""

import json

import pytest
import torch
from safetensors import safe_open

from cryodrake.errors import InputError
from cryodrake.fields.grid import GridField
from cryodrake.fields.mlp import MLPField
from cryodrake.fields.store import build_field, field_state, load_field, save_field
from cryodrake.physics.fourier import centred_resize, resample_volume, volume_to_coeff

BOX = 32
BOX_A = 96.0


def mlp(components: int = 1) -> MLPField:
    field = MLPField(BOX, BOX_A, 3.0, positions=64, width=32, components=components, seed=4)
    field.profile.amplitude.copy_(torch.exp(-torch.arange(BOX // 2 + 1) / 6.0))
    return field


def gridded(blobs, components: int = 1) -> GridField:
    field = GridField(BOX, BOX_A, components)
    scale = torch.arange(1, components + 1)[:, None, None, None]
    with torch.no_grad():
        field.density.copy_(blobs.density * scale)
    return field


@pytest.mark.parametrize("kind", ["mlp", "grid"])
@pytest.mark.parametrize("components", [1, 3])
def test_mates_are_conjugates_and_the_mean_is_real(kind, components, blobs):
    field = mlp(components) if kind == "mlp" else gridded(blobs, components)
    points = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) * 5
    points[:20, 0] = 0
    points[:10, 1] = 0
    with torch.no_grad():
        here, there, mean = field(points), field(-points), field(torch.zeros(1, 3))
    assert here.shape == (200, 2 * components)
    assert torch.allclose(here[:, 0::2], there[:, 0::2], atol=1e-5)
    assert torch.allclose(here[:, 1::2], -there[:, 1::2], atol=1e-5)
    assert here.abs().mean() > 1e-3
    assert mean[:, 1::2].abs().max() == 0
    assert mean[:, 0::2].abs().min() > 0


def test_grid_field_agrees_with_the_closed_form_between_its_points(blobs):
    points = torch.randn(500, 3, generator=torch.Generator().manual_seed(5)) * 3
    with torch.no_grad():
        values = torch.view_as_complex(gridded(blobs)(points))
    exact = blobs.transform(points)
    assert (values - exact).norm() < 0.02 * exact.norm()  # trilinear at twofold oversampling


@pytest.mark.parametrize("kind", ["mlp", "grid"])
def test_a_finer_map_is_the_fourier_padded_one(kind, blobs):
    field = mlp() if kind == "mlp" else gridded(blobs)
    with torch.no_grad():
        own, finer = field.to_volume(), field.to_volume(2 * BOX)
    padded = resample_volume(own[0], 2 * BOX)
    # Away from Nyquist, where the smaller box lacks the mates of its last plane.
    a, b = (centred_resize(volume_to_coeff(x), BOX - 2, 3) for x in (padded, finer[0]))
    axis = torch.arange(BOX - 2) - (BOX // 2 - 1)
    inside = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) < (BOX // 2 - 2) ** 2
    assert finer.shape == (1, 64, 64, 64)
    assert (a - b)[inside].norm() < 1e-4 * a[inside].norm()
    assert (padded - finer[0]).norm() < 0.06 * padded.norm()  # the planes at Nyquist, which only the finer box has


def test_a_wider_box_holds_the_same_density(blobs):
    field = gridded(blobs)
    with torch.no_grad():
        wider = field.to_volume(BOX * 3 // 2, BOX_A * 1.5)[0]  # same voxel size, more of them
    middle = centred_resize(wider, BOX, 3)
    assert (middle - blobs.density).norm() < 0.05 * blobs.density.norm()


def test_grid_field_returns_its_density(blobs):
    with torch.no_grad():
        back = gridded(blobs, 2).to_volume()
    assert torch.allclose(back[0], blobs.density, atol=2e-3 * float(blobs.density.max()))
    assert torch.allclose(back[1], 2 * back[0], atol=1e-4)


@pytest.mark.parametrize("kind", ["mlp", "grid"])
def test_a_saved_field_comes_back_exactly(kind, blobs, tmp_path):
    field = mlp(2) if kind == "mlp" else gridded(blobs, 2)
    path = tmp_path / "field.safetensors"
    save_field(path, field)
    back = load_field(path)
    points = torch.randn(50, 3)
    with torch.no_grad():
        assert torch.equal(back(points), field(points))
    with safe_open(path, "pt") as file:  # readable without this package, and no pickle
        assert json.loads(file.metadata()["cryodrake_field"])["settings"]["box"] == BOX
    tensors, meta = field_state(back)
    assert type(build_field(tensors, json.loads(json.dumps(meta)))) is type(field)


@pytest.mark.parametrize("content", [b"", b"not a field at all, but long enough to have a header"])
def test_a_file_that_is_no_field_is_refused(content, tmp_path):
    path = tmp_path / "field.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"field\.safetensors"):
        load_field(path)
