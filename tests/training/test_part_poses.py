"""Images of a part of the structure, posed wrongly against the whole, find their poses; so do those of what it lacks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.inference.alignment import Alignment, move
from cryodrake.inference.reference import box_for_radius, in_box
from cryodrake.io.mrc import read_map
from cryodrake.physics.rotations import geodesic_deg, random_rotations
from cryodrake.training import refinement
from cryodrake.training.events import QuietReporter
from cryodrake.training.images import WeightedImages
from cryodrake.training.last_polish import LastPolish
from cryodrake.training.mixture import SHARED, Mixture
from cryodrake.training.part_poses import PartPoses
from cryodrake.training.parts import structures_of
from cryodrake.training.state import RunState

BOX, EMPTY = 32, 3


@pytest.fixture(scope="module")
def made(tmp_path_factory, posed):
    """A function of SNR and number of empty images: 400 images of the whole at their true poses, 120 of its greater part and 80 of
    the rest at random ones, and those; 32 px. The class of the rest and of empty images has a map of noise.
    """

    def make(snr: float, n_empty: int) -> SimpleNamespace:
        config = SimulateConfig(
            out=tmp_path_factory.mktemp("parts") / "data", n=600 + n_empty, box=BOX, snr=snr, shift_px=2, seed=4,
            motion="composition", subsets=("whole=*", "part=[A-F]", "rest=[G-N]"), shares=(400.0, 120.0, 80.0),
            empty_share=n_empty / (600 + n_empty),
        )  # fmt: skip
        data = simulate(config)
        store, true, shift_px, kind = posed(data)
        if n_empty:
            kind[torch.from_numpy(np.load(data / "truth" / "empty.npy"))] = EMPTY
        state = RunState.first(torch.arange(store.n) % 2 + 1, store.noise.clone(), BOX)
        generator = torch.Generator().manual_seed(1)
        state.rotation = torch.where((kind > 0)[:, None, None], random_rotations(store.n, generator), true)
        state.shift_px, state.radius = shift_px.clone(), 12.0
        images = WeightedImages(store, store.noise, torch.ones(store.n))
        sums = refinement.fold_sums(images, refinement.fold_labels(state.half), state.rotation, shift_px, BOX / 2)
        state.maps = refinement.half_references(sums, refinement.HalfMaps.of(sums.of_halves(), sums.grid, 0.42 * BOX))
        small = box_for_radius(SHARED.last_radius, BOX)
        part = torch.from_numpy(read_map(data / "truth" / "volumes" / "state_001.mrc")[0]).float()
        turn = Alignment(random_rotations(1, generator)[0], True, torch.tensor([1.0, 0.0, -1.0]), 1.0, 0.0)
        noise = torch.randn(BOX, BOX, BOX, generator=generator) * part.std()
        maps = torch.stack([in_box(v, small) for v in (state.maps.mean((0, 1)), move(part, turn), noise)])
        posterior = torch.nn.functional.one_hot(kind.clamp(max=2), 3).float()
        mixture = Mixture(maps, posterior, torch.zeros(store.n, 1), torch.zeros(store.n))
        pose = PartPoses(images, state, QuietReporter(), 0.42 * BOX, seed=0, poll=lambda: None)
        everyone = torch.arange(store.n)
        in_whole = pose._poses(everyone, torch.ones(BOX, BOX, BOX), pose._grid(1.0)).rotation
        before = structures_of(mixture)
        found, after = pose.run(mixture, before)
        return SimpleNamespace(
            images=images, state=state, true=true, kind=kind, in_whole=in_whole, label=mixture.label, before=before, found=found,
            after=after,
        )  # fmt: skip

    return make


@pytest.fixture(scope="module")
def case(made):
    return made(0.3, 0)


def test_the_part_is_recognised_and_the_rest_by_what_the_part_lacks(case):
    assert [list(structure) for structure in case.before] == [[0, 1], [2]]
    assert [list(structure) for structure in case.after] == [[0, 1, 2]]


@pytest.mark.parametrize(("kind", "share", "more"), [(0, 1.0, 0.0), (1, 0.85, 0.3), (2, 0.7, 0.4)])
def test_more_of_their_images_than_by_the_whole_are_where_they_belong(case, kind, share, more):
    right = [
        (geodesic_deg(found, case.true) < 12)[case.kind == kind].float().mean() for found in (case.state.rotation, case.in_whole)
    ]
    assert float(right[0]) >= share
    assert float(right[0] - right[1]) >= more


def test_they_are_not_searched_against_the_whole_again(case):
    assert torch.equal(case.state.is_part, case.kind > 0)
    case.state.history = [{"whole": True, "moved_share": 0.5}]
    polish = LastPolish(case.images, case.state, QuietReporter(), seed=1, poll=lambda: None)
    assert not bool(polish.doubtful()[case.state.is_part].any())
    assert bool(polish.doubtful()[~case.state.is_part].any())


def test_the_rest_is_told_from_what_is_no_particle(made):
    case = made(1.2, 280)
    assert [list(structure) for structure in case.before] == [list(structure) for structure in case.after] == [[0, 1], [2]]
    moved = case.found.label != case.label
    assert not bool(moved[case.kind < 2].any())
    assert float(moved[case.kind == 2].float().mean()) > 0.7
    assert float(moved[case.kind == EMPTY].float().mean()) < 0.05
    assert not bool(case.found.label[moved].any())
    assert torch.equal(case.found.posterior.sum(1), torch.ones(len(moved)))
    assert torch.equal(case.state.is_part, (case.kind == 1) | moved)
