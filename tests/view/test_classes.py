"""The whole of a job with classes: what has no common frame is not shown, and each class is a job to choose."""

import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("dash")

from cryodrake.analysis.montage import montage
from cryodrake.analysis.run_curves import run_curves
from cryodrake.io.job import JobFolder
from cryodrake.view.curve_figures import run_figure
from cryodrake.view.job_reader import JobReader
from cryodrake.view.panels import compare, images, morph, points, progress, views
from cryodrake.view.scatter_figure import colours

N = 240
STATES = ("maps/states/state_00", "maps/states/state_01")


@pytest.fixture
def whole(job):
    """The hinge's two states as classes. Latents are those of each class's own model: alike, and no sign of the class."""
    shutil.copytree(job, job / "classes" / "class_01")
    label = (np.load(job / "latents.npy")[:, 0] > 0).astype(np.int64)
    np.save(job / "classes.npy", label)
    np.save(job / "class_posterior.npy", np.eye(2)[label] * 0.8 + 0.1)
    np.save(job / "latents.npy", np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32))
    shutil.rmtree(job / "checkpoints")
    return JobReader(job, "hinge")


def test_poses_and_latents_of_several_frames_are_not_shown_together(whole):
    assert whole.rotations() is None
    assert whole.coverage() is None
    assert whole.latents() is None
    assert morph.layout(whole) == []
    assert "choose a class's job" in views.draw(whole)[0].layout.annotations[0].text
    columns = whole.columns()
    assert not {"rot_deg", "tilt_deg", "psi_deg", "latent_1", "view_density"} & set(columns)
    assert columns["class_probability"] == pytest.approx(0.9)
    of_class = JobReader(whole.path / "classes" / "class_01", "class_01")
    assert {"rot_deg", "latent_1", "view_density"} <= set(of_class.columns())


def test_a_particles_map_is_that_of_its_class_whatever_its_latent(whole):
    label = np.load(whole.path / "classes.npy")
    for i in range(0, N, 10):
        assert np.array_equal(whole.map_of_row(i).volume, whole.viewable(STATES[label[i]]).volume)


def test_class_numbers_are_those_of_the_folders(whole):
    """Files and arrays count from 0; what the page says of them does not."""
    label = np.load(whole.path / "classes.npy")
    assert whole.columns()["class_number"].tolist() == (label + 1).tolist()
    assert f"class_number {label[7] + 1}" in points.told(whole, 7)
    assert colours(whole.columns()["class_number"], "class_number", np.arange(N))["colorbar"]["ticktext"] == ["1", "2"]
    assert [whole.title(name) for name in whole.class_maps()] == [f"{STATES[0]} (class 1)", f"{STATES[1]} (class 2)"]
    assert whole.title("maps/consensus") == "maps/consensus"


def test_an_image_stands_beside_its_classes_map(whole):
    label, rows = np.load(whole.path / "classes.npy"), np.arange(0, N, 20)
    maps = [whole.decoder().decode(torch.tensor([[c]]))[0] for c in (0.0, 1.0)]
    right = montage(whole.particles(), rows, lambda i: maps[label[i]], whole.decoder().pixel_size_A, 30.0)
    wrong = montage(whole.particles(), rows, lambda i: maps[1 - label[i]], whole.decoder().pixel_size_A, 30.0)
    found = images.of_job(whole, rows, 30.0)
    assert found.agreement == pytest.approx(right.agreement, abs=1e-6)
    assert found.agreement.mean() > wrong.agreement.mean() + 0.02


def test_the_run_is_told_class_by_class(whole):
    """A trace of each class, and no number of one as that of all."""
    shutil.copytree(whole.path / "classes" / "class_01", whole.path / "classes" / "class_02")
    for number, resolution_A in ((1, 20.0), (2, 12.0)):
        JobFolder(whole.path / "classes" / f"class_{number:02d}").write_status(resolution_A=resolution_A, confident_share=0.5)
        JobFolder(whole.path).event("phase", name=f"class {number:02d} refine 1", total=1, words="searching")
        JobFolder(whole.path).event("step", done=1, resolution_A=resolution_A)
    JobFolder(whole.path).write_status(resolution_A=20.0)
    figure = run_figure(run_curves(whole.events(), "hinge"), 200)
    told = {trace.name: list(trace.y) for trace in figure.data if list(trace.y)[-1] in (20.0, 12.0)}
    assert told == {"hinge, class 1": [20.0], "hinge, class 2": [12.0]}
    shown = str(progress.words(whole))
    for part in ("resolution, class 1", "20.0 Å", "resolution, class 2", "12.0 Å", "sure of their pose, class 2"):
        assert part in shown
    assert "Dt('resolution')" not in shown
    assert "20.0 Å (class 1), 12.0 Å (class 2)" in str(compare.numbers_table([whole]))


def test_a_class_behind_a_link_is_not_told(whole, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "status.json").write_text("{}")
    (whole.path / "classes" / "class_02").symlink_to(tmp_path / "elsewhere")
    assert list(whole.class_statuses()) == ["class 1"]


def test_curves_are_those_of_the_classes(whole):
    table = whole.fsc_tables()
    assert list(table) == ["class_01"]
    assert len(table["class_01"]) > 5
