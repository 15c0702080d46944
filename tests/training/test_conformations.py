"""States and poses together: a hinge is found and followed, and a rigid structure is called rigid."""

import pytest
import torch
from scipy.stats import spearmanr

from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.inference import local
from cryodrake.io.mrc import write_map
from cryodrake.io.particles import read_particles
from cryodrake.physics.fourier import volume_to_coeff
from cryodrake.physics.fsc import shell_index
from cryodrake.physics.rotations import axis_angle_to_matrix, geodesic_deg
from cryodrake.training import conformations, refinement, searches
from cryodrake.training.anchors import anchors_of
from cryodrake.training.conformations import Conformations
from cryodrake.training.events import QuietReporter
from cryodrake.training.images import WeightedImages
from cryodrake.training.state import RunState
from cryodrake.training.symmetry import mates, offsets_px

OFF_DEG = 4.0


def started(store, half, rotation, shift_px, halves, zdim=2):
    state = RunState.first(half, store.noise.clone(), store.box, zdim)
    state.joint_rotation, state.joint_shift_px, state.radius = rotation.clone(), shift_px.clone(), store.box / 2
    return Conformations(store, state, QuietReporter(), halves, 0.42 * store.box, 0, search_all=False)


def off_by(rotation, degrees):
    axis = torch.randn(len(rotation), 3, generator=torch.Generator().manual_seed(5))
    return axis_angle_to_matrix(torch.deg2rad(torch.tensor(degrees)) * axis / axis.norm(dim=1, keepdim=True)) @ rotation


@pytest.fixture(scope="module")
def found(hinge):
    """From poses that are a few degrees off."""
    images = WeightedImages(hinge.store, hinge.store.noise, torch.ones(hinge.store.n))
    wrong = off_by(hinge.rotation, OFF_DEG)
    box = hinge.store.box
    halves = refinement.half_maps(images, hinge.half, wrong, hinge.shift_px, box / 2, 0.42 * box)
    run = started(hinge.store, hinge.half, wrong, hinge.shift_px, halves)
    checkpoints = []
    run.run(lambda: checkpoints.append(len(run.state.rounds)), 2)
    return run, checkpoints


def test_states_are_found_and_poses_become_better(found, hinge):
    state = found[0].state
    assert state.is_flexible
    assert state.gain > 0.5
    design = torch.cat([torch.ones(len(state.latents), 1), state.latents, state.latents**2], 1)
    angle = design @ torch.linalg.lstsq(design, hinge.angle_deg[:, None]).solution
    assert spearmanr(angle[:, 0], hinge.angle_deg).statistic > 0.9
    assert float(geodesic_deg(state.joint_rotation, hinge.rotation).median()) < 0.6 * OFF_DEG


def test_latents_are_standard_and_every_round_is_a_checkpoint(found):
    run, checkpoints = found
    second = (run.state.latents[:, :, None] * run.state.latents[:, None] + torch.linalg.inv(run.state.precision)).mean(0)
    torch.testing.assert_close(second, torch.eye(2), atol=0.15, rtol=0)
    assert checkpoints == list(range(len(run.state.rounds) + 1))
    assert "median_pose_change_deg" in run.state.rounds[0]
    assert "median_pose_change_deg" not in run.state.rounds[-1]


def test_a_continuous_motion_is_one_group(found):
    assert not bool(found[0].state.group.any())


@pytest.mark.parametrize(
    ("sigma_deg", "rounds"), [(1.0, [False, True]), (0.5, [False, False, True]), (0.0, [False, False, False, True])]
)
def test_poses_that_hardly_move_are_left_alone(hinge, monkeypatch, sigma_deg, rounds):
    """By 0.6° and then 0.3°, against what they are uncertain by; never where that is not known."""
    run = started(hinge.store, hinge.half, hinge.rotation, hinge.shift_px, hinge.halves)
    run.state.gain, run.state.is_flexible = 1.0, True
    run.state.sigma_deg = torch.full_like(run.state.sigma_deg, sigma_deg)
    seen = []

    def noted(last):
        seen.append(last)
        run.state.rounds.append({} if last else {"median_pose_change_deg": 0.6 / len(seen)})

    monkeypatch.setattr(run, "round", noted)
    run.run(lambda: None, 3)
    assert seen == rounds


def test_where_a_search_finds_many_elsewhere_all_are_searched_again(hinge, monkeypatch):
    """Though poses hardly move by then; where not all are searched, or few are found elsewhere, it is enough."""
    run = started(hinge.store, hinge.half, hinge.rotation, hinge.shift_px, hinge.halves)
    run.state.sigma_deg = torch.ones_like(run.state.sigma_deg)
    for search_all, share, enough in ((True, 0.1, False), (True, 0.001, True), (False, 0.1, True)):
        run.search_all = search_all
        run.state.rounds = [{"median_pose_change_deg": 0.1, "moved_share": share}]
        assert run._stands_still == enough


def test_what_is_posed_goes_as_far_as_the_map_is_seen_and_what_remains_to_the_edge(hinge, monkeypatch):
    """Of faint images the half maps stop to agree long before there is nothing left."""
    monkeypatch.setattr(conformations.refinement, "seen_radius", lambda curve: 8.0)
    run = started(hinge.store, hinge.half, hinge.rotation, hinge.shift_px, hinge.halves)
    run.state.latents = torch.randn(hinge.store.n, 2, generator=torch.Generator().manual_seed(0))
    beyond = []
    for last in (False, True):
        run.round(last)
        power = volume_to_coeff(run.state.components[0]).abs().square()
        beyond.append(float(power[shell_index(32, "cpu") == 12].mean() / power[shell_index(32, "cpu") == 4].mean()))
    assert [found["radius"] for found in run.state.rounds] == [8.0, 16.0]
    assert beyond[0] < 0.1 * beyond[1]


def test_images_that_hold_little_are_searched_at_states_farther_out(hinge, monkeypatch):
    """Each image once: the lost at all shifts, the doubtful at near ones, both at every far anchor, all others at their own."""
    run = started(hinge.store, hinge.half, hinge.rotation, hinge.shift_px, hinge.halves)
    run.search_all, n = True, hinge.store.n
    run.state.latents = 0.5 * torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    run.state.surprise = torch.zeros(n)
    run.state.surprise[:40], run.state.surprise[40:100] = -3.0, -1.5
    states = conformations.States.known(run.state.latents)
    start = torch.cat([hinge.mean[None], hinge.mean[None].flip(1), hinge.mean[None].flip(2)])
    step = conformations.component_step(run.images, hinge.label, hinge.rotation, hinge.shift_px, states, start, 16.0, run.mask)
    monkeypatch.setattr(conformations, "as_references", lambda volumes, mean_noise, noise, mask: volumes)
    seen, polished = [], []
    monkeypatch.setattr(run, "_search", lambda rows, maps, radius, grid, near: seen.append((rows, maps, near)))
    monkeypatch.setattr(run, "_polish", lambda rows, reference: polished.append(rows))
    run._pose(states, step)
    lost, doubtful = (torch.cat([rows for rows, maps, near in seen if len(maps) > 1 and near == how]) for how in (False, True))
    sure = torch.cat([rows for rows, maps, _ in seen if len(maps) == 1])
    assert lost.sort().values.tolist() == list(range(40))
    assert doubtful.sort().values.tolist() == list(range(40, 100))
    assert sure.sort().values.tolist() == torch.cat(polished).sort().values.tolist() == list(range(100, n))
    # Posterior means of standard deviation 0.5 have a mean square of 1/4: the states lie four times as far out.
    far = next(maps for _, maps, _ in seen if len(maps) > 1)
    own = torch.cat([maps for _, maps, _ in seen if len(maps) == 1])[: len(far)]
    spread = [float((maps - maps.mean(0)).flatten(1).norm(dim=1).max()) for maps in (far, own)]
    assert 3.5 < spread[0] / spread[1] < 4.5


def test_each_image_is_posed_against_a_map_without_its_fold(hinge, monkeypatch):
    """Other images in both half sets' fold 3 change the references of all folds but the third."""
    seen = []

    def spy(images, rows, reference, rotation, shift_px):
        seen[-1].setdefault(int(hinge.label[rows[0]]) % refinement.FOLDS, []).append(reference.ball.clone())
        zeros = torch.zeros(len(rows))
        return local.Poses(rotation, shift_px, zeros, zeros)

    monkeypatch.setattr(conformations.local, "refine", spy)

    class Others(WeightedImages):
        def matched(self, rows, k):
            matched, weight = super().matched(rows, k)
            return torch.where((hinge.label[rows] % refinement.FOLDS == 3)[:, None], -matched, matched), weight

    run = started(hinge.store, hinge.half, hinge.rotation, hinge.shift_px, hinge.halves)
    run.state.latents = torch.randn(hinge.store.n, 2, generator=torch.Generator().manual_seed(0))
    states = conformations.States.known(run.state.latents)
    start = torch.cat([hinge.mean[None], torch.zeros(2, 32, 32, 32)])
    for source in (WeightedImages, Others):
        monkeypatch.setattr(conformations, "WeightedImages", source)
        seen.append({})
        poses = hinge.rotation, hinge.shift_px, states, start, 16.0, run.mask
        step = conformations.component_step(run.images, hinge.label, *poses)
        run._pose(states, step)
    scale = float(seen[0][0][0].std())
    change = {fold: max(float((a - b).abs().max()) for a, b in zip(seen[0][fold], seen[1][fold], strict=True)) for fold in seen[0]}
    assert change.pop(3) < 0.02 * scale
    assert min(change.values()) > 0.2 * scale


@pytest.mark.parametrize("search_all", [False, True])
def test_images_in_a_wrong_basin_are_found_where_all_are_searched(hinge, search_all):
    """Eighty images turned half round, and not yet told from the others by their amplitude."""
    images = WeightedImages(hinge.store, hinge.store.noise, torch.ones(hinge.store.n))
    wrong = hinge.rotation.clone()
    wrong[:80] = axis_angle_to_matrix(torch.tensor([0.0, torch.pi, 0.0])) @ wrong[:80]
    halves = refinement.half_maps(images, hinge.half, wrong, hinge.shift_px, 16.0, 0.42 * 32)
    run = started(hinge.store, hinge.half, wrong, hinge.shift_px, halves)
    run.search_all = search_all
    run.judge()
    run._rescale = lambda states: None
    run.round(last=False)
    error = geodesic_deg(run.state.joint_rotation, hinge.rotation)
    assert float((error[80:] < 10).float().mean()) > 0.97
    found = float((error[:80] < 10).float().mean())
    if search_all:
        assert found > 0.8
        assert 0.05 < run.state.rounds[0]["moved_share"] < 0.1
    else:
        assert found < 0.2


def test_of_poses_that_a_symmetry_makes_equal_the_right_one_is_taken(threefold, posed, tmp_path):
    """A threefold particle off the centre, with one arm that breaks its symmetry; a quarter of the images at a wrong mate."""
    volume, group = threefold
    z, y, x = torch.meshgrid(*[torch.arange(32.0) - 16] * 3, indexing="ij")
    arm = 1.5 * torch.exp(-((x - 9) ** 2 + (y + 1) ** 2 + (z - 3) ** 2) / (2 * 2.0**2))
    write_map(tmp_path / "map.mrc", (volume + arm).numpy(), 5.0)
    config = SimulateConfig(out=tmp_path / "data", structures=(tmp_path / "map.mrc",), n=600, box=32, snr=0.5, shift_px=2, seed=6)
    store, true, true_shift_px, _ = posed(simulate(config))
    rotation, shift_px = true.clone(), true_shift_px.clone()
    at_mates = mates(true, true_shift_px, group, offsets_px(volume, group))
    for rows, mate in ((slice(0, 75), 1), (slice(75, 150), 2)):
        rotation[rows], shift_px[rows] = at_mates[0][mate, rows], at_mates[1][mate, rows]
    images, half = WeightedImages(store, store.noise, torch.ones(store.n)), torch.arange(store.n) % 2 + 1
    run = started(store, half, rotation, shift_px, refinement.half_maps(images, half, rotation, shift_px, 16.0, 0.42 * 32))
    run._choose_mates()
    assert torch.equal(run.state.joint_rotation, rotation)  # no symmetry has been found
    run.state.operators = group
    run.state.latents = torch.randn(store.n, 2, generator=torch.Generator().manual_seed(0))
    run._choose_mates()
    assert float((geodesic_deg(rotation, true) < 1).float().mean()) == 0.75
    assert float((geodesic_deg(run.state.joint_rotation, true) < 1).float().mean()) > 0.97
    assert float((run.state.joint_shift_px - true_shift_px).norm(dim=1).median()) < 0.1


def test_an_image_is_doubtful_among_those_of_its_state():
    """All of the second anchor hold little of their map, one of each less than the others there."""
    anchor = torch.tensor([0] * 9 + [1] * 9)
    surprise = torch.where(anchor == 1, -3.0, 0.5)
    surprise[[4, 13]] -= 4.0
    doubtful = conformations._among_neighbours(surprise, anchor) < searches.SURPRISING
    assert doubtful.nonzero().flatten().tolist() == [4, 13]


def test_a_rigid_structure_is_called_rigid(store, data):
    table = read_particles(data / "truth" / "particles.star", need_images=False).table
    rotation = torch.from_numpy(table.rotations).float()
    shift_px = torch.from_numpy(table.shifts_A / table.pixel_size_A[:, None]).float()
    half = torch.arange(store.n) % 2 + 1
    images = WeightedImages(store, store.noise, torch.ones(store.n))
    halves = refinement.half_maps(images, half, rotation, shift_px, store.box / 2, 0.42 * store.box)
    run = started(store, half, rotation, shift_px, halves)
    run.run(lambda: None, 2)
    assert not run.state.is_flexible
    assert run.state.rounds == []
    assert bool((run.state.latents == 0).all())
    assert torch.equal(run.state.precision[0], torch.eye(2))
    assert torch.equal(run.state.joint_rotation, rotation)


@pytest.mark.parametrize("n_anchors", [1, 6])
def test_maps_of_anchors_are_their_components_added_up(n_anchors):
    g = torch.Generator().manual_seed(0)
    ball, mixes = torch.randn(50, 6, generator=g), torch.randn(n_anchors, 3, generator=g)
    found = torch.stack(list(conformations._mixed(ball, mixes)))
    torch.testing.assert_close(found, torch.einsum("ar,vri->avi", mixes, ball.unflatten(1, (3, 2))))


def test_anchors_are_near_their_images():
    g = torch.Generator().manual_seed(0)
    middle = torch.tensor([[-5.0, 0.0], [0.0, 5.0], [5.0, 0.0]])
    latents = middle[torch.arange(600) % 3] + 0.1 * torch.randn(600, 2, generator=g)
    centres, nearest = anchors_of(latents, 24, 0)
    assert len(centres) == 6  # one for 100 images
    assert float((latents - centres[nearest]).norm(dim=1).max()) < 0.6
    assert torch.equal(nearest, torch.cdist(latents, centres).argmin(1))
