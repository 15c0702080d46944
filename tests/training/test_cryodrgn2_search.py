"""The search: its score is the published one, it finds the truth, and the raster's answers are the network's own."""

from dataclasses import replace

import pytest
import torch

from cryodrake.fields.encodings import cryodrgn_sigma_px
from cryodrake.fields.mlp import MLPField
from cryodrake.inference.alignment import within_ball
from cryodrake.inference.hierarchy import score_children
from cryodrake.inference.reference import Reference
from cryodrake.inference.reference_field import FieldReference
from cryodrake.io.job import JobFolder
from cryodrake.io.mrc import read_map
from cryodrake.io.particles import read_particles
from cryodrake.physics.fourier import coeff_to_image, image_to_coeff
from cryodrake.physics.fsc import area_under, fsc
from cryodrake.physics.grids import all_rotations, rotations_of, spacing_deg
from cryodrake.physics.rotations import geodesic_deg
from cryodrake.training.config import AbinitConfig
from cryodrake.training.cryodrgn2 import search
from cryodrake.training.cryodrgn2.images import NormalisedImages
from cryodrake.training.cryodrgn2.model_rigid import RigidModel
from cryodrake.training.cryodrgn2.run import Cryodrgn2Run
from cryodrake.training.cryodrgn2.schedule import FLEXIBLE
from cryodrake.training.cryodrgn2.search import children_of, search_poses, share_of_best
from cryodrake.training.cryodrgn2.state import PoseTable
from cryodrake.training.events import QuietReporter


@pytest.fixture(scope="module")
def truth(data):
    table = read_particles(data / "truth" / "particles.star", need_images=False).table
    return torch.from_numpy(table.rotations).float(), torch.from_numpy(table.shifts_A / table.pixel_size_A[:, None]).float()


def small_model(store):
    """The published network but for its width."""
    sigma_px = cryodrgn_sigma_px(store.box)
    return RigidModel(MLPField(store.box, store.box_A, sigma_px, positions=3 * store.box // 2, width=64, depth=3))


def train(data, store, truth, folder, epochs):
    """The run after some epochs at the true poses, quickly."""
    config = AbinitConfig(particles=data / "particles.star", out=data / "none", preset="cryodrgn2", device="cpu")
    poses = PoseTable(truth[0].clone(), truth[1].clone(), torch.zeros(store.n), torch.arange(store.n) % 2 + 1)
    schedule = replace(FLEXIBLE, epochs=epochs, search_every=100, learning_rate=2e-3)
    job = JobFolder.create(folder / "job")
    run = Cryodrgn2Run(config, job, QuietReporter(), store, small_model(store), poses, schedule)
    run.progress.epoch = 2
    run.train()
    return run


@pytest.fixture(scope="module")
def trained(data, store, truth, tmp_path_factory):
    return train(data, store, truth, tmp_path_factory.mktemp("trained"), 4)


def test_training_at_true_poses_makes_the_map(trained, data):
    volume = torch.from_numpy(read_map(data / "truth" / "volumes" / "state_000.mrc")[0])
    before = small_model(trained.store).typical_map()
    reached = area_under(fsc(within_ball(trained.model.typical_map()), within_ball(volume)))
    assert area_under(fsc(within_ball(before), within_ball(volume))) < 0.3
    assert reached > 0.7
    losses = [epoch["loss"] for epoch in trained.progress.history]
    assert losses == sorted(losses, reverse=True)


def test_the_score_is_the_published_one(trained, store):
    """ℓ of the engine is ⟨y, ŷ⟩ - ½‖ŷ‖² over the whole disc, with images in real space for a witness."""
    images, disc, rows = trained.images, store.disc, torch.arange(3)
    reference = Reference.of_field(trained.model.field, 10.0)
    schedule = replace(FLEXIBLE, levels=0, keep=2)
    found = search_poses(images, rows, lambda radius: reference, [10.0], schedule)
    k = disc.count(10.0)
    kxy = disc.kxy[:k]
    for i in range(3):
        slices = torch.view_as_complex(reference.slices(found.rotation[i], kxy))
        move = torch.exp(-2j * torch.pi / disc.box * (found.shift_px[i] @ kxy.T))
        y = coeff_to_image(disc.scatter(store.images(rows[i : i + 1], k) / images.std * move))
        predicted = coeff_to_image(disc.scatter(slices * store.ctf(rows[i : i + 1], k)))
        # Both are band-limited, so that sums over pixels are sums over the disc.
        torch.testing.assert_close(image_to_coeff(y).abs().square().sum((1, 2)), y.square().sum((1, 2)))
        score = (y * predicted).sum((1, 2)) - 0.5 * predicted.square().sum((1, 2))
        flat = torch.log(torch.tensor(4608.0 * 196))  # the engine's flat priors
        torch.testing.assert_close(found.score[i] + flat, score, rtol=0.02, atol=0.05 * float(score.abs().max()))


def test_it_finds_the_true_poses(trained, truth):
    rows = torch.arange(0, 800, 8)
    field = trained.model.field
    found = search_poses(trained.images, rows, lambda radius: Reference.of_field(field, radius), FLEXIBLE.radii(1, 32), FLEXIBLE)
    error = geodesic_deg(found.rotation[:, 0], truth[0][rows])
    assert found.score.shape == (100, 8)
    assert float(error.median()) < 4
    assert float((error < 10).float().mean()) > 0.9
    assert float((found.shift_px[:, 0] - truth[1][rows]).norm(dim=1).median()) < 0.3
    share = share_of_best(found, FLEXIBLE)
    assert bool(((share > 0) & (share <= 1 + 1e-5)).all())


def test_poses_are_of_the_last_levels_grid(trained):
    schedule = replace(FLEXIBLE, grid_order=1, levels=2)
    field = trained.model.field
    found = search_poses(trained.images, torch.arange(5), lambda r: Reference.of_field(field, r), [8.0, 10.0, 12.0], schedule)
    grid = all_rotations(3)
    for rotation in found.rotation[:, 0]:
        assert float(geodesic_deg(grid, rotation.expand_as(grid)).min()) < 0.02


def test_a_level_sees_all_shifts_of_the_lattice_at_half_its_size(trained, monkeypatch):
    """196 about each kept pose, 10/128 of the box, then 5/128 and so on, to either side."""
    seen = []

    def spy(images, rows, reference, rotation, centre_px, move_px, keep):
        seen.append((rotation.shape[1:3], move_px))
        return score_children(images, rows, reference, rotation, centre_px, move_px, keep)

    monkeypatch.setattr(search, "score_children", spy)
    field = trained.model.field
    search_poses(trained.images, torch.arange(2), lambda r: Reference.of_field(field, r), FLEXIBLE.radii(1, 32), FLEXIBLE)
    assert [tuple(shape) for shape, _ in seen] == [(8, 8)] * 4
    assert [len(moves) for _, moves in seen] == [196] * 4
    assert [float(moves.max()) for _, moves in seen] == [32 * 10 / 128 / 2**level for level in (1, 2, 3, 4)]


def test_raster_and_network_give_the_same_poses(data, store, truth, tmp_path):
    """To a step of the last grid; the two differ by less than either does from the truth."""
    trained = train(data, store, truth, tmp_path, 16)  # a vague map leaves more images two shifts that suit
    schedule = replace(FLEXIBLE, levels=3)
    rows, field = torch.arange(96), trained.model.field
    radii = [9.0, 11.0, 13.0, 15.0]
    raster = search_poses(trained.images, rows, lambda radius: Reference.of_field(field, radius), radii, schedule)
    exact = search_poses(trained.images, rows, lambda radius: FieldReference(field, radius), radii, schedule)
    apart_deg = geodesic_deg(raster.rotation[:, 0], exact.rotation[:, 0])
    apart_px = (raster.shift_px[:, 0] - exact.shift_px[:, 0]).norm(dim=1)
    last_deg, last_px = spacing_deg(schedule.grid_order + 3), 2 * (10 / 128 * 32) / 13 / 2**3
    assert float(apart_deg.median()) < 1.1 * last_deg
    assert float((apart_deg < 2 * last_deg).float().mean()) > 0.9
    assert float(apart_px.median()) < 1.1 * last_px
    assert float((apart_px < 2.1 * last_px).float().mean()) > 0.9
    error_deg = geodesic_deg(raster.rotation[:, 0], truth[0][rows])
    assert float(apart_deg.median()) < float(error_deg.median())
    torch.testing.assert_close(raster.score[:, 0], exact.score[:, 0], rtol=0.05, atol=5.0)


def test_children_surround_their_parents_at_the_poles_too():
    parents = rotations_of(2, torch.tensor([0, 5, 24 * 15 + 3, 2000])).view(2, 2, 3, 3)
    kids = children_of(2, parents)
    assert kids.shape == (2, 2, 8, 3, 3)
    assert float(geodesic_deg(kids, parents[:, :, None].expand_as(kids)).max()) < 15.0


def test_images_have_a_mean_square_of_one(store):
    images = NormalisedImages(store)
    power = torch.cat([(store.images(rows) / images.std).abs().square().mean(1) for rows in torch.arange(800).split(100)])
    assert float(power.mean()) == pytest.approx(1, rel=0.02)
