"""The linear model of a small hinge, from its true poses: states, components, and the full-resolution step."""

import itertools

import pytest
import torch
from scipy.stats import spearmanr

from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.reconstruct import solve
from cryodrake.inference.states import States, component_columns, infer_states
from cryodrake.inference.states_about_poses import infer_about_poses
from cryodrake.io.mrc import read_map
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.fourier import resample_volume
from cryodrake.physics.fsc import fsc
from cryodrake.physics.rotations import axis_angle_to_matrix
from cryodrake.physics.slices import raster, slice_ball, symmetrise
from cryodrake.training import subspace
from cryodrake.training.components import FoldGradients, as_references, component_step, component_sums
from cryodrake.training.images import WeightedImages
from cryodrake.training.local_filter import band_noise
from cryodrake.training.refinement import FOLDS
from cryodrake.training.solvent import flatten_solvent
from cryodrake.training.subspace import RIDGE, SubspaceFit, canonical
from cryodrake.training.tangents import rigid_motions

BOX, N, ZDIM, RADIUS = 32, 1200, 2, 9.0


def fit_of(hinge, seed=0):
    guess = torch.randn(N, ZDIM, generator=torch.Generator().manual_seed(seed))
    poses = torch.arange(N), hinge.rotation, hinge.shift_px
    return SubspaceFit(hinge.images, *poses, hinge.mean * hinge.mask, hinge.mask, guess, RADIUS)


def true_maps(hinge):
    paths = sorted((hinge.data / "truth" / "volumes").glob("state_*.mrc"))
    return torch.stack([torch.from_numpy(read_map(path)[0]) for path in paths])


@pytest.fixture(scope="module")
def fitted(hinge):
    fit = fit_of(hinge)
    return fit, fit.run()


def test_the_states_follow_the_angle(hinge, fitted):
    fit, heard = fitted
    design = torch.cat([torch.ones(N, 1), fit.states.mean, fit.states.mean**2], 1)
    predicted = (design @ torch.linalg.lstsq(design, hinge.angle_deg[:, None]).solution).squeeze(1)
    assert spearmanr(predicted, hinge.angle_deg).statistic > 0.9
    assert heard[-1] > heard[0] + 1
    assert all(later > earlier - 0.05 for earlier, later in itertools.pairwise(heard))


def test_another_start_ends_at_the_same_model(hinge, fitted):
    other = fit_of(hinge, seed=1)
    assert other.run()[-1] == pytest.approx(fitted[1][-1], abs=0.3)
    ours, theirs = (canonical(fit.volumes, fit.states)[0] for fit in (fitted[0], other))
    a, b = ours[1].flatten(), theirs[1].flatten()
    assert abs(float(a @ b / (a.norm() * b.norm()))) > 0.95


def gain_of(hinge, fit, rows):
    """Mean log likelihood that states bring to these images."""
    poses = rows, hinge.rotation[rows], hinge.shift_px[rows]
    balls = raster(fit.volumes, fit.grid), raster(fit.volumes[:1], fit.grid)
    with_states, rigid = (infer_about_poses(hinge.images, *poses, ball, fit.grid).log_marginal for ball in balls)
    return float((with_states - rigid).mean())


def test_unseen_images_like_components_that_stand_out_better(hinge):
    """Of 120 images free components are mostly noise: unseen images say so. What is left is where the structure moves."""
    rows = torch.arange(0, N, 10)
    guess = torch.randn(len(rows), ZDIM, generator=torch.Generator().manual_seed(0))
    mean = hinge.mean * hinge.mask
    few = SubspaceFit(hinge.images, rows, hinge.rotation[rows], hinge.shift_px[rows], mean, hinge.mask, guess, RADIUS)
    few.run()
    unseen = torch.arange(5, N, 10)
    free, before = few.volumes.clone(), gain_of(hinge, few, unseen)
    few.localise()
    assert gain_of(hinge, few, unseen) > before + 0.5
    moves = resample_volume(true_maps(hinge).std(0), few.grid.box)

    def share_there(volumes):
        power = volumes[1:].square().sum(0)
        return float((power * (moves > 0.1 * moves.max())).sum() / power.sum())

    assert share_there(few.volumes) > share_there(free) + 0.2


@pytest.mark.parametrize("is_local", [False, True])
def test_canonical_coordinates_are_the_same_model(hinge, is_local):
    """Maps of images' states, and how far they are known, are what they were; components are orthogonal, the strongest first."""
    fit = fit_of(hinge)
    fit.run()
    if is_local:
        fit.localise()
    poses = torch.arange(N), hinge.rotation, hinge.shift_px
    states = infer_about_poses(hinge.images, *poses, raster(fit.volumes, fit.grid), fit.grid)
    volumes, standard = canonical(fit.volumes, states)
    torch.testing.assert_close(standard.moments.mean(0), torch.eye(1 + ZDIM), atol=1e-3, rtol=0)
    assert bool((standard.mean.pow(3).mean(0) > 0).all())
    gram = volumes[1:].flatten(1) @ volumes[1:].flatten(1).T
    assert float(gram[0, 0]) > float(gram[1, 1])
    assert abs(float(gram[0, 1])) < 1e-3 * float(gram[0, 0])
    for i in (0, 17, 400):
        before, after = (torch.einsum("r,rijk->ijk", s.weights[i], v) for s, v in ((states, fit.volumes), (standard, volumes)))
        torch.testing.assert_close(after, before, atol=1e-4 * float(before.abs().max()), rtol=0)
        spread = [
            torch.einsum("yijk,yz,zijk->ijk", v[1:], torch.linalg.inv(s.precision[i]), v[1:])
            for s, v in ((states, fit.volumes), (standard, volumes))
        ]
        torch.testing.assert_close(spread[1], spread[0], atol=1e-3 * float(spread[0].max()), rtol=0)


def test_errors_of_poses_are_not_taken_for_states(hinge, fitted):
    """Poses 10° off, at a radius that tells 6°: integrated out, they spoil states less than when they are believed."""
    fit = fitted[0]
    axis = torch.randn(N, 3, generator=torch.Generator().manual_seed(5))
    off = axis_angle_to_matrix(torch.deg2rad(torch.tensor(10.0)) * axis / axis.norm(dim=1, keepdim=True)) @ hinge.rotation
    ball, kxy = raster(fit.volumes, fit.grid), hinge.store.disc.kxy[: hinge.store.disc.count(RADIUS)]
    matched, weight = hinge.images.matched(torch.arange(N), len(kxy))
    centred = matched * shift_phases(hinge.shift_px, kxy, BOX)
    believed = infer_states(centred, weight, component_columns(slice_ball(ball, fit.grid, off, kxy)))
    integrated = infer_about_poses(hinge.images, torch.arange(N), off, hinge.shift_px, ball, fit.grid)

    def explained(states):
        design = torch.cat([torch.ones(N, 1), states.mean, states.mean**2], 1)
        left = hinge.angle_deg - (design @ torch.linalg.lstsq(design, hinge.angle_deg[:, None]).solution)[:, 0]
        return 1 - float(left.var() / hinge.angle_deg.var())

    assert explained(integrated) > explained(believed) + 0.05


def test_where_nothing_varies_nothing_is_left(hinge):
    """Images of one state: the components are noise, and go."""
    rows = torch.nonzero(hinge.state == 3).squeeze(1)
    poses = hinge.rotation[rows], hinge.shift_px[rows]
    guess = torch.randn(len(rows), ZDIM, generator=torch.Generator().manual_seed(0))
    fit = SubspaceFit(hinge.images, rows, *poses, true_maps(hinge)[3], hinge.mask, guess, RADIUS)
    fit.run()
    free = float(fit.volumes[1:].square().sum())
    fit.localise()
    assert float(fit.volumes[1:].square().sum()) < 0.05 * free


def test_in_given_states_components_are_of_those(hinge, monkeypatch):
    """Of the true angles, from components that are noise; states are not inferred, and their likelihood is what was given."""
    fit = fit_of(hinge)
    angle = (hinge.angle_deg - hinge.angle_deg.mean()) / hinge.angle_deg.std()
    known = States.known(torch.stack([angle, angle**2 - 1], 1))
    monkeypatch.setattr(subspace, "infer_states", None)
    assert [fit.step(known) for _ in range(3)] == [0.0] * 3
    moves = resample_volume(true_maps(hinge)[-1] - true_maps(hinge)[0], fit.grid.box).flatten()
    # States were made standard, the first by itself: its component is what the angle changes.
    assert abs(float(torch.corrcoef(torch.stack([fit.volumes[1].flatten(), moves]))[0, 1])) > 0.7


def test_components_hold_no_rigid_motion_and_no_mean(fitted):
    volumes = fitted[0].volumes
    directions = torch.cat([rigid_motions(volumes[0]), volumes[:1]]).flatten(1)
    flat = volumes[1:].flatten(1)
    cosine = (flat @ directions.T) / (flat.norm(dim=1)[:, None] * directions.norm(dim=1))
    assert float(cosine.abs().max()) < 1e-3


@pytest.fixture(scope="module")
def step(hinge, fitted):
    """The full-resolution step from a start that is the mean alone, with states of the fitted model."""
    fit = fitted[0]
    poses = torch.arange(N), hinge.rotation, hinge.shift_px
    states = infer_about_poses(hinge.images, *poses, raster(fit.volumes, fit.grid), fit.grid)
    start = torch.cat([hinge.mean[None], torch.zeros(ZDIM, BOX, BOX, BOX)])
    return states, component_step(hinge.images, hinge.label, hinge.rotation, hinge.shift_px, states, start, BOX / 2, hinge.mask)


def test_sums_are_the_gradient_of_the_expected_likelihood(hinge, step):
    """By differentiation through the slices, for a few images."""
    states = step[0][:20]
    grid = BallGrid(BOX, 6.0)
    kxy = hinge.store.disc.kxy[: hinge.store.disc.count(6.0)]
    ball = raster(torch.cat([hinge.mean[None], 0.1 * torch.randn(ZDIM, BOX, BOX, BOX)]), grid).contiguous().requires_grad_()
    poses = hinge.rotation[:20], hinge.shift_px[:20]
    matched, weight = hinge.images.matched(torch.arange(20), len(kxy))
    y = matched * shift_phases(poses[1], kxy, BOX)
    v = torch.view_as_complex(slice_ball(ball, grid, poses[0], kxy).unflatten(2, (-1, 2)).contiguous())
    cross = torch.einsum("br,bkr,bk->", states.weights.to(v.dtype), v.conj(), y).real
    power = torch.einsum("brs,bkr,bks,bk->", states.moments.to(v.dtype), v.conj(), v, weight.to(v.dtype)).real
    (2 * cross - power).backward()
    sums = component_sums(hinge.images, torch.arange(20), *poses, states, ball.detach(), grid)
    reached = FoldGradients.nothing(1, grid, torch.device("cpu")).reached
    assert not bool(sums.index_fill(1, reached, 0).any())
    found = sums[..., :2].transpose(0, 1).flatten(1)
    plane = torch.arange(grid.n_voxels) % grid.shape[2] == 0  # holds mates besides
    torch.testing.assert_close(found[~plane], ball.grad[~plane] / 2, rtol=1e-3, atol=1e-3 * float(ball.grad.abs().max()))


def test_maps_of_states_are_nearer_to_the_truth_than_the_mean(hinge, step):
    states, found = step
    of_mean = band_noise(torch.stack([flatten_solvent(half, hinge.mask) for half in hinge.halves.raw]), hinge.mask)
    maps = as_references(found.volumes, of_mean, found.noise, hinge.mask)
    gains = []
    for s, truth in enumerate(true_maps(hinge)):
        z = states.mean[hinge.state == s].mean(0)
        at_state = maps[0] + torch.tensordot(z, maps[1:], dims=1)
        gains.append(float(fsc(at_state, truth)[1:].mean() - fsc(maps[0], truth)[1:].mean()))
    assert min(gains[0], gains[-1]) > 0.04
    assert sum(gains) / len(gains) > 0.02


@pytest.mark.parametrize("mixing", [0.0, 1e-5, 0.3])
@pytest.mark.parametrize("but", [None, 2])
def test_steps_are_those_of_the_full_product(mixing, but):
    """Sums that M⁻¹ gives no weight are passed over; the slow twin adds up all. Half precision costs a part in 400."""
    g = torch.Generator().manual_seed(0)
    grid = BallGrid(16, 8.0)
    sums = torch.randn(FOLDS, 2, 3, grid.n_voxels, 3, generator=g)
    sums[..., 2] = sums[:, :, :1, :, 2].abs() + 2  # the same of every component
    folds = FoldGradients.nothing(3, grid, torch.device("cpu"))
    sums *= torch.isin(torch.arange(grid.n_voxels), folds.reached)[:, None]
    for fold, of_halves in enumerate(sums):
        for of_half in of_halves:
            folds.add(fold, of_half)
    moment = torch.eye(3) + mixing * (torch.ones(3, 3) - torch.eye(3))
    some = [fold for fold in range(FOLDS) if fold != but]

    def stepped(gradient):
        full = torch.einsum("rs,svc->rvc", torch.linalg.inv(moment), gradient)
        full = torch.cat([full, sums[some].sum((0, 1))[..., 2:]], 2)
        return torch.stack([solve(symmetrise(of_component, grid), grid, ridge=RIDGE) for of_component in full])

    found = torch.stack(list(folds.steps(moment, but)))
    kept = torch.zeros(3, grid.n_voxels, 2).index_copy_(1, folds.reached, folds.gradient[some].float().sum(0))
    expected = stepped(kept)
    torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.std()), rtol=0)
    exact = stepped(sums[some].sum((0, 1))[..., :2])
    assert float((found - exact).std() / exact.std()) < 1 / 400


def test_without_a_fold_is_without_its_images(hinge, step):
    """Other images in fold 0 leave the maps without fold 0 as they are."""
    states, found = step

    def left_out(images):
        poses = hinge.rotation, hinge.shift_px
        return component_step(images, hinge.label, *poses, states, found.start, BOX / 2, hinge.mask).without(0)

    class Others(WeightedImages):
        def matched(self, wanted, k):
            matched, weight = super().matched(wanted, k)
            return torch.where((hinge.label[wanted] % FOLDS == 0)[:, None], -2 * matched.conj(), matched), weight

    volumes = left_out(hinge.images)
    other = left_out(Others(hinge.store, hinge.images.noise, hinge.images.scale))
    torch.testing.assert_close(volumes, other, atol=2e-3 * float(volumes[0].std()), rtol=0)
    assert not torch.allclose(volumes, found.volumes, atol=2e-2 * float(volumes[0].std()))
