"""Alignments of maps and of poses find back what was done, from any start; images made by formula tell mirrors."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryodrake.analysis.compare_poses import fit_offset, fit_rotation
from cryodrake.data.density import gaussian_density
from cryodrake.data.procedural import procedural_complex
from cryodrake.inference.alignment import MIRROR, Alignment, FourierSampler, align, move
from cryodrake.physics.fsc import fsc
from cryodrake.physics.rotations import geodesic_deg
from cryodrake.physics.symmetry import operators

BOX, PIXEL_A = 48, 6.0


@pytest.fixture(scope="module")
def atoms():
    return procedural_complex(2, n_residues=2500, n_domains=8)


def density(positions, box=BOX, pixel_A=PIXEL_A):
    return gaussian_density(torch.from_numpy(positions), torch.ones(len(positions)), box, pixel_A, 2.5 * pixel_A)


def rotation(seed):
    return Rotation.random(rng=np.random.default_rng(seed)).as_matrix()


def moved_atoms(atoms, a, mirrored, offset_A):
    """Atoms of a map with map(k) = truth(B k) exp(-2πi k·o/d): in real space x -> B⁻¹ x + o."""
    b = a @ np.diag([1, 1, -1]) if mirrored else a
    return atoms @ np.linalg.inv(b).T + offset_A


@pytest.mark.parametrize(("seed", "mirrored", "noise_level"), [(0, False, 0.0), (1, True, 0.3), (2, True, 0.0)])
def test_a_map_is_aligned_from_any_start(atoms, seed, mirrored, noise_level):
    a = rotation(seed)
    offset_px = np.random.default_rng(seed).uniform(-7, 7, 3)
    map_ = density(moved_atoms(atoms, a, mirrored, offset_px * PIXEL_A))
    noise = torch.randn(map_.shape, generator=torch.Generator().manual_seed(seed))
    found = align(map_ + noise_level * map_.std() * noise, density(atoms))
    assert found.mirrored == mirrored
    assert float(geodesic_deg(found.rotation, torch.from_numpy(a).float())) < 0.1
    assert np.abs(found.offset_px.numpy() - offset_px).max() < 0.05
    assert found.score > found.other_score + 0.1


def test_symmetric_maps_align_onto_one_of_their_copies(atoms):
    part = atoms[::4] + np.array([45, 10, 5])
    group = operators("C3").double().numpy()
    whole = np.concatenate([part @ s.T for s in group])
    a = rotation(5)
    found = align(density(moved_atoms(whole, a, False, np.zeros(3))), density(whole))
    error = geodesic_deg(operators("C3") @ found.rotation, torch.from_numpy(a).float().expand(3, 3, 3))
    assert float(error.min()) < 0.1


def test_move_is_the_density_of_the_moved_atoms(atoms):
    a, offset_px = rotation(1), np.array([2.5, -1.2, 3.7])
    for mirrored in (False, True):
        alignment = Alignment(torch.from_numpy(a).float(), mirrored, torch.from_numpy(offset_px).float(), 1.0, 0.0)
        expected = density(moved_atoms(atoms, a, mirrored, offset_px * PIXEL_A))
        curve = fsc(move(density(atoms), alignment), expected)
        assert float(curve[1 : BOX // 2].min()) > 0.99


def test_the_sampler_reads_the_transform_of_atoms(atoms):
    some = atoms[::100]
    s = np.random.default_rng(0).normal(0, 5, (200, 3))  # cycles per box
    length_A = BOX * PIXEL_A
    exact = np.exp(-2j * np.pi * s @ some.T / length_A).sum(1)
    exact *= np.exp(-((np.linalg.norm(s, axis=1) * 2.5 / BOX) ** 2)) / (BOX * PIXEL_A**3)
    found = FourierSampler(density(some), 20.0)(torch.from_numpy(s).float()).numpy()
    assert np.linalg.norm(found - exact) < 0.03 * np.linalg.norm(exact)


def projection(atoms, r, at, frequencies):
    """Transform, at image frequencies (k 2), of the projection of atoms turned by R with the particle at `at`."""
    seen = (atoms @ r.T)[:, :2] + at
    return np.exp(-2j * np.pi * frequencies @ seen.T).sum(1)


def test_a_mirrored_map_with_conjugated_poses_and_offset_gives_the_same_images(atoms):
    """What compare_poses says, R_truth = P R P Aᵀ and t_truth = t + (R o)_xy, checked on the images themselves."""
    p = np.diag([1, 1, -1])
    rng = np.random.default_rng(0)
    frequencies = rng.normal(0, 0.02, (50, 2))
    some, a, offset = atoms[::20], rotation(3), np.array([4.0, -9.0, 2.0])
    for mirrored in (False, True):
        r, at = rotation(8), np.array([3.0, -5.0])
        image = projection(moved_atoms(some, a, mirrored, offset), r, at, frequencies)
        r_truth = (p @ r @ p if mirrored else r) @ a.T
        same = projection(some, r_truth, at + (r @ offset)[:2], frequencies)
        assert np.allclose(image, same, atol=1e-6 * len(some))


@pytest.mark.parametrize("group", ["C1", "C3", "D2", "O"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_poses_give_back_rotation_hand_and_errors(group, mirrored):
    rng = np.random.default_rng(6)
    n, noise_deg = 600, 1.0
    s = operators(group)
    truth = Rotation.random(n, rng=rng).as_matrix()
    a = rotation(2)
    noise = Rotation.from_rotvec(np.deg2rad(noise_deg) * rng.normal(size=(n, 3)))
    picked = s.double().numpy()[rng.integers(0, len(s), n)]
    # R with R Aᵀ S = noise · truth for some S of the group.
    own = noise.as_matrix() @ truth @ np.transpose(picked, (0, 2, 1)) @ a
    wrong = rng.random(n) < 0.45
    own[wrong] = Rotation.random(int(wrong.sum()), rng=rng).as_matrix()
    if mirrored:
        own = MIRROR.double().numpy() @ own @ MIRROR.double().numpy()
    fit = fit_rotation(torch.from_numpy(own).float(), torch.from_numpy(truth).float(), s)
    assert fit.mirrored == mirrored
    equivalent = s @ fit.rotation
    assert float(geodesic_deg(equivalent, torch.from_numpy(a).float().expand_as(equivalent)).min()) < 0.15
    # The angle of a Gaussian rotation vector is Maxwell distributed: median 1.538 σ.
    assert float(fit.error_deg[~torch.from_numpy(wrong)].median()) == pytest.approx(1.538 * noise_deg, rel=0.1)
    if group == "C1":
        assert float(fit.error_deg[torch.from_numpy(wrong)].median()) > 90


def test_random_poses_are_far_from_any_truth():
    rng = np.random.default_rng(0)
    own, truth = (torch.from_numpy(Rotation.random(1000, rng=rng).as_matrix()).float() for _ in range(2))
    assert float(fit_rotation(own, truth, operators("C1")).error_deg.median()) > 100


def test_exact_poses_have_no_error():
    truth = torch.from_numpy(Rotation.random(50, rng=np.random.default_rng(1)).as_matrix()).float()
    fit = fit_rotation(truth, truth, operators("C1"))
    assert float(fit.error_deg.max()) < 0.01
    assert not fit.mirrored


def test_the_offset_is_found_among_outliers():
    rng = np.random.default_rng(3)
    n, offset = 500, np.array([3.0, -2.0, 5.0])
    rotations = Rotation.random(n, rng=rng).as_matrix()
    at = rng.uniform(-5, 5, (n, 2))
    noise = rng.normal(0, 0.1, (n, 2))
    noise[: n // 4] = rng.uniform(-8, 8, (n // 4, 2))
    truth_at = at + (rotations @ offset)[:, :2] + noise
    tensors = [torch.from_numpy(x).float() for x in (rotations, at, truth_at)]
    found, off = fit_offset(*tensors, torch.ones(n, dtype=torch.bool))
    assert np.allclose(found.numpy(), offset, atol=0.05)
    assert np.allclose(off.numpy(), noise, atol=0.1)
