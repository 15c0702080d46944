"""Refinement of half sets: each half knows only its own images; searches find the truth; filters and radii follow the FSC."""

import copy
import math

import pytest
import torch

from cryodrake.inference import exhaustive
from cryodrake.inference.exhaustive import Candidates
from cryodrake.inference.reference import Reference
from cryodrake.io.job import JobFolder
from cryodrake.io.particles import read_particles
from cryodrake.physics.fourier import coeff_to_volume, volume_to_coeff
from cryodrake.physics.fsc import fsc, shell_index
from cryodrake.physics.rotations import axis_angle_to_matrix, geodesic_deg
from cryodrake.training import refinement
from cryodrake.training.abinit import AbinitRun
from cryodrake.training.config import AbinitConfig
from cryodrake.training.events import QuietReporter
from cryodrake.training.images import WeightedImages
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
def maps(images, half, truth):
    return refinement.half_maps(images, half, *truth, BOX / 2, RADIUS_PX)


# half sets


def with_other_images(store, rows):
    """The same store, but that these images are bright noise."""
    other = copy.deepcopy(store)
    noise = 5 * torch.randn(len(rows), store.disc.n_points, dtype=torch.complex64, generator=torch.Generator().manual_seed(3))
    other._storage.write(rows.numpy(), noise)
    return other


@pytest.mark.parametrize("whole", [True, False])
def test_a_half_set_is_searched_and_made_into_a_map_without_the_other(store, maps, truth, half, tmp_path, whole):
    """After the start that both share, other images in half 2 leave poses and sums of half 1 as they are, to the last bit."""
    n = store.n
    first, second = (torch.nonzero(half == h).squeeze(1) for h in (1, 2))
    some = first[:40]  # the search takes its time
    job, config = JobFolder.create(tmp_path / "job"), AbinitConfig(particles=tmp_path / "a.star", out=tmp_path / "job")
    outcomes = []
    for source in (store, with_other_images(store, second)):
        state = RunState.first(half, store.noise.clone(), BOX)
        state.rotation, state.shift_px = truth[0].clone(), truth[1].clone()
        state.confidence = torch.full((n,), 0.95)
        state.maps, state.radius, state.iteration = maps.references.clone(), 10.0, 4
        run = AbinitRun(config, job, QuietReporter(), source, state)
        run._update_poses(some, state.maps[0], whole)
        found = refinement.half_maps(run.images, half, state.rotation, state.shift_px, 12.0, RADIUS_PX)
        outcomes.append((state.rotation[some], state.shift_px[some], state.confidence[some], found.sums[0], found.raw[0]))
        assert not torch.equal(state.rotation[some], truth[0][some])
        assert torch.equal(state.rotation[second], truth[0][second])
    for a, b in zip(*outcomes, strict=True):
        assert torch.equal(a, b)


def test_an_iteration_searches_each_half_against_its_own_map(store, maps, truth, half, tmp_path, monkeypatch):
    state = RunState.first(half, store.noise.clone(), BOX)
    state.rotation, state.shift_px = truth[0].clone(), truth[1].clone()
    state.confidence = torch.full((store.n,), 0.95)
    state.maps, state.radius, state.iteration = maps.references.clone(), 10.0, 4
    references = state.maps.clone()
    searched = torch.zeros(store.n)

    def spy(images, rows, volume, radius, rotation, shift_px, confidence):
        assert len(half[rows].unique()) == 1
        assert torch.equal(volume, references[int(half[rows[0]]) - 1])
        searched[rows] += 1
        return refinement.Poses(rotation, shift_px, confidence, torch.ones(len(rows)))

    monkeypatch.setattr(refinement, "local_poses", spy)
    config = AbinitConfig(particles=tmp_path / "a.star", out=tmp_path / "job")
    AbinitRun(config, JobFolder.create(tmp_path / "job"), QuietReporter(), store, state)._iterate()
    assert bool((searched == 1).all())
    # And each half's next map is made of its own images.
    assert float(fsc(state.maps[0], maps.references[0])[1:9].min()) > 0.95
    assert state.iteration == 5
    assert len(state.history) == 1


def test_half_maps_are_made_of_their_own_images(images, half, truth, maps):
    rotation, shift_px = (x.clone() for x in truth)
    rotation[half == 2] = rotation[half == 2].flip(0)
    other = refinement.half_maps(images, half, rotation, shift_px, BOX / 2, RADIUS_PX)
    assert torch.equal(other.raw[0], maps.raw[0])
    assert float(fsc(other.raw[1], maps.raw[1])[2:].mean()) < 0.6


def test_half_maps_of_true_poses(maps, store):
    assert float(maps.fsc[1:12].min()) > 0.5
    assert maps.sums.shape == (2, maps.grid.n_voxels, 3)
    mask = refinement.solvent_mask(BOX, RADIUS_PX, torch.device("cpu"))
    flat = [refinement.flatten_solvent(v, mask) for v in maps.raw]
    torch.testing.assert_close(maps.fsc[:-1], fsc(*flat)[:-1])
    for reference, own in zip(maps.references, flat, strict=True):
        # The Wiener filter of a half map is the FSC.
        torch.testing.assert_close(reference, refinement.apply_filter(own, maps.fsc.clamp(min=0)))
        assert float(reference.std()) < float(own.std())


def test_nothing_is_claimed_beyond_the_radius(images, half, truth):
    maps = refinement.half_maps(images, half, *truth, 9.0, RADIUS_PX)
    assert bool((maps.fsc[9:] == 0).all())
    beyond = shell_index(BOX) > 9
    assert float(volume_to_coeff(maps.references[0])[beyond].abs().max()) < 1e-4


# searches


def test_a_global_search_finds_the_poses_from_nothing(images, maps, truth):
    rows = torch.arange(0, 800, 10)
    volume = maps.references.mean(0)
    found = refinement.global_poses(images, rows, volume, 12.0, torch.zeros(80, 2), 3.2, 2.0)
    error = geodesic_deg(found.rotation, truth[0][rows])
    assert float(error.median()) < 2.5
    assert float((error < 10).float().mean()) > 0.85
    right = error < 10
    assert float((found.shift_px - truth[1][rows])[right].norm(dim=1).median()) < 0.15
    assert float((found.confidence[right] > 0.9).float().mean()) > 0.8
    # The curvature promises the errors that are made, within a factor.
    assert 0.5 < float(error[right].median() / found.sigma_deg[right].median()) < 1.5


def test_a_local_search_polishes(images, maps, truth):
    rows = torch.arange(0, 800, 10)
    g = torch.Generator().manual_seed(0)
    rotation = axis_angle_to_matrix(0.04 * torch.randn(80, 3, generator=g)) @ truth[0][rows]
    shift_px = truth[1][rows] + 0.4 * torch.randn(80, 2, generator=g)
    confidence = torch.rand(80, generator=g)
    found = refinement.local_poses(images, rows, maps.references.mean(0), 14.0, rotation, shift_px, confidence)
    assert (
        float(geodesic_deg(found.rotation, truth[0][rows]).median()) < 2.2 < float(geodesic_deg(rotation, truth[0][rows]).median())
    )
    assert float((found.shift_px - truth[1][rows]).norm(dim=1).median()) < 0.12
    assert torch.equal(found.confidence, confidence)


def test_rivals_are_weighed_by_their_likelihood(images, maps, truth, monkeypatch):
    """With the curvature steps taken out, confidence is the logistic function of the difference of two basins' scores."""
    rows = torch.arange(6)
    other = axis_angle_to_matrix(torch.tensor([[2.0, 0.0, 0.0]])) @ truth[0][:6]
    rotation = torch.stack([truth[0][:6], other], 1)
    shift_px = truth[1][:6, None].expand(-1, 2, -1)
    gap = torch.tensor([0.0, 1.0, 5.0, 24.0, 26.0, 500.0])
    score = torch.stack([torch.zeros(6), -gap], 1)

    def stand_in(images, rows, reference, rotation, shift_px, iterations=4):
        chosen = torch.where(geodesic_deg(rotation, truth[0][rows]) < 1, 0.0, -gap[rows])
        return refinement.local.Poses(rotation.clone(), shift_px.clone(), chosen, torch.ones(len(rows)))

    monkeypatch.setattr(refinement.local, "refine", stand_in)
    reference = Reference.build(maps.references[0], 8.0)
    found = refinement._polish_rivals(images, rows, reference, Candidates(score, rotation, shift_px, torch.zeros(6)), 3.75)
    expected = torch.where(gap < refinement.HOPELESS, torch.sigmoid(gap), torch.ones(6))
    torch.testing.assert_close(found.confidence, expected)
    torch.testing.assert_close(found.rotation, truth[0][:6])


def test_a_rival_that_wins_takes_the_place(images, maps, truth, monkeypatch):
    rows = torch.arange(3)
    wrong = axis_angle_to_matrix(torch.tensor([[2.0, 0.0, 0.0]])) @ truth[0][:3]
    found = refinement._polish_rivals(
        images,
        rows,
        Reference.build(maps.references.mean(0), 12.0),
        Candidates(
            torch.tensor([[1.0, 0.0]]).expand(3, -1),
            torch.stack([wrong, truth[0][:3]], 1),
            truth[1][:3, None].expand(-1, 2, -1),
            torch.zeros(3),
        ),
        3.75,
    )
    assert float(geodesic_deg(found.rotation, truth[0][:3]).max()) < 6


def test_the_same_images_give_the_same_poses_whatever_the_memory(images, maps, monkeypatch):
    rows = torch.arange(12)
    volume = maps.references.mean(0)
    monkeypatch.setattr(exhaustive, "product_dtype", lambda device: torch.float32)
    whole = refinement.global_poses(images, rows, volume, 9.0, torch.zeros(12, 2), 2.0, 1.0)
    parts = [refinement.global_poses(images, r, volume, 9.0, torch.zeros(6, 2), 2.0, 1.0) for r in rows.split(6)]
    assert float(geodesic_deg(torch.cat([p.rotation for p in parts]), whole.rotation).max()) < 0.05


# maps and radii


def test_filters_multiply_shells():
    volume = torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(0))
    curve = torch.linspace(1, 0, 9)
    ratio = volume_to_coeff(refinement.apply_filter(volume, curve)) / volume_to_coeff(volume)
    shell = shell_index(16)
    inside = shell < 8  # in the corners and at -d/2 the mates of a real map differ
    torch.testing.assert_close(ratio.real[inside], curve[shell[inside]], atol=1e-3, rtol=0)


def test_the_solvent_is_flattened_to_zero_and_the_particle_kept():
    mask = refinement.solvent_mask(32, 10.0, torch.device("cpu"))
    particle = refinement.solvent_mask(32, 5.0, torch.device("cpu"))
    flat = refinement.flatten_solvent(particle + 3.0, mask)
    torch.testing.assert_close(flat, particle, atol=1e-4, rtol=0)


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
    assert refinement.next_radius(curve, informative, noise, 9.0) == pytest.approx(13.5)  # but not by leaps
    assert refinement.next_radius(torch.ones(33), informative, noise, 30.0) <= 32.0  # nor out of the box
    assert refinement.next_radius(torch.zeros(33), informative, noise, 20.0) == 8.0  # nor to nothing
    # Shells that tell nothing about orientations are left out.
    assert refinement.next_radius(torch.ones(33), reference_of(3.0), noise, 30.0) < 16
    coloured = torch.ones(1, 33)
    coloured[:, 12:] = 1e6
    assert refinement.next_radius(torch.ones(33), informative, coloured, 30.0) < 14
    assert math.isfinite(refinement.next_radius(torch.ones(33), torch.zeros(64, 64, 64), noise, 12.0))
