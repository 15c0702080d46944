"""`evaluate` on jobs whose distance from the truth is known because it was put there."""

import json
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import starfile
import torch
from scipy.spatial.transform import Rotation

from cryodrake.analysis.evaluate import EvaluateConfig, evaluate
from cryodrake.analysis.evaluate_maps import cryobench_auc, true_map
from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.errors import InputError
from cryodrake.inference.alignment import Alignment, move
from cryodrake.io.mrc import read_map, write_map

N, BOX, PIXEL_A = 80, 32, 8.0
P = np.diag([1.0, 1.0, -1.0])


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluate") / "data"
    return simulate(SimulateConfig(out=out, n=N, box=BOX, apix=PIXEL_A, shift_px=3))


def make_job(folder, truth, mirrored=False, rotation_noise_deg=0.0, shift_noise_px=0.0, rows=slice(None)):
    """A job whose map is the truth turned, moved and maybe mirrored, and whose poses say so, with noise."""
    rng = np.random.default_rng(9)
    a = Rotation.random(rng=rng).as_matrix()
    offset_px = rng.uniform(-3, 3, 3)
    alignment = Alignment(torch.from_numpy(a).float(), mirrored, torch.from_numpy(offset_px).float(), 1.0, 0.0)
    map_ = move(true_map(truth / "truth")[0], alignment)
    (folder / "maps").mkdir(parents=True)
    write_map(folder / "maps" / "consensus.mrc", map_.numpy(), PIXEL_A)
    blocks = starfile.read(truth / "truth" / "particles.star", always_dict=True)
    table = blocks["particles"]
    angles = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
    shifts = ["rlnOriginXAngst", "rlnOriginYAngst"]
    r = Rotation.from_euler("ZYZ", table[angles], degrees=True).as_matrix().transpose(0, 2, 1)
    noise = Rotation.from_rotvec(np.deg2rad(rotation_noise_deg) * rng.normal(size=(N, 3))).as_matrix()
    own = noise @ r @ a
    own = P @ own @ P if mirrored else own
    table[angles] = Rotation.from_matrix(own.transpose(0, 2, 1)).as_euler("ZYZ", degrees=True)
    at_px = -table[shifts].to_numpy() / PIXEL_A - (own @ offset_px)[:, :2]
    table[shifts] = -(at_px + shift_noise_px * rng.normal(size=(N, 2))) * PIXEL_A
    starfile.write(blocks | {"particles": table.iloc[rows]}, folder / "particles.star", float_format="%.9g")
    return own, at_px


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_perfect_job_is_found_to_be_perfect(tmp_path, truth, mirrored):
    make_job(tmp_path / "job", truth, mirrored)
    result = evaluate(EvaluateConfig(job=tmp_path / "job", truth=truth))
    assert result.n == N
    assert result.fsc_auc > 0.99
    assert len(result.fsc) == BOX // 2 + 1
    assert result.fsc0143_A == pytest.approx(2 * PIXEL_A)
    assert result.rotation_error_median_deg < 0.1
    assert result.rotation_error_p90_deg < 0.1
    assert result.shift_error_median_px < 0.05
    assert (result.hand, result.hand_of_poses) == (("mirrored",) * 2 if mirrored else ("same",) * 2)
    assert result.share_within_10_deg == 1
    assert "right" in result.summary()
    elsewhere = replace(result, rotation_error_median_deg=120.0, share_within_10_deg=0.1)
    assert "yet the map is right" in elsewhere.summary()  # what a symmetry does to poses compared without it
    assert "the structure was not found" in replace(elsewhere, fsc_auc_masked=0.4).summary()
    again = json.loads(result.to_json())
    assert again["rotation_error_median_deg"] == result.rotation_error_median_deg
    assert again["fsc"] == list(result.fsc)


def test_errors_have_the_size_that_was_put_in(tmp_path, truth):
    make_job(tmp_path / "job", truth, rotation_noise_deg=4.0, shift_noise_px=0.5)
    (tmp_path / "job" / "maps" / "consensus.mrc").unlink()
    result = evaluate(EvaluateConfig(job=tmp_path / "job", truth=truth))
    assert result.fsc is None
    # Medians of a three-dimensional and a two-dimensional Gaussian: 1.538 σ and 1.177 σ; 80 particles.
    assert result.rotation_error_median_deg == pytest.approx(1.538 * 4, rel=0.2)
    assert result.shift_error_median_px == pytest.approx(1.177 * 0.5, rel=0.25)


def test_noise_in_the_map_lowers_the_curve_as_it_should(tmp_path, truth):
    job = tmp_path / "job"
    make_job(job, truth)
    volume, _ = read_map(job / "maps" / "consensus.mrc")
    rng = np.random.default_rng(0)
    noisy = volume + volume.std() * 0.3 * rng.normal(size=volume.shape).astype(np.float32)
    write_map(job / "maps" / "consensus.mrc", noisy, PIXEL_A)
    result = evaluate(EvaluateConfig(job=job, truth=truth))
    # White noise of known power on a known spectrum: FSC = √(S / (S + N)) per shell, on average.
    power = np.abs(np.fft.fftshift(np.fft.fftn(volume))) ** 2
    axis = np.arange(BOX) - BOX // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    shell = np.round(np.sqrt(x**2 + y**2 + z**2))
    noise_power = (0.3 * volume.std()) ** 2 * BOX**3
    for s in (4, 8, 12, 15):
        signal = power[shell == s].mean()
        assert result.fsc[s] == pytest.approx(math.sqrt(signal / (signal + noise_power)), abs=0.06)
    assert result.fsc_auc == pytest.approx(np.mean(result.fsc[1:]), abs=1e-5)
    assert result.fsc_auc_masked > result.fsc_auc


def test_a_subset_is_matched_by_its_image_names(tmp_path, truth):
    rows = np.random.default_rng(2).permutation(N)[:30]
    make_job(tmp_path / "job", truth, rows=rows)
    (tmp_path / "job" / "maps" / "consensus.mrc").unlink()
    result = evaluate(EvaluateConfig(job=tmp_path / "job", truth=truth))
    assert result.n == 30
    assert result.rotation_error_median_deg < 0.1
    assert result.shift_error_median_px < 0.05


def test_map_and_poses_of_other_programs_can_be_given(tmp_path, truth):
    own, at_px = make_job(tmp_path / "job", truth)
    (tmp_path / "job" / "particles.star").unlink()
    moved = (tmp_path / "job" / "maps" / "consensus.mrc").rename(tmp_path / "other.mrc")
    with (tmp_path / "pose.pkl").open("wb") as file:  # cryoDRGN: R and what centres the particle, as a fraction
        pickle.dump((own.astype(np.float32), (-at_px / BOX).astype(np.float32)), file)
    config = EvaluateConfig(job=tmp_path, truth=truth, map=moved, poses=tmp_path / "pose.pkl")
    result = evaluate(config)
    assert result.fsc_auc > 0.99
    assert result.rotation_error_median_deg < 0.1
    assert result.shift_error_median_px < 0.05


def test_a_map_on_another_grid_is_compared_on_that_grid(tmp_path, truth):
    volume, _ = true_map(truth / "truth")
    (tmp_path / "maps").mkdir()
    padded = np.zeros((40, 40, 40), np.float32)
    padded[4:36, 4:36, 4:36] = volume.numpy()
    write_map(tmp_path / "maps" / "consensus.mrc", padded, PIXEL_A)
    result = evaluate(EvaluateConfig(job=tmp_path, truth=truth))
    assert result.box_A == pytest.approx(40 * PIXEL_A)
    assert result.fsc_auc > 0.98


def test_symmetry_makes_equivalent_poses_equal(tmp_path, truth):
    blocks = starfile.read(truth / "truth" / "particles.star", always_dict=True)
    # R of a particle turned about z by 120° in the volume's frame: rot changes by 120°.
    blocks["particles"]["rlnAngleRot"] += 120 * (np.arange(N) % 3)
    starfile.write(blocks, tmp_path / "particles.star")
    with_c3 = evaluate(EvaluateConfig(job=tmp_path, truth=truth, symmetry=("C3",)))
    without = evaluate(EvaluateConfig(job=tmp_path, truth=truth))
    assert with_c3.rotation_error_p90_deg < 0.1
    assert without.rotation_error_p90_deg == pytest.approx(120, abs=2)


def test_several_states_are_compared_with_their_mean(tmp_path):
    volumes = [np.full((4, 4, 4), v, np.float32) for v in (1.0, 5.0)]
    (tmp_path / "volumes").mkdir()
    for i, volume in enumerate(volumes):
        write_map(tmp_path / "volumes" / f"state_{i:03d}.mrc", volume, 2.0)
    np.save(tmp_path / "state.npy", np.array([0, 0, 0, 1]))
    mean, pixel_size_A = true_map(tmp_path)
    assert torch.allclose(mean, torch.tensor(2.0))
    assert pixel_size_A == 2.0


def test_states_are_those_of_the_jobs_own_rows(tmp_path, truth):
    """Two states, a shuffled part of the images: latents, classes, maps and poses are matched by image, as the poses are."""
    one, _ = read_map(truth / "truth" / "volumes" / "state_000.mrc")
    for name, volume in (("a", one), ("b", one + 0.5 * np.roll(one, 5, axis=2))):
        write_map(tmp_path / f"{name}.mrc", volume, PIXEL_A)
    structures = (tmp_path / "a.mrc", tmp_path / "b.mrc")
    two = simulate(SimulateConfig(out=tmp_path / "two", structures=structures, n=N, box=BOX, apix=PIXEL_A, shift_px=3))
    rows = np.random.default_rng(4).permutation(N)[:60]
    job = tmp_path / "job"
    make_job(job, two, mirrored=True, rows=rows)
    state = np.load(two / "truth" / "state.npy")[rows]
    np.save(job / "latents.npy", (state[:, None] + 0.01 * np.random.default_rng(5).normal(size=(60, 2))).astype(np.float32))
    np.save(job / "classes.npy", 1 - state)
    (job / "maps" / "states").mkdir()
    consensus, _ = read_map(job / "maps" / "consensus.mrc")
    for label in range(2):
        write_map(job / "maps" / "states" / f"state_{label:02d}.mrc", consensus, PIXEL_A)
    found = evaluate(EvaluateConfig(job=job, truth=two)).states
    assert found.state_n == tuple(np.bincount(state).tolist())
    assert (found.kmeans_ari, found.share_in_right_class) == (pytest.approx(1), 1)
    assert found.neighbour_share > 0.95
    assert max(found.state_rotation_error_median_deg) < 0.2
    # Every state has the consensus map: as good as static, and not perfect.
    assert found.image_auc_mean == pytest.approx(found.static_auc_mean, abs=1e-4)
    assert found.image_auc_mean < 0.98 * (BOX / 2 - 1) / BOX
    assert found.coordinate_r2 is None


def test_cryobench_auc_is_the_area_over_frequency():
    assert cryobench_auc(torch.ones(65)) == pytest.approx(63 / 128)  # 0.492, the largest there is
    curve = torch.tensor([0.3, 1.0, 0.5, 0.0, 0.9])  # shells 0 … 4 of 8 px; shell 0 counts as 1, shell 4 does not
    assert cryobench_auc(curve) == pytest.approx((1.0 + 0.75 + 0.25) / 8)


def test_what_is_missing_or_foreign_is_said(tmp_path, truth):
    with pytest.raises(InputError, match="neither a map nor poses"):
        evaluate(EvaluateConfig(job=tmp_path, truth=truth))
    make_job(tmp_path / "job", truth)
    (tmp_path / "job" / "maps" / "consensus.mrc").unlink()
    with pytest.raises(InputError, match="symmetry"):
        evaluate(EvaluateConfig(job=tmp_path / "job", truth=truth, symmetry=("X7",)))
    with pytest.raises(InputError):
        evaluate(EvaluateConfig(job=tmp_path / "job", truth=tmp_path / "nothing"))
    star = tmp_path / "job" / "particles.star"
    star.write_text(star.read_text().replace("000007@particles", "000907@particles"))
    with pytest.raises(InputError, match="image 907"):
        evaluate(EvaluateConfig(job=tmp_path / "job", truth=truth))
    star.write_text("data_particles\n\nloop_\n_rlnImageName #1\n_rlnImagePixelSize #2\n000001@particles.mrcs 8\n")
    with pytest.raises(InputError, match="no poses"):
        evaluate(EvaluateConfig(job=tmp_path / "job", truth=truth))
