"""From one model to another: the rigid part is found and superposed, and the ends are the models."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from cryodrake.data.body_atoms import AtomBody
from cryodrake.data.motion_interpolate import Interpolate, superpose
from cryodrake.errors import InputError

MODELS = Path(__file__).parents[3] / "shared" / "data" / "models"


@pytest.fixture(scope="module")
def pair(dumbbell):
    """The dumbbell, and the same in another place with chain B moved by 9 Å; the true second model in the first's frame."""
    moved = dumbbell.positions_A + np.where(dumbbell.chain == "B", 1.0, 0.0)[:, None] * [0, 9, 0]
    elsewhere = Rotation.from_rotvec([0.9, -1.2, 0.4]).apply(moved) + np.array([30, -80, 12])
    order = np.random.default_rng(1).permutation(len(dumbbell))[:-25]  # shuffled, and 25 atoms are missing
    second = AtomBody(elsewhere[order], dumbbell.weights[order], dumbbell.chain[order], dumbbell.identity[order])
    return dumbbell, second, moved, np.isin(dumbbell.identity, second.identity)


def test_superposition_leaves_out_what_moves(pair):
    first, _, moved, _ = pair
    elsewhere = Rotation.from_rotvec([0.3, 2.0, -0.4]).apply(moved) - [7, 0, 90]
    assert np.allclose(superpose(elsewhere, first.positions_A), moved, atol=1e-9)


def test_superposition_bears_with_noise(pair):
    first, _, moved, _ = pair
    noisy = moved + np.random.default_rng(2).normal(0, 0.3, moved.shape)
    placed = superpose(noisy @ Rotation.from_rotvec([0, 0.5, 0.2]).as_matrix(), first.positions_A)
    rigid = first.chain == "A"
    assert np.linalg.norm((placed - noisy)[rigid], axis=1).max() < 0.2


def test_the_ends_are_the_models_and_steps_are_equal(pair):
    first, second, moved, in_both = pair
    way = Interpolate(first, second, 5)
    assert [state.coordinate for state in way.states] == [0, 0.25, 0.5, 0.75, 1]
    assert np.array_equal(way.body(0).positions_A, first.positions_A[in_both])
    assert np.allclose(way.body(4).positions_A, moved[in_both], atol=1e-9)
    inverse = np.argsort(second.identity)
    assert np.allclose(pdist(way.body(4).positions_A), pdist(second.positions_A[inverse]), atol=1e-8)
    steps = np.diff([way.body(state).positions_A for state in range(5)], axis=0)
    assert np.allclose(steps, steps[0], atol=1e-9)
    assert np.array_equal(way.body(2).weights, first.weights[in_both])


def test_atoms_are_matched_by_chain_residue_and_name(tmp_path):
    line = "ATOM  {:5d}  {:<3s} GLY {}{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           {}  \n"
    places = np.random.default_rng(0).normal(0, 10, (24, 3))
    sites = [(name, chain, residue) for chain in "AB" for residue in range(1, 5) for name in ("N", "CA", "C")]
    for file, order in (("a.pdb", range(24)), ("b.pdb", [*range(23, 3, -1)])):
        rows = [line.format(n + 1, *sites[i], *places[i], sites[i][0][0]) for n, i in enumerate(sorted(order))]
        (tmp_path / file).write_text("".join(rows) + "END\n")
    way = Interpolate(AtomBody.read(tmp_path / "a.pdb"), AtomBody.read(tmp_path / "b.pdb"), 2)
    for state in (0, 1):
        assert np.allclose(way.body(state).positions_A, places[4:].round(3), atol=1e-6)


def test_models_of_different_molecules_are_refused(dumbbell):
    other = AtomBody(dumbbell.positions_A, dumbbell.weights, dumbbell.chain, dumbbell.identity + 395)
    with pytest.raises(InputError, match="share 5 atoms"):
        Interpolate(dumbbell, other, 4)


@pytest.mark.skipif(not MODELS.exists(), reason="the models are not here")
def test_the_spike_opens_by_one_domain():
    closed, opened = (AtomBody.read(MODELS / name) for name in ("6vxx_spike_closed.pdb.gz", "6vyb_spike_open.cif.gz"))
    way = Interpolate(closed, opened, 2)
    moved_A = np.linalg.norm(way.body(1).positions_A - way.body(0).positions_A, axis=1)
    residue = np.array([int(of.split()[1].rstrip("ABC")) for of in way.body(0).identity])
    is_domain = (way.body(0).chain == "B") & (residue > 335) & (residue < 520)  # receptor-binding domain
    assert np.median(moved_A[is_domain]) > 15
    assert np.median(moved_A[~is_domain]) < 1
