"""Heterogeneous sets end to end: counts, tables, maps and masks of states, mixtures, and what is refused."""

import csv
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from cryodrake.analysis.evaluate_maps import true_map
from cryodrake.data.density import centre_of_mass_px
from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.data.simulation_states import Spread
from cryodrake.data.simulation_truth import state_counts
from cryodrake.errors import InputError
from cryodrake.io.mrc import read_map, write_map
from cryodrake.io.particles import read_particles

BOX, PIXEL_A = 32, 5.0


def write_pdb(path, positions, chains):
    line = "ATOM  {:5d}  CA  GLY {}{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           C\n"
    rows = [line.format(i + 1, c, i + 1, *p) for i, (p, c) in enumerate(zip(positions, chains, strict=True))]
    path.write_text("".join(rows) + "END\n")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory, dumbbell):
    return write_pdb(tmp_path_factory.mktemp("model") / "dumbbell.pdb", dumbbell.positions_A, dumbbell.chain)


def config(out, **options):
    return SimulateConfig(out=out, **({"n": 24, "box": BOX, "apix": PIXEL_A, "resolution_A": 12.0, "snr": math.inf} | options))


def states_of(folder):
    return list(csv.DictReader((folder / "truth" / "states.csv").read_text().splitlines()))


def volumes_of(folder):
    return np.array([read_map(path)[0] for path in sorted((folder / "truth" / "volumes").glob("*.mrc"))])


@pytest.fixture(scope="module")
def hinged(tmp_path_factory, model):
    out = tmp_path_factory.mktemp("hinge") / "d"
    return simulate(
        config(
            out, structures=(model,), motion="hinge", states=5, moving=("B",), shares=(5.0, 0.0, 3.0, 2.0, 2.0), scale_jitter=0.1
        )
    )


def test_the_table_of_states_says_what_they_are_and_how_often(hinged):
    rows, state = states_of(hinged), np.load(hinged / "truth" / "state.npy")
    assert state.dtype.kind == "i"
    assert [row["state"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [float(row["coordinate"]) for row in rows] == [-25, -12.5, 0, 12.5, 25]
    assert [int(row["images"]) for row in rows] == [10, 0, 6, 4, 4] == np.bincount(state, minlength=5).tolist()
    assert state.tolist() != sorted(state.tolist())
    assert len({row["name"] for row in rows}) == 5


def test_a_state_without_images_has_its_map_and_no_weight_in_the_mean(hinged):
    volumes = volumes_of(hinged)
    assert len(volumes) == 5
    mean, pixel_size_A = true_map(hinged / "truth")
    assert pixel_size_A == PIXEL_A
    assert np.allclose(mean.numpy(), np.tensordot(np.array([10, 0, 6, 4, 4]) / 24, volumes, 1), atol=1e-6)


def test_the_mask_covers_what_moves_and_not_the_rest(hinged, dumbbell):
    mask, pixel_size_A = read_map(hinged / "truth" / "moving.mrc")
    assert pixel_size_A == PIXEL_A
    assert mask.shape == (BOX,) * 3
    assert mask.min() == 0
    assert mask.max() == 1
    volumes = volumes_of(hinged)
    variance = volumes.var(0)
    assert (mask[variance > 0.1 * variance.max()] == 1).all()
    assert variance[mask < 0.5].max() < 0.05 * variance.max()
    # The body is left out but for what is next to the arm; the arm is all in it, in every state.
    at = np.round((dumbbell.positions_A - dumbbell.centre_A()) / PIXEL_A).astype(int)[:, ::-1] + BOX // 2
    at_atoms = mask[tuple(at.T)]
    assert (at_atoms[dumbbell.chain == "B"] > 0.9).mean() > 0.9
    assert (at_atoms[(dumbbell.chain == "A") & (dumbbell.positions_A[:, 0] < 5)] == 0).all()
    assert ((mask > 0) & (mask < 1)).sum() > (mask == 1).sum() / 4  # a soft edge


def test_one_state_has_no_mask(tmp_path, model):
    folder = simulate(config(tmp_path / "d", structures=(model,), n=2))
    assert not (folder / "truth" / "moving.mrc").exists()
    assert states_of(folder) == [{"state": "0", "name": str(model), "coordinate": "", "images": "2"}]


def test_the_spread_is_the_variance_over_states():
    rng = np.random.default_rng(0)
    volumes = rng.normal(5, 1, (7, 16, 16, 16)).astype(np.float32)
    volumes[:, 4:12, 4:12, 4:12] *= 30
    spread = Spread()
    for volume in volumes:
        spread.add(torch.from_numpy(volume))
    variance = volumes.astype(float).var(0)
    mask = spread.mask().numpy()
    assert (mask[variance > 0.051 * variance.max()] == 1).all()
    assert (mask[:2] == 0).all()
    same = Spread()
    for _ in range(3):
        same.add(torch.from_numpy(volumes[0]))
    assert float(same.mask().max()) == 0


@pytest.mark.parametrize("shares", [(), (1.0, 1.0, 1.0), (3.0, 2.0, 1.0), (0.0, 0.7, 0.1), (1e-9, 5.0, 1e9)])
@pytest.mark.parametrize("n", [1, 2, 100, 1001])
def test_counts_are_the_shares_to_within_an_image(n, shares):
    counts = state_counts(n, 3, shares)
    wanted = n * np.array(shares or (1, 1, 1)) / sum(shares or (1, 1, 1))
    assert counts.sum() == n
    assert np.abs(counts - wanted).max() < 1
    assert all(count == 0 for count, share in zip(counts, shares, strict=False) if share == 0)


def test_counts_of_equal_shares_differ_by_one_at_most():
    assert state_counts(10, 4, ()).tolist() == [3, 3, 2, 2] == state_counts(10, 4, (0.1, 0.1, 0.1, 0.1)).tolist()


def test_shares_hold_for_any_kind_of_states(tmp_path, model):
    paths = [tmp_path / f"{i}.mrc" for i in range(2)]
    for i, path in enumerate(paths):
        write_map(path, np.random.default_rng(i).normal(size=(BOX,) * 3).astype(np.float32), PIXEL_A)
    kinds = {
        "maps": {"structures": tuple(paths)},
        "subsets": {"structures": (model,), "motion": "composition", "subsets": ("all=*", "body=A")},
    }
    for name, options in kinds.items():
        folder = simulate(config(tmp_path / name, shares=(1.0, 2.0), **options))
        assert Counter(np.load(folder / "truth" / "state.npy").tolist()) == {0: 8, 1: 16}


def test_complexes_of_a_mixture_are_centred_each_and_conformations_are_not(tmp_path, model, dumbbell):
    some_A = dumbbell.positions_A[:250] + np.array([0, 25, -15])
    moved = write_pdb(tmp_path / "moved.pdb", some_A, dumbbell.chain[:250])
    for each in (False, True):
        folder = simulate(config(tmp_path / f"{each}", structures=(model, moved), centre_each=each, n=2))
        centres = [centre_of_mass_px(torch.from_numpy(volume)).numpy() * PIXEL_A for volume in volumes_of(folder)]
        offset = some_A.mean(0) - dumbbell.positions_A.mean(0)
        assert np.allclose(centres[0], 0, atol=0.5)
        assert np.allclose(centres[1], 0 if each else offset, atol=1)
    maps = tuple(sorted((tmp_path / "False" / "truth" / "volumes").glob("*.mrc")))
    folder = simulate(config(tmp_path / "maps", structures=maps, centre_each=True, n=2))
    assert all(float(centre_of_mass_px(torch.from_numpy(v)).norm()) < 0.3 for v in volumes_of(folder))


def test_images_are_those_of_their_states(tmp_path, hinged):
    """A state's images are what its own true map, given as a structure, would have given at the same poses."""
    state = np.load(hinged / "truth" / "state.npy")
    volumes = sorted((hinged / "truth" / "volumes").glob("*.mrc"))
    images = read_particles(hinged / "particles.star").read_images(np.arange(24))
    for s in (0, 4):
        again = simulate(config(tmp_path / str(s), structures=(volumes[s],), scale_jitter=0.1))
        expected = read_particles(again / "particles.star").read_images(np.arange(24))
        apart = np.linalg.norm(images - expected, axis=(1, 2)) / np.linalg.norm(expected, axis=(1, 2))
        assert apart[state == s].max() < 1e-4
        assert apart[state != s].min() > 1e-2


def test_a_motion_that_leaves_the_box_is_refused(tmp_path, model):
    options = {"structures": (model,), "motion": "turn", "states": 4, "moving": ("B",), "apix": 2.0}
    with pytest.raises(InputError, match=r"of the mass lies outside the box of 64 Å"):
        simulate(config(tmp_path / "d", **options))
    assert not (tmp_path / "d").exists()


PDB, MRC = Path("a.pdb"), Path("a.mrc")


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"states": 7}, "--states"),
        ({"motion": "turn", "from_deg": 0.0}, "--from-deg"),
        ({"motion": "interpolate", "structures": (PDB, PDB), "moving": ("A",)}, "--moving"),
        ({"motion": "interpolate", "structures": (PDB,)}, "--structures"),
        ({"motion": "hinge", "structures": (PDB, PDB)}, "--structures"),
        ({"motion": "hinge", "states": 1}, "--states"),
        ({"motion": "hinge", "moving_share": 1.0}, "--moving-share"),
        ({"motion": "hinge", "moving": ("A",), "moving_share": 0.2}, "--moving-share"),
        ({"motion": "hinge", "to_deg": -25.0}, "--to-deg"),
        ({"motion": "hinge", "centre_each": True}, "--centre-each"),
        ({"motion": "composition"}, "--subsets"),
        ({"subsets": ("a=A",)}, "--subsets"),
        ({"shares": (1.0, -1.0)}, "--shares"),
        ({"shares": (0.0, 0.0)}, "--shares"),
        ({"motion": "hinge", "states": 3, "shares": (1.0, 2.0)}, "--shares"),
    ],
)
def test_options_that_do_not_go_together_are_named(tmp_path, options, where):
    with pytest.raises(InputError) as error:
        simulate(config(tmp_path / "d", **options))
    assert error.value.where == where


@pytest.mark.parametrize(
    "options", [{"motion": "hinge", "moving": ("A",)}, {"motion": "composition", "subsets": ("a=A",)}, {"motion": "interpolate"}]
)
def test_what_needs_chains_or_atoms_is_refused_for_maps(tmp_path, options):
    path = tmp_path / "a.mrc"
    write_map(path, np.ones((24, 24, 24), np.float32), PIXEL_A)
    paths = (path, path) if options["motion"] == "interpolate" else (path,)
    with pytest.raises(InputError, match=r"a map has no (chains|atoms)"):
        simulate(config(tmp_path / "d", structures=paths, **options))
