"""Scores are the model's sum of squares, sums are the likelihood's gradient; the fast engine against its slow twin."""

import math

import pytest
import torch

from cryodrake.inference import likelihood
from cryodrake.inference.likelihood import (
    ImageRows,
    Posterior,
    SliceColumns,
    expected_sums,
    log_likelihoods,
    log_likelihoods_slow,
    posterior_of,
    score_blocks,
    shift_phases,
    top_candidates,
)
from cryodrake.physics.fourier import image_to_coeff
from cryodrake.physics.rotations import random_rotations
from cryodrake.physics.turns import MirrorPairs, turned

RADIUS = 9.0


@pytest.fixture(scope="module")
def scene(simulate):
    return simulate(7, 2.0, 3.0)


@pytest.fixture(scope="module")
def problem(scene):
    """Images and candidates; the truth of image i is the shift 0 and the base rotation i. Priors are uneven."""
    g = torch.Generator().manual_seed(5)
    disc = scene.images.disc
    kxy = disc.kxy[: disc.count(RADIUS)]
    shifts = torch.cat([scene.shift_px[:, None], 3 * torch.randn(7, 4, 2, generator=g)], dim=1)
    rotations = torch.cat([scene.rotation, random_rotations(6, g)])
    points = torch.nn.functional.pad(kxy, (0, 1)) @ turned(rotations)
    slices = torch.view_as_real(scene.transform(points))
    log_prior = torch.log_softmax(torch.randn(52, generator=g), 0)
    shift_prior = torch.log_softmax(torch.randn(7, 5, generator=g), 1)
    matched, weight = scene.images.matched(scene.rows, len(kxy))
    rows = ImageRows.build(matched, weight, shift_phases(shifts, kxy, disc.box), shift_prior)
    return kxy, shifts, slices, log_prior, rows


def columns_of(problem, dtype=torch.float32, log_prior=True):
    """Of the base slices alone; the prior is of all."""
    kxy, _, slices, prior, _ = problem
    return SliceColumns.build(slices[:13], MirrorPairs.of(kxy), dtype, prior if log_prior else None)


def defining_scores(scene, kxy, shifts, slices):
    """-Σ |Y - C exp(-2πi k·t/d) V|²/σ² + Σ |Y|²/σ², t = -shift, in double precision, a triple at a time."""
    k, box = len(kxy), scene.images.disc.box
    variance = scene.images.variance[scene.images.disc.shell[:k]].double()
    scores = torch.zeros(len(shifts), shifts.shape[1], len(slices), dtype=torch.float64)
    for i in range(len(shifts)):
        y, c = scene.images.coeff[i, :k].to(torch.complex128), scene.images.transfer[i, :k].double()
        for j, t in enumerate(-shifts[i].double()):
            move = torch.exp(-2j * math.pi * (kxy.double() @ t) / box)
            for q in range(len(slices)):
                model = c * move * torch.view_as_complex(slices[q].double())
                scores[i, j, q] = ((y.abs() ** 2 - (y - model).abs() ** 2) / variance).sum()
    return scores


def test_scores_are_the_models_sum_of_squares(scene, problem):
    kxy, shifts, slices, log_prior, rows = problem
    expected = defining_scores(scene, kxy, shifts, slices) + rows.log_prior[:, :, None] + log_prior
    slow = log_likelihoods_slow(rows, slices, log_prior)
    fast = log_likelihoods(rows, columns_of(problem))
    torch.testing.assert_close(slow.double(), expected, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(fast.double(), expected, rtol=1e-5, atol=1e-3)
    # And the truth wins, seen from behind apart.
    assert fast[:, 0, :13].argmax(1).tolist() == list(range(7))


def test_bfloat16_scores_are_within_their_rounding(problem):
    """Inputs and the product are rounded to 8 bits: 2⁻⁸ of the product, and of what the terms add up to at random."""
    _, _, slices, _, rows = problem
    exact = log_likelihoods(rows, columns_of(problem))
    found = log_likelihoods(rows, columns_of(problem, torch.bfloat16))
    flat, images = slices.flatten(1), torch.view_as_real(rows.moved).flatten(2)
    cross = 2 * images @ flat.T
    random = (2 * images.square() @ flat.square().T).sqrt()
    power = (rows.weight @ slices.square().sum(-1).T)[:, None]
    assert found.dtype == torch.float32
    assert bool(((found - exact).abs() <= 2**-8 * (cross.abs() + power + 4 * random) + 1e-3).all())


def test_priors_are_flat_unless_given(problem):
    *_, rows = problem
    flat = columns_of(problem, log_prior=False)
    torch.testing.assert_close(flat.log_prior, torch.full((52,), -math.log(52)))
    plain = ImageRows.build(rows.moved[:, 0], rows.weight, torch.ones(1, 3, rows.weight.shape[1]) + 0j)
    torch.testing.assert_close(plain.log_prior, torch.full((7, 3), -math.log(3)))


def test_blocks_put_together_are_the_whole_and_small(problem, monkeypatch):
    *_, rows = problem
    columns = columns_of(problem)
    whole = log_likelihoods(rows, columns)
    posterior = posterior_of(rows, columns)
    for limit in (1, 2 * 5 * 52, 3 * 5 * 52 + 7, 1 << 20):
        monkeypatch.setattr(likelihood, "SCORES_IN_CACHE", limit)
        covered = torch.zeros(7)
        for block, scores in score_blocks(rows, columns):
            assert len(scores) == 1 or scores.numel() <= limit
            torch.testing.assert_close(scores, whole[block])
            covered[block] += 1
        assert covered.tolist() == [1.0] * 7
        again = posterior_of(rows, columns)
        torch.testing.assert_close(again.probability, posterior.probability)
        torch.testing.assert_close(again.log_marginal, posterior.log_marginal)


def test_the_images_are_left_as_they_were(problem):
    _, _, slices, _, rows = problem
    before = rows.moved.clone(), rows.log_prior.clone(), slices.clone()
    log_likelihoods(rows, columns_of(problem))
    assert all(torch.equal(a, b) for a, b in zip(before, (rows.moved, rows.log_prior, slices), strict=True))


def test_posteriors(problem):
    _, _, slices, log_prior, rows = problem
    scores = log_likelihoods_slow(rows, slices, log_prior).double()
    posterior = posterior_of(rows, columns_of(problem))
    evidence = torch.logsumexp(scores.flatten(1), 1)
    torch.testing.assert_close(posterior.log_marginal.double(), evidence, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(posterior.probability.double(), torch.exp(scores - evidence[:, None, None]), rtol=1e-2, atol=1e-4)
    torch.testing.assert_close(posterior.probability.sum((1, 2)), torch.ones(7))
    shift, rotation = posterior.best()
    for i in range(7):
        assert scores[i, shift[i], rotation[i]] == scores[i].max()


def test_a_posterior_without_a_doubt_and_one_without_a_clue():
    sure = torch.zeros(1, 2, 3)
    sure[0, 1, 2] = 5000.0
    posterior = Posterior.build(sure, torch.float32)
    assert float(posterior.log_marginal) == 5000.0
    assert float(posterior.probability[0, 1, 2]) == 1.0
    flat = Posterior.build(torch.full((1, 2, 3), -70000.0), torch.float32)
    assert float(flat.log_marginal) == pytest.approx(-70000 + math.log(6), rel=1e-7)
    torch.testing.assert_close(flat.probability, torch.full((1, 2, 3), 1 / 6))


def seen_turned(slices, kxy):
    """Slices of 1, X, Z and Y, point by point: V(kx, ky), V(kx, -ky), their conjugates; V(-k) is V(k)'s."""
    places = {tuple(k): i for i, k in enumerate(kxy.int().tolist())}
    rows = []
    for turn in ((1, 1), (1, -1), (-1, -1), (-1, 1)):
        for point in kxy.int().tolist():
            k = turn[0] * point[0], turn[1] * point[1]
            here, sign = (places[k], 1.0) if k in places else (places[-k[0], -k[1]], -1.0)
            rows.append(slices[:, here] * torch.tensor([1.0, sign]))
    return torch.stack(rows).unflatten(0, (4, -1)).permute(0, 2, 1, 3).flatten(0, 1)


def test_expected_sums_are_the_gradient_of_the_log_marginal(scene, problem):
    """d/dV Σ log Σ exp ℓ = 2 (PᵀY' - (Pᵀw) V), by autograd through the slow twin. Noise so high that P is spread out."""
    kxy, _, slices, log_prior, rows = problem
    faint = 1e-2
    rows = ImageRows(rows.moved * faint, rows.weight * faint, rows.log_prior)
    variable = slices[:13].clone().requires_grad_()
    scores = log_likelihoods_slow(rows, seen_turned(variable, kxy), log_prior)
    torch.logsumexp(scores.flatten(1), 1).sum().backward()
    posterior = posterior_of(rows, columns_of(problem))
    assert float(posterior.probability.amax()) < 0.6
    numerator, denominator = expected_sums(posterior, rows, MirrorPairs.of(kxy))
    assert numerator.shape == (13, *slices.shape[1:])
    assert denominator.shape == numerator.shape[:2]
    torch.testing.assert_close(2 * (numerator - denominator[..., None] * slices[:13]), variable.grad, rtol=1e-3, atol=1e-4)


def test_sums_in_bfloat16_are_within_one_percent(problem):
    *_, rows = problem
    rows = ImageRows(rows.moved * 1e-2, rows.weight * 1e-2, rows.log_prior)
    exact = expected_sums(posterior_of(rows, columns_of(problem)), rows, MirrorPairs.of(problem[0]))
    found = expected_sums(posterior_of(rows, columns_of(problem, torch.bfloat16)), rows, MirrorPairs.of(problem[0]))
    for a, b in zip(found, exact, strict=True):
        assert a.dtype == torch.float32
        assert float((a - b).norm() / b.norm()) < 0.01


def test_top_candidates_are_the_best_rotations_each_with_its_best_shift():
    scores = torch.randn(4, 6, 20, generator=torch.Generator().manual_seed(0))
    value, shift, rotation = top_candidates(scores, 5)
    for i in range(4):
        best = sorted(range(20), key=lambda q: -float(scores[i, :, q].max()))[:5]
        assert rotation[i].tolist() == best
        assert shift[i].tolist() == [int(scores[i, :, q].argmax()) for q in best]
        assert value[i].tolist() == [float(scores[i, :, q].max()) for q in best]
    assert top_candidates(scores, 50)[0].shape == (4, 20)


def test_a_shift_applied_to_an_image_moves_it(scene):
    """Phases of the shift s take a particle from -s to the centre."""
    disc = scene.images.disc
    shift = torch.tensor([[2.0, -3.0]])
    image = torch.zeros(1, disc.box, disc.box)
    image[0, disc.box // 2 + 3, disc.box // 2 - 2] = disc.box
    moved = disc.gather(image_to_coeff(image)) * shift_phases(shift, disc.kxy, disc.box)
    torch.testing.assert_close(moved, torch.ones_like(moved), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("has_them", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_cards_without_bfloat16_multiply_float32(monkeypatch, has_them, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_them)
    assert likelihood.product_dtype(torch.device("cuda")) == expected
