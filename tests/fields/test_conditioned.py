"""cryoDRGN2's field with states: at each state it is a plain field, to the last bit of the network's input."""

import pytest
import torch

from cryodrake.fields.conditioned import ConditionedField
from cryodrake.fields.mlp import MLPField
from cryodrake.fields.store import load_state_field, save_field

BOX, BOX_A, ZDIM = 16, 80.0, 3


@pytest.fixture(scope="module")
def field():
    plain = MLPField(BOX, BOX_A, 2.0, positions=24, width=20, depth=2, seed=1)
    plain.profile.amplitude.copy_(torch.exp(-torch.arange(BOX // 2 + 1) / 4.0))
    return ConditionedField(plain, ZDIM, seed=2)


@pytest.fixture(scope="module")
def sample():
    """Points (4 images × 30) with both mates, the plane kx = 0 and the origin among them, and a state for each image."""
    g = torch.Generator().manual_seed(0)
    points = 4 * torch.randn(4, 30, 3, generator=g)
    points[:, :4, 0] = 0
    points[0, 0] = 0
    return points, torch.randn(4, ZDIM, generator=g)


def test_it_is_a_network_of_features_and_state_side_by_side(field, sample):
    """Written out: one linear layer over the concatenation (features, z), then as the plain network."""
    points, z = sample
    with torch.no_grad():
        found = field(points.abs(), z)  # in the half space
        for i in range(len(z)):
            inputs = torch.cat([field.plain.encoding(points[i].abs()), z[i].expand(30, -1)], dim=1)
            first, relu, *rest = field.plain.network
            hidden = relu(inputs @ torch.cat([first.weight, field.from_state], dim=1).T + first.bias)
            for layer in rest:
                hidden = layer(hidden)
            values = field.plain.output(hidden) * field.plain.profile(points[i].abs())
            origin = (points[i] == 0).all(1)
            values[origin, 1] = 0
            torch.testing.assert_close(found[i], values, rtol=1e-4, atol=1e-5)


def test_at_a_state_it_is_a_plain_field(field, sample):
    points, z = sample
    with torch.no_grad():
        together = field(points, z)
        for i in range(len(z)):
            torch.testing.assert_close(field.at(z[i])(points[i]), together[i], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(field.to_volume(z)[2], field.at(z[2]).to_volume()[0])
        torch.testing.assert_close(field.at(torch.zeros(ZDIM)).to_volume(), field.plain.to_volume())
    assert not torch.allclose(together[0], field(points[:1], z[1:2])[0])


def test_mates_are_conjugates_at_every_state(field, sample):
    points, z = sample
    with torch.no_grad():
        here, there = field(points, z), field(-points, z)
    torch.testing.assert_close(here[..., 0], there[..., 0])
    torch.testing.assert_close(here[..., 1], -there[..., 1])


def test_pieces_change_neither_values_nor_gradients(field, sample, monkeypatch):
    points, z = sample

    def values_and_gradients():
        field.zero_grad()
        state = z.clone().requires_grad_()
        values = field(points, state)
        values.square().sum().backward()
        return [values.detach(), state.grad, *(p.grad.clone() for p in field.parameters())]

    whole = values_and_gradients()
    monkeypatch.setattr("cryodrake.fields.conditioned.CHUNK", 40)
    for a, b in zip(whole, values_and_gradients(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_published_decoder():
    """Zhong et al. 2021: 384 features at 128 px, 3 residual layers of 256, two outputs."""
    field = ConditionedField.cryodrgn2(128, 400.0, 8)
    assert field.plain.encoding(torch.zeros(1, 3)).shape == (1, 384)
    assert field.from_state.shape == (256, 8)
    assert [tuple(p.shape) for p in field.plain.network.parameters() if p.ndim == 2] == [(256, 384), *[(256, 256)] * 3]
    assert field.plain.output.weight.shape == (2, 256)


def test_files_give_the_field_back(field, sample, tmp_path):
    save_field(tmp_path / "field.safetensors", field)
    back = load_state_field(tmp_path / "field.safetensors")
    assert isinstance(back, ConditionedField)
    assert (back.zdim, back.box, back.box_A) == (ZDIM, BOX, BOX_A)
    assert torch.equal(back(*sample), field(*sample))


def test_several_components_are_refused():
    with pytest.raises(ValueError, match="one map"):
        ConditionedField(MLPField(BOX, BOX_A, 2.0, components=2), ZDIM)
