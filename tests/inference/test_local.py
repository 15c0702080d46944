"""Local refinement: derivatives are those of the likelihood, and images without noise end at the truth."""

import pytest
import torch

from cryodrake.inference import expansion, expansion_compiled, local
from cryodrake.inference.local import refine
from cryodrake.inference.reference import Reference
from cryodrake.physics import compiled
from cryodrake.physics.rotations import axis_angle_to_matrix, geodesic_deg

RADIUS = 13.0


def away(scene, degrees, pixels, seed=0):
    """Poses that far from the truth in random directions."""
    g = torch.Generator().manual_seed(seed)
    axis = torch.nn.functional.normalize(torch.randn(len(scene.rotation), 3, generator=g), dim=1)
    side = torch.nn.functional.normalize(torch.randn(len(scene.rotation), 2, generator=g), dim=1)
    return axis_angle_to_matrix(torch.deg2rad(torch.tensor(degrees)) * axis) @ scene.rotation, scene.shift_px + pixels * side


def score_at(scene, reference, rotation, shift_px):
    """Log likelihood over noise alone of each image at its pose, from the model, in double precision."""
    disc = scene.images.disc
    kxy = disc.kxy[: disc.count(RADIUS)]
    k = len(kxy)
    slices = torch.view_as_complex(reference.slices(rotation, kxy)).to(torch.complex128)
    phase = 2 * torch.pi / disc.box * (shift_px.double() @ kxy.double().T)  # t = -shift
    model = scene.images.transfer[:, :k] * torch.polar(torch.ones_like(phase), phase) * slices
    y = scene.images.coeff[:, :k]
    variance = scene.images.variance[disc.shell[:k]]
    return ((y.abs().square() - (y - model).abs().square()) / variance).sum(1)


def expand(scene, reference, rotation, shift_px):
    disc = scene.images.disc
    kxy = disc.kxy[: disc.count(RADIUS)]
    matched, weight = scene.images.matched(scene.rows, len(kxy))
    return expansion.expand(matched, weight, scene.rows, reference, kxy, disc.box, rotation, shift_px)


def test_the_score_and_half_its_gradient(simulate):
    scene = simulate(12, 2.0, 2.0)
    reference = Reference.build(scene.density, RADIUS)
    rotation, shift_px = away(scene, 4.0, 0.7)
    score, gradient, _ = expand(scene, reference, rotation, shift_px)
    torch.testing.assert_close(score.double(), score_at(scene, reference, rotation, shift_px), rtol=1e-4, atol=0.05)
    turn, step = 2e-4, 2e-3
    for a in range(3):
        omega = turn * torch.eye(3)[a]
        ahead, behind = (score_at(scene, reference, axis_angle_to_matrix(s * omega) @ rotation, shift_px) for s in (1, -1))
        difference = (ahead - behind) / (2 * turn)
        # The interpolant has kinks at its cells' borders, which a step may cross: some percent, image by image.
        scale = 2 * gradient[:, :3].norm(dim=1)
        assert float(((2 * gradient[:, a] - difference).abs() / scale).max()) < 0.08
    for a in range(2):
        move = step * torch.eye(2)[a]
        ahead, behind = (score_at(scene, reference, rotation, shift_px + s * move) for s in (1, -1))
        difference = ((ahead - behind) / (2 * step)).float()
        torch.testing.assert_close(2 * gradient[:, 3 + a], difference, rtol=5e-3, atol=0.05)


def test_half_the_curvature_at_the_truth(simulate):
    """Without noise the residual is nil at the truth, and Gauss-Newton's Hessian is the likelihood's own."""
    scene = simulate(12, 2.0)
    reference = Reference.build(scene.density, RADIUS)
    score, _, hessian = expand(scene, reference, scene.rotation, scene.shift_px)
    for a in range(5):
        size = 0.01 if a < 3 else 0.05
        fall = torch.zeros(12)
        for sign in (1, -1):
            rotation = axis_angle_to_matrix(sign * size * torch.eye(3)[a]) @ scene.rotation if a < 3 else scene.rotation
            shift_px = scene.shift_px if a < 3 else scene.shift_px + sign * size * torch.eye(2)[a - 3]
            fall += (score - score_at(scene, reference, rotation, shift_px).float()) / 2
        torch.testing.assert_close(fall, hessian[:, a, a] * size**2, rtol=0.12, atol=0)
    torch.testing.assert_close(hessian, hessian.transpose(1, 2))


def test_images_without_noise_end_at_the_truth(simulate, monkeypatch):
    monkeypatch.setattr(local, "STILL", 0.0)
    scene = simulate(30, 2.0)
    reference = Reference.build(scene.density, RADIUS)
    found = refine(scene.images, scene.rows, reference, *away(scene, 3.0, 1.0), iterations=8)
    assert float(geodesic_deg(found.rotation, scene.rotation).median()) < 0.05
    assert float(geodesic_deg(found.rotation, scene.rotation).max()) < 0.25  # the map is interpolated: views differ
    assert float((found.shift_px - scene.shift_px).norm(dim=1).max()) < 0.02
    torch.testing.assert_close(
        found.score.double(), score_at(scene, reference, found.rotation, found.shift_px), rtol=1e-4, atol=0.05
    )


def test_steps_that_promise_next_to_nothing_are_not_made(simulate, monkeypatch):
    """Stopping there costs a fraction of the error that the noise makes anyhow, and spares evaluations."""
    scene = simulate(60, 2.0, 2.0)
    reference = Reference.build(scene.density, RADIUS)
    start = away(scene, 3.0, 1.0)
    evaluated = []
    expand_once = expansion_compiled.expand
    monkeypatch.setattr(expansion_compiled, "expand", lambda *a: (evaluated.append(len(a[2])), expand_once(*a))[1])
    soon = refine(scene.images, scene.rows, reference, *start, iterations=8)
    n_soon, evaluated[:] = sum(evaluated), []
    monkeypatch.setattr(local, "STILL", 0.0)
    late = refine(scene.images, scene.rows, reference, *start, iterations=8)
    assert n_soon < 0.9 * sum(evaluated)
    apart = geodesic_deg(soon.rotation, late.rotation)
    assert float((apart / late.sigma_deg).median()) < 0.1
    assert float((late.score - soon.score).median()) < 0.02


def test_no_image_ends_worse_than_it_began(simulate):
    scene = simulate(20, 2.0, 12.0)
    reference = Reference.build(scene.density, RADIUS)
    rotation, shift_px = away(scene, 12.0, 2.0)
    before = score_at(scene, reference, rotation, shift_px)
    for iterations in (1, 3):
        found = refine(scene.images, scene.rows, reference, rotation, shift_px, iterations)
        assert bool((found.score >= before - 0.05).all())
    torch.testing.assert_close(found.rotation @ found.rotation.transpose(1, 2), torch.eye(3).expand(20, 3, 3), atol=1e-5, rtol=0)


def test_the_promised_error_is_the_one_made(simulate):
    """At this noise the pose is off by as much as the curvature says, on average over images."""
    scene = simulate(150, 2.0, 2.0, 3)
    reference = Reference.build(scene.density, RADIUS)
    found = refine(scene.images, scene.rows, reference, scene.rotation, scene.shift_px)
    error = geodesic_deg(found.rotation, scene.rotation)
    assert 0.2 < float(error.median()) < 5  # a test of noise, not of interpolation
    promised = float((found.sigma_deg**2).mean().sqrt())
    assert float((error**2).mean().sqrt()) == pytest.approx(promised, rel=0.25)


def test_blocks_change_nothing(simulate, monkeypatch):
    scene = simulate(6, 2.0, 2.0)
    reference = Reference.build(scene.density, RADIUS)
    start = away(scene, 2.0, 0.5)
    whole = refine(scene.images, scene.rows, reference, *start)
    monkeypatch.setattr(local, "POINTS_PER_BLOCK", 1)
    single = refine(scene.images, scene.rows, reference, *start)
    torch.testing.assert_close(single.rotation, whole.rotation, atol=1e-4, rtol=0)
    torch.testing.assert_close(single.shift_px, whole.shift_px, atol=1e-3, rtol=0)


def test_the_compiled_loop_is_its_twin(simulate, monkeypatch):
    """On one thread and on several. Where a point lies on a cell's border to the last digit, its derivative is either side's."""
    scene = simulate(30, 2.0, 2.0)
    reference = Reference.build(scene.density, RADIUS)
    rotation, shift_px = away(scene, 4.0, 0.7)
    disc = scene.images.disc
    kxy = disc.kxy[: disc.count(RADIUS)]
    args = *scene.images.matched(scene.rows, len(kxy)), scene.rows.flip(0), reference, kxy, disc.box, rotation, shift_px
    expected = expansion.expand(*args)
    for least in (1 << 30, 1):
        monkeypatch.setattr(compiled, "LEAST", least)
        for found, twin, tolerance in zip(expansion_compiled.expand(*args), expected, (1e-5, 1e-3, 1e-3), strict=True):
            assert float((found - twin).abs().max() / twin.abs().max()) < tolerance
