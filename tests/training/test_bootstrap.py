"""The bootstrap's step against its definition, written out slowly; batches, schedules and stopping."""

import math

import pytest
import torch

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.inference.likelihood import ImageRows, log_likelihoods_slow, shift_phases
from cryodrake.inference.reconstruct import solve
from cryodrake.io.particles import read_particles
from cryodrake.physics.grids import ring_base, shift_grid
from cryodrake.physics.rotations import geodesic_deg, random_rotations
from cryodrake.physics.slices import backproject, raster, slice_ball, symmetrise
from cryodrake.physics.turns import turned
from cryodrake.training import bootstrap
from cryodrake.training.bootstrap import SCHEDULE, Bootstrap, Stage
from cryodrake.training.images import WeightedImages

TINY = (Stage(4, 60.0, 5.0, 5.0, rate=0.4, momentum=0.5), Stage(3, 60.0, 5.0, 6.0, rate=0.3, momentum=0.0))
SHIFTS = shift_grid(2.0, 1.0)


@pytest.fixture(autouse=True)
def float32(monkeypatch):
    """The same products on every machine."""
    monkeypatch.setattr(bootstrap, "product_dtype", lambda device: torch.float32)


@pytest.fixture(scope="module")
def images(small):
    store = CoefficientStore.build(read_particles(small / "particles.star"))
    return WeightedImages(store, store.noise, torch.linspace(0.8, 1.2, store.n))


def start(images, seed=0, n=8, schedule=TINY):
    return Bootstrap(images, n, SHIFTS, 0.4, seed, schedule)


def slow_step(run, rows, radius, shift_candidates):
    """Sums of each class, log marginals and posteriors (class, shift, rotation): image by image, rotation by rotation."""
    disc = run.images.disc
    k = disc.count(radius)
    kxy = disc.kxy[:k]
    rotations = turned(ring_base(60.0))
    n_q = len(rotations)
    slices = torch.cat([slice_ball(raster(volume, run.grid), run.grid, rotations, kxy) for volume in run.volumes])
    prior = run.class_log_prior.repeat_interleave(n_q) - math.log(len(slices))
    sums, evidence, posteriors = torch.zeros(len(run.volumes), run.grid.n_voxels, 3), [], []
    for row, which in zip(rows, shift_candidates, strict=True):
        matched, weight = run.images.matched(row[None], k)
        image = ImageRows.build(matched, weight, shift_phases(SHIFTS[which], kxy, disc.box)[None])
        scores = log_likelihoods_slow(image, slices, prior)[0].double()
        evidence.append(torch.logsumexp(scores.flatten(), 0))
        p = torch.exp(scores - evidence[-1]).float()  # (shift, class × rotation)
        posteriors.append(p.view(len(p), -1, n_q).transpose(0, 1))
        for q in range(len(slices)):
            expected = (p[:, q, None, None] * torch.view_as_real(image.moved[0])).sum(0)
            residual = expected - p[:, q].sum() * weight[0, :, None] * slices[q]
            view = rotations[q % n_q][None]
            sums[q // n_q] += backproject(residual[None], p[:, q].sum() * weight, run.grid, view, kxy)
    return torch.stack([symmetrise(of_class, run.grid) for of_class in sums]) / len(rows), torch.stack(evidence), posteriors


def masked(run, sums):
    volume = solve(sums, run.grid)
    return (volume - volume[run.mask < 0.01].mean()) * run.mask


def test_a_step_is_what_it_says(images):
    run = start(images)
    everywhere = torch.arange(len(SHIFTS))
    velocity, denominator = torch.zeros_like(run.volumes[0]), run.denominator[0]
    known = torch.zeros(8, len(SHIFTS))
    for step in range(3):
        batch = run.queue[:8] if len(run.queue) >= 8 else None
        if batch is None:  # what the next pass over the images will be
            generator = torch.Generator()
            generator.set_state(run.generator.get_state())
            batch = torch.randperm(8, generator=generator)
        which = [everywhere if step == 0 else known[row].topk(8).indices for row in batch]
        sums, evidence, posteriors = slow_step(run, batch, 5.0, which)
        denominator = 0.9 * denominator + 0.1 * sums[0, :, 2]
        velocity = 0.5 * velocity + 0.4 * masked(run, torch.cat([sums[0, :, :2], denominator[:, None]], 1))
        expected = run.volumes[0] + velocity
        for row, shifts, posterior in zip(batch, which, posteriors, strict=True):
            memory = 0.0 if step == 0 else 0.8
            known[row] *= memory
            known[row, shifts] += (1 - memory) * posterior.sum((0, 2))
        log_marginal = run.step()
        assert log_marginal == pytest.approx(float(evidence.mean()), abs=1e-2)
        torch.testing.assert_close(run.volumes[0], expected, atol=2e-4 * float(expected.abs().max()), rtol=0)
        torch.testing.assert_close(run.shift_probability, known, atol=1e-3, rtol=0)


WHOLE = Stage(2, 60.0, 5.0, 5.0, rate=1.0, momentum=0.5, is_whole=True)


def test_a_whole_step_of_two_classes_is_what_it_says(images):
    """Each map follows its share of all images; the prior of a class counts."""
    maps = 0.05 * torch.randn(2, 12, 12, 12, generator=torch.Generator().manual_seed(3))
    run = Bootstrap(images, 8, SHIFTS, 0.4, 0, (WHOLE,), 2, maps)
    run.class_log_prior = torch.tensor([0.4, -0.4])
    everywhere, velocity = torch.arange(len(SHIFTS)), torch.zeros_like(maps)
    for step in range(2):
        which = [everywhere if step == 0 else row.topk(8).indices for row in run.shift_probability]
        sums, evidence, posteriors = slow_step(run, torch.arange(8), 5.0, which)
        velocity = 0.5 * velocity + torch.stack([masked(run, of_class) for of_class in sums])
        expected = run.volumes + velocity
        log_marginal = run.step()
        assert log_marginal == pytest.approx(float(evidence.mean()), abs=1e-2)
        torch.testing.assert_close(run.volumes, expected, atol=5e-4 * float(expected.abs().max()), rtol=0)
        torch.testing.assert_close(run.class_probability, torch.stack([p.sum((1, 2)) for p in posteriors]), atol=1e-3, rtol=0)
        for row, (p, shifts) in enumerate(zip(posteriors, which, strict=True)):
            likeliest = p.flatten(1).amax(1).argmax()
            best = p[likeliest].argmax()
            assert p[likeliest, :, run.best_rotation[row]].max() > 0.99 * p[likeliest].flatten()[best]
            assert run.best_shift[row] == shifts[best // p.shape[2]]


def test_a_batch_from_a_given_map_has_a_denominator_of_its_own(images):
    """The first step is one of EM, however the denominators of later ones are averaged."""
    volume = 0.05 * torch.randn(1, 12, 12, 12, generator=torch.Generator().manual_seed(3))
    run = Bootstrap(images, 8, SHIFTS, 0.4, 0, (Stage(2, 60.0, 5.0, 5.0, rate=0.4, momentum=0.5),), volumes=volume)
    generator = torch.Generator().manual_seed(0)
    sums = slow_step(run, torch.randperm(8, generator=generator), 5.0, [torch.arange(len(SHIFTS))] * 8)[0]
    expected = volume[0] + 0.4 * masked(run, sums[0])
    run.step()
    torch.testing.assert_close(run.volumes[0], expected, atol=2e-4 * float(expected.abs().max()), rtol=0)


def test_balance_moves_the_prior_to_the_class_that_takes_less(images):
    run = Bootstrap(images, 8, SHIFTS, 0.4, 0, TINY, 2)
    run._balance(torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(run.class_log_prior, torch.zeros(2))
    for _ in range(3):
        run._balance(torch.tensor([0.9, 0.1]))
    assert float(run.class_log_prior.sum()) == pytest.approx(0, abs=1e-5)
    # Each time by half the logarithm of the ratio of shares, which are 2 × 0.9 and 2 × 0.1 above a floor of 0.01.
    assert float(run.class_log_prior[1]) == pytest.approx(1.5 * math.log(1.81 / 0.21), rel=1e-4)


def test_the_first_map_is_of_random_poses(images):
    """A batch back-projected at random rotations and shifts, drawn from the seed."""
    run = start(images, seed=5)
    generator = torch.Generator().manual_seed(5)
    rows = torch.randperm(8, generator=generator)
    shift = SHIFTS[torch.randint(len(SHIFTS), (8,), generator=generator)]
    rotations = random_rotations(8, generator)
    disc = images.disc
    k = disc.count(5.0)
    matched, weight = images.matched(rows, k)
    moved = torch.view_as_real(matched * shift_phases(shift, disc.kxy[:k], disc.box))
    sums = symmetrise(backproject(moved, weight, run.grid, rotations, disc.kxy[:k]), run.grid) / 8
    torch.testing.assert_close(run.volumes[0], masked(run, sums), atol=1e-5 * float(run.volumes[0].abs().max()), rtol=0)


def test_a_seed_is_a_start(images):
    one, same, other = start(images, 1), start(images, 1), start(images, 2)
    for run in (one, same, other):
        run.step()
        run.step()
    assert torch.equal(one.volumes, same.volumes)
    assert not torch.allclose(one.volumes, other.volumes, atol=1e-3 * float(one.volumes.abs().max()))


def test_it_ends_with_its_schedule(images):
    run = start(images, n=20)
    steps = 0
    while not run.done:
        run.step()
        steps += 1
    assert steps == run.total_steps == 7
    assert bool(torch.isfinite(run.volumes[0]).all())
    assert bool((run.volumes[0][run.mask == 0] == 0).all())


def test_every_image_is_visited_once_a_pass(images, monkeypatch):
    monkeypatch.setattr(bootstrap, "BATCH", 7)
    run = start(images, n=20)
    drawn = [run._next_batch() for _ in range(19)]
    assert all(len(batch) == 7 for batch in drawn)
    visits = torch.bincount(torch.cat(drawn), minlength=20)
    assert int(visits.max() - visits.min()) <= 1


def test_radii_march_and_stay_within_the_box(images):
    stage = Stage(100, 20.0, 6.0, 10.0, rate=0.3, momentum=0.8)
    radii = [stage.radius(step) for step in range(100)]
    assert radii[0] == 6.0
    assert radii[-1] == 10.0
    assert radii == sorted(radii)
    assert all(radius == round(radius) for radius in radii)
    # A box that is too small for the schedule, 24 px, is marched to its edge.
    wide = Bootstrap(images, 8, SHIFTS, 0.4, 0, (Stage(2, 60.0, 40.0, 40.0, rate=0.4, momentum=0.0),))
    assert wide.grid.radius == 12.0
    wide.step()
    assert bool(torch.isfinite(wide.volumes).all())


def test_a_stage_ends_when_the_likelihood_stands_still(images):
    stage = Stage(1000, 60.0, 5.0, 5.0, rate=0.4, momentum=0.0, patience=10)
    run = start(images, schedule=(stage,))
    noise = torch.randn(40, generator=torch.Generator().manual_seed(0))
    run.stage_step = 40
    run.log_marginals = [0.0, *(100 + noise).tolist()]  # of an earlier stage, too
    assert run._stands_still(stage)
    run.log_marginals = [0.0, *(100 + noise + torch.arange(40)).tolist()]
    assert not run._stands_still(stage)
    run.log_marginals, run.stage_step = [100.0] * 40, 39  # too early
    assert not run._stands_still(stage)


def test_the_published_grids_are_used():
    """Spacings of the default schedule are those at which their grids are even: nearest neighbours about a spacing away."""
    for spacing in {stage.spacing_deg for stage in SCHEDULE}:
        grid = turned(ring_base(spacing))
        some = grid[:: max(1, len(grid) // 50)]
        distance = geodesic_deg(some[:, None].expand(-1, len(grid), -1, -1), grid.expand(len(some), -1, -1, -1))
        nearest = distance.sort(1).values[:, 1]
        assert 0.7 * spacing < float(nearest.min()) <= float(nearest.max()) < 1.3 * spacing
