"""Latents that leak how a particle was seen, and latents that do not, with even and uneven views, many and few particles."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sklearn.preprocessing import PolynomialFeatures

from cryodrake.analysis.covariates import Covariates
from cryodrake.analysis.diagnostics import QUESTIONS, CrossValidated, diagnose, view_harmonics

NAMES = tuple(QUESTIONS)


def known(n, seed, spread=None):
    """Covariates drawn apart from the latents; with `spread`, views crowd around one direction."""
    rng = np.random.default_rng(seed)
    if spread is None:
        view = rng.normal(size=(n, 3))
    else:
        view = np.array([0, 0, 1.0]) + spread * rng.normal(size=(n, 3))
    return Covariates(
        view=view / np.linalg.norm(view, axis=1, keepdims=True),
        psi_deg=rng.uniform(-180, 180, n),
        defocus_A=rng.uniform(8000, 25000, n),
        shift_A=rng.normal(size=(n, 2)) * 5,
        scale=np.exp(0.2 * rng.normal(size=n)),
    )


def verdicts(diagnosis):
    return {leak.covariate: leak.verdict for leak in diagnosis.leaks}


@pytest.mark.parametrize(("n", "spread"), [(100, None), (100, 0.1), (1000, 0.1)])
def test_clean_latents_raise_no_alarm(n, spread):
    """States in clusters, and long tails: 8 draws, 5 covariates each; by chance one in 40 draws raises one."""
    alarms = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        latents = np.column_stack([rng.integers(0, 3, n) * 5 + rng.normal(size=n), rng.standard_t(2, n), rng.normal(size=n)])
        found = verdicts(diagnose(latents, known(n, 100 + seed, spread), seed))
        assert set(found) == set(NAMES)
        alarms += sum(verdict != "clean" for verdict in found.values())
    assert alarms <= 1


def leaking(covariates, which, rng):
    n = len(covariates.psi_deg)
    psi, defocus = np.deg2rad(covariates.psi_deg), covariates.defocus_A
    x, y, _ = covariates.view.T
    signal = {
        "viewing direction": x * y,  # of degree 2: even, as views from both sides of an image are
        "in-plane angle": np.cos(psi - 0.4),
        "defocus": (defocus - defocus.mean()) / 8000,
        "shift": covariates.shift_A[:, 0] / 5,
        "scale": np.log(covariates.scale) / 0.2,
    }[which]
    signal = signal / signal.std()
    return np.column_stack([rng.normal(size=n), signal + rng.normal(size=n)])  # half of the second latent's variance


@pytest.mark.parametrize("which", NAMES)
def test_a_leak_is_found_where_it_is_and_has_its_size(which):
    covariates = known(2000, 7)
    diagnosis = diagnose(leaking(covariates, which, np.random.default_rng(1)), covariates)
    assert verdicts(diagnosis) == {name: "strong" if name == which else "clean" for name in NAMES}
    leak = next(leak for leak in diagnosis.leaks if leak.covariate == which)
    assert leak.r2[1] == pytest.approx(0.5, abs=0.05)
    assert leak.r2[0] < 0.01
    assert leak.p == pytest.approx(1 / 201)
    assert "latent 2" in diagnosis.words()[0]
    assert which in diagnosis.words()[0]


def test_a_leak_among_few_particles_seen_from_one_side_is_found():
    covariates = known(200, 3, spread=0.3)
    diagnosis = diagnose(leaking(covariates, "viewing direction", np.random.default_rng(2)), covariates)
    assert verdicts(diagnosis)["viewing direction"] == "strong"


def test_a_leak_too_small_to_matter_is_none():
    covariates = known(20000, 5)
    rng = np.random.default_rng(3)
    latents = np.cos(np.deg2rad(covariates.psi_deg)) * np.sqrt(2) + 10 * rng.normal(size=20000)  # R² 0.0099
    only = Covariates(psi_deg=covariates.psi_deg)
    leak = diagnose(latents[:, None], only).leaks[0]
    assert leak.p == pytest.approx(1 / 201)  # beyond doubt
    assert leak.r2[0] == pytest.approx(0.0099, abs=0.003)
    assert leak.verdict == "clean"


def test_what_is_not_known_is_said_and_dead_latents_are_named():
    rng = np.random.default_rng(0)
    latents = np.column_stack([rng.normal(size=200), np.full(200, 3.0)])
    diagnosis = diagnose(latents, Covariates(defocus_A=rng.uniform(1e4, 2e4, 200)))
    assert diagnosis.constant == (2,)
    assert "Latent 2 is the same" in diagnosis.words()[0]
    assert "viewing direction, in-plane angle, shift, scale" in diagnosis.words()[-1]
    few = diagnose(latents[:50], Covariates(defocus_A=rng.uniform(1e4, 2e4, 50)))
    assert few.leaks == ()
    assert "50 particles are too few" in few.words()[-1]


def test_view_functions_span_all_polynomials_on_the_sphere():
    """25 spherical harmonics of degree 0 to 4: with a constant, as many as all monomials of three variables have rank there."""
    view = np.random.default_rng(0).normal(size=(400, 3))
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    ours = np.column_stack([np.ones(400), view_harmonics(view)[-1]])
    every = PolynomialFeatures(4).fit_transform(view)
    assert ours.shape[1] == np.linalg.matrix_rank(ours) == np.linalg.matrix_rank(every) == 25
    assert np.linalg.matrix_rank(np.hstack([ours, every])) == 25


def test_cross_validated_least_squares_is_sklearns():
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import KFold

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
    y[:, 0] += x[:, 1]
    error = spread = 0
    for train, test in KFold(5, shuffle=True, random_state=4).split(x):
        error = error + ((y[test] - LinearRegression().fit(x[train], y[train]).predict(x[test])) ** 2).sum(axis=0)
        spread = spread + ((y[test] - y[train].mean(axis=0)) ** 2).sum(axis=0)
    assert CrossValidated(x, 4).r2(y) == pytest.approx(1 - error / spread)
    assert CrossValidated(x, 4).r2(np.full((60, 1), 7.0)) == pytest.approx([0])


def test_views_of_a_rotation_are_its_third_row():
    """A state that is told by where it is seen from must not depend on how the image lies."""
    rotation = Rotation.random(1500, rng=np.random.default_rng(5))
    matrix = rotation.as_matrix().transpose(0, 2, 1)  # R
    psi_deg = rotation.as_euler("ZYZ", degrees=True)[:, 2]
    latents = (matrix @ [0.6, -0.8, 0])[:, 2:] * 3 + np.random.default_rng(6).normal(size=(1500, 1))
    found = verdicts(diagnose(latents, Covariates(view=matrix[:, 2], psi_deg=psi_deg)))
    assert found == {"viewing direction": "strong", "in-plane angle": "clean"}
