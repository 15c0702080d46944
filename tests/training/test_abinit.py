"""A whole homogeneous run: from images alone to the right poses and the right map."""

import pytest
import torch

from cryodrake.analysis.evaluate import EvaluateConfig, evaluate
from cryodrake.app.runner import run_job
from cryodrake.errors import InputError
from cryodrake.inference.alignment import within_ball
from cryodrake.inference.local import refine
from cryodrake.inference.reference import Reference
from cryodrake.io.job import JobFolder
from cryodrake.io.mrc import read_map
from cryodrake.io.particles import read_particles
from cryodrake.physics.fsc import area_under, fsc
from cryodrake.physics.rotations import geodesic_deg
from cryodrake.training import abinit, refinement
from cryodrake.training.config import AbinitConfig
from cryodrake.training.images import WeightedImages
from cryodrake.training.loading import choose_device


@pytest.fixture(scope="module")
def result(finished, data):
    return evaluate(EvaluateConfig(job=finished.path, truth=data))


def test_poses_and_map_are_right(result):
    assert result.n == 800
    assert result.rotation_error_median_deg < 2.5
    assert result.share_within_10_deg > 0.97
    assert result.shift_error_median_px < 0.15
    assert result.hand == result.hand_of_poses
    assert result.fsc_auc > 0.93
    assert result.fsc05_A < 24  # of 21, the pixels' limit


@pytest.fixture(scope="module")
def true_poses(data):
    table = read_particles(data / "truth" / "particles.star", need_images=False).table
    rotation = torch.from_numpy(table.rotations).float()
    return rotation, torch.from_numpy(table.shifts_A / table.pixel_size_A[:, None]).float()


def test_they_are_as_good_as_the_data_allow(result, data, store, true_poses):
    """Poses against those that the likelihood itself prefers, from the truth on; the map against that of the true poses."""
    rotation, shift_px = true_poses
    images = WeightedImages(store, store.noise, torch.ones(store.n))
    half = torch.arange(store.n) % 2 + 1
    maps = refinement.half_maps(images, half, rotation, shift_px, store.box / 2, 0.42 * store.box)
    truth = torch.from_numpy(read_map(data / "truth" / "volumes" / "state_000.mrc")[0])
    best = refine(images, torch.arange(store.n), Reference.build(truth * truth_scale(maps, truth), 15.0), rotation, shift_px)
    assert result.rotation_error_median_deg < 1.4 * float(geodesic_deg(best.rotation, rotation).median())
    assert result.shift_error_median_px < 1.4 * float((best.shift_px - shift_px).norm(dim=1).median())
    assert result.fsc_auc > 0.97 * area_under(fsc(within_ball(maps.raw.mean(0)), within_ball(truth)))


def truth_scale(maps, truth):
    """Images are normalised: the factor from the true density to theirs."""
    a, b = within_ball(maps.raw.mean(0)), within_ball(truth)
    return float(((a - a.mean()) * (b - b.mean())).sum() / (b - b.mean()).square().sum())


def test_it_says_that_it_converged(finished):
    status = JobFolder(finished.path).status
    assert status["converged"] is True
    assert "converged" in status["verdict"]
    assert status["warnings"] == []
    assert status["confident_share"] > 0.9


def test_devices():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_an_absurd_number_of_latents_is_refused(tmp_path):
    with pytest.raises(InputError, match="zdim"):
        AbinitConfig(particles=tmp_path / "a.star", out=tmp_path / "job", zdim=99)


def test_first_passes_use_a_part_of_the_images_and_all_are_in_at_the_end(data, tmp_path, shortened, monkeypatch):
    shortened(monkeypatch)
    monkeypatch.setattr(abinit, "FIRST_IMAGES", 300)
    job = run_job(AbinitConfig(particles=data / "particles.star", out=tmp_path / "job", device="cpu"), "abinit", abinit.run)
    history = job.load_latest()[2]["history"]
    assert [pass_["images"] for pass_ in history[:3]] == [300, 600, 800]
    assert history[-1]["images"] == 800
    result = evaluate(EvaluateConfig(job=job.path, truth=data))
    assert result.rotation_error_median_deg < 2.5
    assert result.share_within_10_deg > 0.97
