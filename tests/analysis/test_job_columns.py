"""The columns of a job are those of its files, each under one name."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryodrake.analysis.job_columns import job_columns
from cryodrake.analysis.viewing import coverage, view_density
from cryodrake.errors import InputError
from cryodrake.io.particles import read_particles


def test_each_column_is_what_its_file_says(finished_job):
    labels, layout = np.array([2, 0, 1, 1, 0, 2]), np.arange(12.0).reshape(6, 2) ** 2
    of_analyze = {"analysis/labels": labels, "analysis/umap": layout, "analysis/pca": -layout}
    job = finished_job(**of_analyze, classes=1 - labels % 2, groups=labels // 2)
    columns = job_columns(job)
    np.testing.assert_array_equal(columns["row"], np.arange(6))
    np.testing.assert_array_equal(columns["latent_2"], 2 * np.arange(6) + 1)
    np.testing.assert_array_equal(columns["umap_1"], layout[:, 0])
    np.testing.assert_array_equal(columns["pc_2"], -layout[:, 1])
    np.testing.assert_array_equal(columns["cluster"], labels + 1)  # people count from 1, arrays from 0
    np.testing.assert_array_equal(columns["class_number"], 2 - labels % 2)
    np.testing.assert_array_equal(columns["state_group"], labels // 2 + 1)
    np.testing.assert_array_equal(columns["defocus_A"], 14500.25 + 100 * np.arange(6))
    np.testing.assert_array_equal(columns["astigmatism_A"], 1000)
    np.testing.assert_array_equal(columns["voltage_kV"], 300)
    np.testing.assert_array_equal(columns["half_set"], [1, 2, 1, 2, 1, 2])
    np.testing.assert_allclose(columns["confidence"], np.linspace(0, 1, 6))
    np.testing.assert_array_equal(columns["rlnAutopickFigureOfMerit"], [0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert columns["rlnMicrographName"].tolist() == ["m0.mrc"] * 3 + ["m1.mrc"] * 3
    table = read_particles(job / "particles.star", need_images=False).table
    euler = np.stack([columns[f"{angle}_deg"] for angle in ("rot", "tilt", "psi")], axis=1)
    again = Rotation.from_euler("ZYZ", euler, degrees=True).as_matrix().transpose(0, 2, 1)
    np.testing.assert_allclose(again, table.rotations, atol=1e-6)
    np.testing.assert_allclose(columns["shift_A"] ** 2, (table.shifts_A**2).sum(axis=1))


def test_how_crowded_a_view_is_and_how_sure_a_class(finished_job):
    posterior = np.array([[0.9, 0.1], [0.2, 0.8], [1, 0], [0, 1], [0.5, 0.5], [0.4, 0.6]])
    job = finished_job(class_posterior=posterior)
    columns = job_columns(job)
    np.testing.assert_array_equal(columns["class_probability"], [0.9, 0.8, 1, 1, 0.5, 0.6])
    rotations = read_particles(job / "particles.star", need_images=False).table.rotations
    np.testing.assert_allclose(columns["view_density"], view_density(rotations, coverage(rotations)), rtol=1e-6)
    (job / "classes").mkdir()  # poses of several frames
    assert "view_density" not in job_columns(job)


def test_what_is_not_known_is_not_there(finished_job):
    job = finished_job()
    (job / "latents.npy").unlink()
    columns = job_columns(job)
    assert not [name for name in columns if name.startswith(("latent", "pc_", "umap", "cluster", "class"))]


def test_fields_of_a_cs_are_there_too(finished_job):
    job = finished_job()
    fields = [("uid", "<u8"), ("blob/path", "S9"), ("blob/idx", "<u4"), ("blob/shape", "<u4", (2,)), ("blob/psize_A", "<f4")]
    array = np.zeros(6, [*fields, ("alignments3D/error", "<f4")])
    array["uid"] = np.arange(6, dtype=np.uint64) + 2**63
    array["blob/path"], array["blob/psize_A"], array["alignments3D/error"] = b"a.mrc", 1.5, 7
    with open(job / "particles.cs", "wb") as file:
        np.save(file, array)
    columns = job_columns(job)
    np.testing.assert_array_equal(columns["uid"], array["uid"])
    np.testing.assert_array_equal(columns["alignments3D/error"], 7)
    assert columns["blob/path"].tolist() == ["a.mrc"] * 6
    assert "blob/shape_2" in columns


def test_an_unfinished_or_damaged_job_is_refused(finished_job):
    job = finished_job(latents=np.zeros((5, 2)))
    with pytest.raises(InputError, match=r"latents\.npy: has 5 rows"):
        job_columns(job)
    np.save(job / "latents.npy", np.zeros((6, 2)))
    np.save(job / "analysis" / "umap.npy", np.zeros((6, 2, 2)))
    with pytest.raises(InputError, match=r"umap\.npy: holds float64 of shape"):
        job_columns(job)
    (job / "analysis" / "umap.npy").unlink()
    np.save(job / "latents.npy", np.array([{}], dtype=object))
    with pytest.raises(InputError, match="cannot be read"):
        job_columns(job)
    (job / "particles.star").unlink()
    with pytest.raises(InputError, match="no such file"):
        job_columns(job)
