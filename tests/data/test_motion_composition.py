"""Subsets of chains: what is missing is missing, and nothing else."""

import numpy as np
import pytest

from cryodrake.data.body import Grid
from cryodrake.data.body_atoms import AtomBody
from cryodrake.data.motion_composition import Composition
from cryodrake.errors import InputError

GRID, ORIGIN = Grid(box=32, pixel_size_A=4.0, resolution_A=12.0), np.zeros(3)


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(8)
    chain = np.repeat(["A", "B", "AA", "BA", "C"], 40)
    return AtomBody(rng.normal(0, 15, (200, 3)), rng.uniform(6, 8, 200), chain, np.arange(200))


def test_states_differ_by_the_density_of_the_missing_chains(model):
    states = Composition(model, ["full=*", "no B=-B,BA", "core = A, C"])
    assert [state.name for state in states.states] == ["full", "no B", "core"]
    assert all(state.coordinate is None for state in states.states)
    full, without, core = (states.body(i).density(GRID, ORIGIN).numpy() for i in range(3))
    missing = model.only(np.isin(model.chain, ["B", "BA"])).density(GRID, ORIGIN).numpy()
    assert np.allclose(full - without, missing, atol=1e-5 * full.max())
    assert np.allclose(core, model.only(np.isin(model.chain, ["A", "C"])).density(GRID, ORIGIN).numpy(), atol=1e-6 * full.max())


@pytest.mark.parametrize(
    ("subset", "there"),
    [
        ("x=?", {"A", "B", "C"}),
        ("x=-?A", {"A", "B", "C"}),
        ("x=[A-B]", {"A", "B"}),
        ("x=B*", {"B", "BA"}),
        ("x=-A", {"B", "AA", "BA", "C"}),
    ],
)
def test_chains_are_chosen_as_file_names_are(model, subset, there):
    assert set(Composition(model, [subset]).body(0).chain) == there


@pytest.mark.parametrize(
    ("subset", "says"),
    [
        ("A,B", "not a subset"),
        ("x=", "not a subset"),
        ("=A", "not a subset"),
        ("x=A,,B", "not a subset"),
        ("x=Z", "no chain Z"),
        ("x=A,D*", "no chain D"),
        ("x=-*", "leaves nothing"),
    ],
)
def test_what_is_wrong_is_said(model, subset, says):
    with pytest.raises(InputError, match=says) as error:
        Composition(model, ["full=*", subset])
    assert error.value.where == "--subsets"
