"""Refinement of half sets: each half knows only its own images; searches find the truth; filters and radii follow the FSC."""

import copy
import math

import pytest
import torch

from cryodrake.inference import exhaustive
from cryodrake.inference.reconstruct import accumulate, solve
from cryodrake.io.job import JobFolder
from cryodrake.io.mrc import read_map
from cryodrake.io.particles import read_particles
from cryodrake.physics.fourier import coeff_to_volume, volume_to_coeff
from cryodrake.physics.fsc import fsc, shell_index
from cryodrake.physics.grids import ring_base, shift_grid
from cryodrake.physics.rotations import axis_angle_to_matrix, geodesic_deg
from cryodrake.physics.turns import turned
from cryodrake.training import refinement
from cryodrake.training.abinit import AbinitRun
from cryodrake.training.config import AbinitConfig
from cryodrake.training.events import QuietReporter
from cryodrake.training.images import WeightedImages
from cryodrake.training.solvent import apply_filter, flatten_solvent, fsc_of_part, particle_mask, solvent_mask
from cryodrake.training.state import RunState

BOX = 32
RADIUS_PX = 0.42 * BOX


@pytest.fixture(scope="module")
def images(store):
    return WeightedImages(store, store.noise, torch.ones(store.n))


@pytest.fixture(scope="module")
def truth(data):
    """Rotations and shifts in px."""
    table = read_particles(data / "truth" / "particles.star", need_images=False).table
    return torch.from_numpy(table.rotations).float(), torch.from_numpy(table.shifts_A / table.pixel_size_A[:, None]).float()


@pytest.fixture(scope="module")
def half(store):
    return torch.arange(store.n) % 2 + 1


@pytest.fixture(scope="module")
def fold(half):
    return refinement.fold_labels(half) % refinement.FOLDS


def made_of(images, half, truth, radius=BOX / 2):
    """Sums, half maps and references from these poses."""
    sums = refinement.fold_sums(images, refinement.fold_labels(half), *truth, radius)
    maps = refinement.HalfMaps.of(sums.of_halves(), sums.grid, RADIUS_PX)
    return sums, maps, refinement.half_references(sums, maps)


@pytest.fixture(scope="module")
def made(images, half, truth):
    return made_of(images, half, truth)


@pytest.fixture(scope="module")
def sums(made):
    return made[0]


@pytest.fixture(scope="module")
def maps(made):
    return made[1]


@pytest.fixture(scope="module")
def references(made):
    return made[2]


IDENTITY = torch.eye(3)[None]


# half sets


def with_other_images(store, rows):
    """The same store, but that these images are bright noise."""
    other = copy.deepcopy(store)
    noise = 5 * torch.randn(len(rows), store.disc.n_points, dtype=torch.complex64, generator=torch.Generator().manual_seed(3))
    other._storage.write(rows.numpy(), noise)
    return other


@pytest.mark.parametrize("whole", [True, False])
def test_a_half_set_is_searched_and_made_into_a_map_without_the_other(store, references, truth, half, tmp_path, whole):
    """After the start that both share, other images in half 2 leave poses and sums of half 1 as they are, to the last bit."""
    n = store.n
    first, second = (torch.nonzero(half == h).squeeze(1) for h in (1, 2))
    some = first[:40]  # the search takes its time
    job, config = JobFolder.create(tmp_path / "job"), AbinitConfig(particles=tmp_path / "a.star", out=tmp_path / "job")
    grid = small_grid()
    outcomes = []
    for source in (store, with_other_images(store, second)):
        state = RunState.first(half, store.noise.clone(), BOX)
        state.rotation, state.shift_px = truth[0].clone(), truth[1].clone()
        state.confidence = torch.full((n,), 0.95)
        state.maps, state.radius, state.iteration = references.clone(), 10.0, 4
        run = AbinitRun(config, job, QuietReporter(), source, state)
        if whole:
            run._search(some, state.maps[0, 0], grid, near=True)
        else:
            run._polish(some, state.maps[0, 0])
        found = made_of(run.images, half, (state.rotation, state.shift_px), 12.0)[1]
        outcomes.append((state.rotation[some], state.shift_px[some], state.confidence[some], found.sums[0], found.raw[0]))
        assert not torch.equal(state.rotation[some], truth[0][some])
        assert torch.equal(state.rotation[second], truth[0][second])
    for a, b in zip(*outcomes, strict=True):
        assert torch.equal(a, b)


def test_an_iteration_searches_each_fold_against_its_own_map(store, references, truth, half, fold, tmp_path, monkeypatch):
    state = RunState.first(half, store.noise.clone(), BOX)
    state.rotation, state.shift_px = truth[0].clone(), truth[1].clone()
    state.confidence = torch.full((store.n,), 0.95)
    state.maps, state.radius, state.iteration = references.clone(), 10.0, 4
    state.history = [{"whole": True, "images": store.n, "resolution_A": 30.0, "radius": 8.0, "moved_share": 1.0}]
    before = state.maps.clone()
    searched = torch.zeros(store.n)

    def spy(images, rows, volume, radius, rotation, shift_px):
        assert len(half[rows].unique()) == len(fold[rows].unique()) == 1
        assert torch.equal(volume, before[int(half[rows[0]]) - 1, int(fold[rows[0]])])
        searched[rows] += 1
        return refinement.local.Poses(rotation, shift_px, torch.zeros(len(rows)), torch.ones(len(rows)))

    monkeypatch.setattr(refinement, "local_poses", spy)
    config = AbinitConfig(particles=tmp_path / "a.star", out=tmp_path / "job")
    AbinitRun(config, JobFolder.create(tmp_path / "job"), QuietReporter(), store, state)._iterate()
    assert bool((searched == 1).all())
    # And each half's next map is made of its own images.
    assert float(fsc(state.maps[0, 0], references[0, 0])[1:9].min()) > 0.95
    assert state.iteration == 5
    assert len(state.history) == 2


def test_half_maps_are_made_of_their_own_images(images, half, truth, maps):
    rotation, shift_px = (x.clone() for x in truth)
    rotation[half == 2] = rotation[half == 2].flip(0)
    other = made_of(images, half, (rotation, shift_px))[1]
    assert torch.equal(other.raw[0], maps.raw[0])
    assert float(fsc(other.raw[1], maps.raw[1])[2:].mean()) < 0.6


def test_half_maps_of_true_poses(maps, images, half, fold, truth, references):
    assert float(maps.fsc[1:12].min()) > 0.5
    assert maps.sums.shape == (2, maps.grid.n_voxels, 3)
    sphere = solvent_mask(BOX, RADIUS_PX, torch.device("cpu"))
    flat = [flatten_solvent(v, sphere) for v in maps.raw]
    torch.testing.assert_close(maps.fsc[:-1], fsc(*flat)[:-1])
    torch.testing.assert_close(maps.particle, particle_mask(maps.raw, maps.fsc, sphere))
    torch.testing.assert_close(maps.inside, fsc_of_part(maps.fsc, float(maps.particle.sum() / sphere.sum())))
    # The Wiener filter of a half map is the FSC; a fold's map is made of the half's other images.
    assert references.shape == (2, refinement.FOLDS, BOX, BOX, BOX)
    for h, f in ((1, 0), (2, 3)):
        rows = torch.nonzero((half == h) & (fold != f)).squeeze(1)
        own = solve(accumulate(images, rows, truth[0][rows], truth[1][rows], maps.grid), maps.grid)
        expected = apply_filter(flatten_solvent(own, maps.particle), maps.inside)
        torch.testing.assert_close(references[h - 1, f], expected, atol=1e-3 * float(expected.std()), rtol=0)
        assert float(expected.std()) < float(own.std())


def test_a_reference_holds_nothing_of_the_images_searched_against_it(images, store, half, fold, truth, sums):
    """Other images in fold 1 of half 1 change the sums of that fold and no others."""
    rows = torch.nonzero((half == 1) & (fold == 1)).squeeze(1)
    other = WeightedImages(with_other_images(store, rows), images.noise, images.scale)
    changed = refinement.fold_sums(other, refinement.fold_labels(half), *truth, BOX / 2)
    same = [torch.equal(a, b) for a, b in zip(sums.parts, changed.parts, strict=True)]
    assert same == [i != 1 for i in range(2 * refinement.FOLDS)]


def test_an_image_of_noise_prefers_the_pose_it_was_put_at_unless_it_is_left_out(store, truth, half, fold):
    """The bias that folds remove: noise, averaged into a map at some pose, matches the map there better than elsewhere."""
    noisy = WeightedImages(with_other_images(store, torch.arange(store.n)), store.noise, torch.ones(store.n))
    _, found, left_out = made_of(noisy, half, truth, 12.0)
    rows = torch.nonzero((half == 1) & (fold == 0)).squeeze(1)
    own = torch.stack([found.raw[0], left_out[0, 0]])
    gains = []
    for volume in own:
        here = score_at(noisy, rows, volume, truth[0][rows], truth[1][rows])
        elsewhere = score_at(noisy, rows, volume, truth[0][rows].flip(0), truth[1][rows])
        gains.append((here - elsewhere) / elsewhere.std())
    assert float(gains[0].mean()) > 0.5
    assert abs(float(gains[1].mean())) < 0.4


def score_at(images, rows, volume, rotation, shift_px):
    reference = refinement.Reference.build(volume / volume.std(), 10.0)
    return refinement.local.refine(images, rows, reference, rotation, shift_px, 0).score


def test_folds_are_even_and_within_halves(half):
    label = refinement.fold_labels(half)
    assert torch.equal(label // refinement.FOLDS, half - 1)
    for h in (1, 2):
        counts = torch.bincount(label[half == h] % refinement.FOLDS, minlength=refinement.FOLDS)
        assert int(counts.max() - counts.min()) <= 1


def test_images_left_out_are_in_no_sum(images, half, truth):
    label = refinement.fold_labels(half)
    label[::2] = -1  # all of half 1
    sums = refinement.fold_sums(images, label, *truth, 8.0)
    assert [bool((part == 0).all()) for part in sums.parts] == [True] * refinement.FOLDS + [False] * refinement.FOLDS


def test_both_halves_together_make_a_better_reference(sums, maps, references, data):
    joint = refinement.joint_reference(maps, sums.parts[0])
    true_map = torch.from_numpy(read_map(data / "truth" / "volumes" / "state_000.mrc")[0])
    high = slice(8, 14)
    assert float(fsc(joint, true_map)[high].mean()) > float(fsc(references[0, 0], true_map)[high].mean())
    assert bool((maps.joint_fsc[1:12] >= maps.inside[1:12] - 1e-5).all())


def test_half_sets_alone_are_the_sums_of_their_folds(images, half, truth, maps):
    alone = refinement.half_maps(images, half, *truth, BOX / 2, RADIUS_PX)
    torch.testing.assert_close(alone.sums, maps.sums, rtol=1e-4, atol=1e-3 * float(maps.sums.std()))
    torch.testing.assert_close(alone.fsc, maps.fsc, rtol=0, atol=1e-3)


def test_nothing_is_claimed_beyond_the_radius(images, half, truth):
    _, maps, references = made_of(images, half, truth, 9.0)
    assert bool((maps.fsc[9:] == 0).all())
    beyond = shell_index(BOX) > 9
    assert float(volume_to_coeff(references[0, 0])[beyond].abs().max()) < 1e-4


# searches


def small_grid(seed=0, radius=9.0):
    return refinement.Grid.draw(radius, BOX, torch.Generator().manual_seed(seed), torch.device("cpu"))


def test_a_global_search_finds_the_poses_from_nothing(images, references, truth):
    rows = torch.arange(0, 800, 10)
    volume = references.mean((0, 1))
    radius = refinement.search_radius(images, rows, volume, 12.0)
    found = refinement.global_poses(images, rows, volume, 12.0, small_grid(0, radius), None, False, IDENTITY)
    error = geodesic_deg(found.rotation, truth[0][rows])
    assert float(error.median()) < 2.5
    assert float((error < 10).float().mean()) > 0.95
    right = error < 10
    assert float((found.shift_px - truth[1][rows])[right].norm(dim=1).median()) < 0.15
    assert float((found.confidence[right] > 0.9).float().mean()) > 0.8
    # The curvature promises the errors that are made, within a factor.
    assert 0.5 < float(error[right].median() / found.sigma_deg[right].median()) < 1.5


def test_a_search_never_loses_a_pose_that_is_better_than_what_it_finds(images, references, truth):
    rows = torch.arange(0, 800, 20)
    volume = references.mean((0, 1))
    known = (truth[0][rows], truth[1][rows])
    sparse = refinement.Grid(6.0, 40.0, ring_base(90.0), shift_grid(3.0, 3.0), shift_grid(1.0, 1.0))
    found = refinement.global_poses(images, rows, volume, 12.0, sparse, known, True, IDENTITY)
    assert float((geodesic_deg(found.rotation, truth[0][rows]) < 10).float().mean()) > 0.95


def test_the_search_radius_is_where_the_signal_suffices(images, references):
    rows, volume = torch.arange(100), references.mean((0, 1))
    radii = [refinement.search_radius(images, rows, factor * volume, 14.0) for factor in (0.2, 1.0, 5.0)]
    assert radii[0] == 14.0
    assert radii == sorted(radii, reverse=True)
    assert radii[-1] == refinement.COARSEST_RADIUS[0]
    assert refinement.search_radius(images, rows, 5 * volume, 8.0) == 8.0


def test_grids_cover_and_are_offset(truth):
    a, b = small_grid(0), small_grid(1)
    rotations = turned(a.base)
    nearest = geodesic_deg(truth[0][:50, None].expand(-1, len(rotations), 3, 3), rotations.expand(50, -1, 3, 3)).amin(1)
    assert float(nearest.max()) < a.spacing_deg
    assert not torch.allclose(a.wide_px, b.wide_px)
    assert torch.equal(a.wide_px, small_grid(0).wide_px)
    assert float(a.wide_px.norm(dim=1).max()) < 1.7 * refinement.SHIFT_EXTENT * BOX
    assert len(a.near_px) < len(a.wide_px) or BOX < 64


def test_a_local_search_polishes(images, references, truth):
    rows = torch.arange(0, 800, 10)
    g = torch.Generator().manual_seed(0)
    rotation = axis_angle_to_matrix(0.04 * torch.randn(80, 3, generator=g)) @ truth[0][rows]
    shift_px = truth[1][rows] + 0.4 * torch.randn(80, 2, generator=g)
    found = refinement.local_poses(images, rows, references.mean((0, 1)), 14.0, rotation, shift_px)
    assert (
        float(geodesic_deg(found.rotation, truth[0][rows]).median()) < 2.2 < float(geodesic_deg(rotation, truth[0][rows]).median())
    )
    assert float((found.shift_px - truth[1][rows]).norm(dim=1).median()) < 0.12


def test_the_same_images_give_the_same_poses_whatever_the_memory(images, references, monkeypatch):
    rows = torch.arange(12)
    volume = references.mean((0, 1))
    monkeypatch.setattr(exhaustive, "product_dtype", lambda device: torch.float32)
    grid = small_grid()
    whole = refinement.global_poses(images, rows, volume, 9.0, grid, None, False, IDENTITY)
    parts = [refinement.global_poses(images, r, volume, 9.0, grid, None, False, IDENTITY) for r in rows.split(6)]
    assert float(geodesic_deg(torch.cat([p.rotation for p in parts]), whole.rotation).max()) < 0.05


# maps and radii


def reference_of(fall):
    """A map of white noise whose amplitude falls as exp(-k/fall)."""
    white = volume_to_coeff(torch.randn(64, 64, 64, generator=torch.Generator().manual_seed(0)))
    return coeff_to_volume(white * torch.exp(-shell_index(64) / fall))


def test_the_radius_follows_the_fsc():
    noise = torch.ones(1, 33)
    informative = reference_of(1e9)
    curve = torch.ones(33)
    curve[15:] = 0
    assert refinement.next_radius(curve, informative, noise, 14.0) == pytest.approx(15.7, abs=0.5)  # FSC falls there
    assert refinement.next_radius(curve, informative, noise, 7.0) == pytest.approx(14.0)  # but not by leaps
    assert refinement.next_radius(torch.ones(33), informative, noise, 30.0) <= 32.0  # nor out of the box
    assert refinement.next_radius(torch.zeros(33), informative, noise, 20.0) == 8.0  # nor to nothing
    # Shells that tell nothing about orientations are left out.
    assert refinement.next_radius(torch.ones(33), reference_of(3.0), noise, 30.0) < 16
    coloured = torch.ones(1, 33)
    coloured[:, 12:] = 1e6
    assert refinement.next_radius(torch.ones(33), informative, coloured, 30.0) < 14
    assert math.isfinite(refinement.next_radius(torch.ones(33), torch.zeros(64, 64, 64), noise, 12.0))


def test_few_images_are_searched_more_finely_at_a_bounded_cost():
    assert refinement.thoroughness(1.0, 0.1) == refinement.thoroughness(0.1, 0.1) == 1.0
    for cost in (0.1, 1.0):
        for share in torch.logspace(-3, 0, 20).tolist():
            assert share * refinement.thoroughness(share, cost) ** 5 <= max(share, cost) * 1.0001
    assert refinement.thoroughness(0.0, 0.1) == refinement.THOROUGH
