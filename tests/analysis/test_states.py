"""Files of a job with states that do not go together are refused with words that say which."""

from pathlib import Path

import numpy as np
import pytest

from cryodrake.analysis.job_states import read_latents, require_latents, require_latents_of_one_model
from cryodrake.analysis.states import latent_images, radius_A, read_precision
from cryodrake.app.progress import open_screen
from cryodrake.errors import InputError
from cryodrake.io.mrc import StackWriter
from cryodrake.io.relion_write import write_new_star
from cryodrake.io.table import ParticleTable
from cryodrake.training.config import InputOptions

N, BOX, PIXEL_A = 20, 16, 4.0


@pytest.fixture
def job(tmp_path):
    """Twenty images of noise, their poses and states."""
    rng = np.random.default_rng(0)
    with StackWriter(tmp_path / "a.mrcs", N, BOX, PIXEL_A) as stack:
        stack.write(rng.standard_normal((N, BOX, BOX)))
    table = ParticleTable(np.full(N, PIXEL_A), np.zeros(N, np.int64), np.full(N, BOX))
    write_new_star(tmp_path / "a.star", table, ("a.mrcs",), np.zeros(N, np.int64), np.arange(N))
    folder = tmp_path / "job"
    folder.mkdir()
    shifts_A = rng.standard_normal((N, 2)).round(2)
    half = np.arange(N) % 2 + 1
    posed = ParticleTable(
        np.full(N, PIXEL_A), np.zeros(N, np.int64), np.full(N, BOX),
        rotations=np.tile(np.eye(3), (N, 1, 1)), shifts_A=shifts_A, half_set=half,
    )  # fmt: skip
    write_new_star(folder / "particles.star", posed, ("a.mrcs",), np.zeros(N, np.int64), np.arange(N))
    np.save(folder / "latents.npy", rng.standard_normal((N, 2)).astype(np.float32))
    return folder


def load(job, **options):
    with open_screen() as screen:
        return latent_images(job, InputOptions(particles=job.parent / "a.star", out=job, device="cpu", **options), screen)


def test_images_come_with_the_poses_halves_and_states_of_their_rows(job):
    table_half = np.arange(N) % 2 + 1
    precision = np.tile(np.diag([2.0, 3.0]).astype(np.float32), (N, 1, 1))
    np.save(job / "latents_precision.npy", precision)
    scale = np.linspace(0.5, 1.5, N).astype(np.float32)
    data, pixel_size_A = load(job)
    assert data.images.scale.tolist() == [1.0] * N  # a job that has none
    np.save(job / "scales.npy", scale)
    data, pixel_size_A = load(job)
    np.testing.assert_array_equal(data.images.scale, scale)
    assert pixel_size_A == PIXEL_A
    assert data.half.tolist() == table_half.tolist()
    np.testing.assert_array_equal(data.latents, np.load(job / "latents.npy"))
    np.testing.assert_array_equal(data.precision, precision)
    assert data.images.disc.box == BOX
    coarse, pixel_size_A = load(job, box=16, apix=8.0, diameter_A=80.0)
    assert pixel_size_A == pytest.approx(8.0)
    np.testing.assert_allclose(coarse.shift_px, data.shift_px / 2, rtol=1e-5)  # Å are kept
    assert coarse.radius_px == pytest.approx(5.0)


def test_the_particles_radius_is_that_of_the_run():
    options = {"particles": Path("a.star"), "out": Path("job")}
    assert radius_A(InputOptions(**options), 100.0) == pytest.approx(42)
    assert radius_A(InputOptions(**options, diameter_A=60.0), 100.0) == pytest.approx(30)
    assert radius_A(InputOptions(**options, diameter_A=600.0), 100.0) == pytest.approx(49)


@pytest.mark.parametrize(
    ("name", "array", "says"),
    [
        ("latents.npy", np.zeros(N), r"shape \(20,\)"),
        ("latents.npy", np.full((N, 2), np.nan), "finite"),
        ("latents.npy", np.zeros((N - 1, 2)), "19 latents, 20 poses and 20 images"),
        ("latents_precision.npy", np.zeros((N, 3, 3)), r"\(20, 2, 2\)"),
        ("scales.npy", np.ones(N - 1), "one for each of the 20 particles"),
    ],
)
def test_files_that_do_not_go_together_are_refused(job, name, array, says):
    np.save(job / name, array.astype(np.float32))
    with pytest.raises(InputError, match=says):
        load(job)


def test_no_array_and_no_states_are_told_apart(job):
    (job / "latents.npy").write_bytes(b"not an array")
    with pytest.raises(InputError, match="cannot be read"):
        require_latents(job)
    (job / "latents.npy").unlink()
    assert read_latents(job) is None
    with pytest.raises(InputError, match="has no states"):
        require_latents(job)
    (job / "classes").mkdir()
    with pytest.raises(InputError, match="class_01"):
        require_latents_of_one_model(job)
    assert read_precision(job, N, 2) is None
