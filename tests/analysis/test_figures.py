"""Figures are right where they can be wrong: what is lit, what is where, and what counts as even."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from cryodrake.analysis.figures import DRAWINGS
from cryodrake.analysis.figures_curves import mollweide
from cryodrake.analysis.figures_progress import COLUMNS, FRAMES_A_STAGE, FRAMES_AT_END
from cryodrake.analysis.figures_surface import LIGHT, contour_level, level_of_share, shade, share_above, without_dust
from cryodrake.io.job import JobFolder
from cryodrake.io.mrc import write_map
from cryodrake.io.relion_write import write_new_star
from cryodrake.io.table import ParticleTable
from cryodrake.training.stages import save_stage


def blob(box, centre_zyx=(0, 0, 0), radius=10.0):
    """Density 1 inside a sphere, falling softly to 0 at its surface."""
    axis = torch.arange(box, dtype=torch.float32) - box // 2
    z, y, x = (a - c for a, c in zip(torch.meshgrid(axis, axis, axis, indexing="ij"), centre_zyx, strict=True))
    return torch.sigmoid((radius - torch.sqrt(x**2 + y**2 + z**2)) / 0.7)


def brightness(picture):
    return picture[..., :3].float().mean(-1)


def test_a_sphere_is_a_disc_brightest_towards_the_lamp():
    picture = shade(blob(48), 0.5, torch.eye(3), pixels=192)
    covered = picture[..., 3].float() / 255
    assert covered.sum() == pytest.approx(np.pi * 40**2, rel=0.02)  # radius 10 voxels of 4 pixels
    row, column = torch.nonzero(covered > 0.5).float().mean(0)
    assert (row, column) == (pytest.approx(24 * 4 + 1.5, abs=0.6),) * 2  # the middle of voxel 24
    light = brightness(picture) * (covered == 1)
    peak = light >= light.max() - 2
    row, column = (p.float().mean() - 97.5 for p in torch.nonzero(peak, as_tuple=True))
    assert row < -5  # above
    assert column < -5  # to the left
    assert column / row == pytest.approx(float(LIGHT[2] / LIGHT[1]), abs=0.25)
    # Point by point brighter than opposite the lamp.
    assert light[97 - 20, 97 - 20] > light[97 + 20, 97 + 20] + 20


@pytest.mark.parametrize(("angles", "seen_row", "seen_column"), [((0, 0, 0), 0, 12), ((90, 0, 0), -12, 0), ((0, 90, 0), 0, 0)])
def test_the_view_is_the_projection_with_that_rotation(angles, seen_row, seen_column):
    """A blob on the x axis is seen where R takes it: image (x, y) of R's first two rows."""
    rotation = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix().T
    assert rotation @ [12, 0, 0] == pytest.approx([seen_column, seen_row, rotation[2, 0] * 12], abs=1e-9)
    picture = shade(blob(48, (0, 0, 12), 5.0), 0.5, torch.tensor(rotation), pixels=96)
    rows, columns = (p.float().mean() for p in torch.nonzero(picture[..., 3] > 127, as_tuple=True))
    assert rows == pytest.approx(2 * (24 + seen_row) + 0.5, abs=0.6)
    assert columns == pytest.approx(2 * (24 + seen_column) + 0.5, abs=0.6)


def test_the_nearer_body_hides_the_farther():
    """Low z is near: a small sphere is seen in front of a large one, by its own dark lower right, and not behind it."""
    large = blob(48, radius=10.0)
    alone, in_front, behind = (
        brightness(shade(volume, 0.5, torch.eye(3), 96))
        for volume in (large, torch.maximum(large, blob(48, (-15, 0, 0), 4.0)), torch.maximum(large, blob(48, (15, 0, 0), 4.0)))
    )
    assert in_front[53, 53] < alone[53, 53] - 30
    assert torch.equal(behind[44:52, 44:52], alone[44:52, 44:52])


def test_an_empty_view_is_transparent():
    assert shade(torch.zeros(16, 16, 16), 0.5, torch.eye(3), 32)[..., 3].max() == 0


def test_levels_and_shares_agree():
    volume = blob(32, radius=8.0) + 0.05 * torch.randn(32, 32, 32, generator=torch.Generator().manual_seed(0))
    level = contour_level(volume)
    assert 0.2 < level < 0.8
    share = share_above(volume, level)
    assert share == pytest.approx((8 / (0.85 * 16)) ** 3, rel=0.15)
    assert share_above(volume, level_of_share(volume, share)) == pytest.approx(share, abs=1e-3)
    assert share_above(10 * volume - 3, level_of_share(10 * volume - 3, share)) == pytest.approx(share, abs=1e-3)


def test_dust_is_hidden_and_the_body_kept():
    body, speck = blob(48, radius=12.0), blob(48, (0, 0, 20), 2.0)
    clean = without_dust(torch.maximum(body, speck), 0.5)
    assert clean[24, 24, 44] < 0.5
    assert torch.equal(clean[:, :, :38], torch.maximum(body, speck)[:, :, :38])


def test_mollweide_is_equal_area_and_z_is_up():
    x, y = mollweide(np.array([[0, 0, 1.0], [0, 0, -1], [1, 0, 0], [0, 1, 0], [-1, 1e-12, 0]]))
    assert x == pytest.approx([0, 0, 0, 1, 2], abs=1e-6)
    assert y == pytest.approx([1, -1, 0, 0, 0], abs=1e-6)
    directions = np.random.default_rng(0).normal(size=(40000, 3))
    x, y = mollweide(directions / np.linalg.norm(directions, axis=1, keepdims=True))
    assert ((x / 2) ** 2 + y**2).max() <= 1 + 1e-9
    inner = ((x / 2) ** 2 + y**2 < 0.25).mean()  # a quarter of the ellipse's area
    assert inner == pytest.approx(0.25, abs=0.01)


@pytest.fixture
def rotations():
    return Rotation.random(500, rng=np.random.default_rng(1)).as_matrix()


@pytest.fixture
def job(tmp_path):
    job = JobFolder.create(tmp_path / "job")
    for i in range(10):
        save_stage(job.figures / "stages", f"stage {i}", blob(24, radius=3.0 + 0.4 * i).numpy(), 4.0, 40.0 - i)
    frequency = np.arange(1, 13) / (24 * 4.0)
    fsc = 1 / (1 + np.exp(200 * (frequency - 0.06)))
    pd.DataFrame({"frequency_inv_A": frequency, "fsc": fsc, "fsc_masked": fsc**0.5}).to_csv(job.maps / "fsc.csv")
    return job


def with_particles(job, rotations):
    n = len(rotations)
    table = ParticleTable(np.full(n, 4.0), np.zeros(n, int), np.full(n, 24), None, rotations, np.zeros((n, 2)))
    write_new_star(job.path / "particles.star", table, ("a.mrcs",), np.zeros(n, int), np.arange(n))
    return job


def all_drawn(job):
    return [path for drawing in DRAWINGS for path in drawing(job)]


def test_all_figures_of_a_run(job, rotations):
    written = all_drawn(with_particles(job, rotations))
    assert sorted(p.name for p in written) == [
        "fsc.csv",
        "fsc.png",
        "progress.csv",
        "progress.gif",
        "progress.png",
        "views.csv",
        "views.png",
    ]
    for path in (path for path in written if path.suffix != ".csv"):
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"), dtype=float)
            assert pixels.std() > 10, f"{path.name} is blank"
    with Image.open(job.figures / "progress.png") as panel:
        columns = np.asarray(panel.convert("L"))[120]  # through the first row of slices
        dark = columns < 100
        assert (np.diff(dark.astype(int)) == 1).sum() >= COLUMNS
    with Image.open(job.figures / "progress.gif") as film:
        assert film.n_frames == (COLUMNS - 1) * FRAMES_A_STAGE + FRAMES_AT_END
        assert film.info["loop"] == 0


def test_the_numbers_of_every_figure_stand_beside_it(job, rotations):
    written = all_drawn(with_particles(job, rotations))
    assert {path.with_suffix(".csv") for path in written if path.suffix == ".png"} == {p for p in written if p.suffix == ".csv"}
    pd.testing.assert_frame_equal(
        pd.read_csv(job.figures / "fsc.csv"), pd.read_csv(job.maps / "fsc.csv"), check_exact=False, rtol=1e-6
    )
    views = pd.read_csv(job.figures / "views.csv")
    assert views["particles"].sum() == 500
    x, y = mollweide(rotations[:, 2])
    assert np.average(views["x"], weights=views["particles"]) == pytest.approx(x.mean(), abs=0.02)
    assert np.average(views["y"], weights=views["particles"]) == pytest.approx(y.mean(), abs=0.02)
    stages = pd.read_csv(job.figures / "progress.csv")
    assert stages["stage"].tolist() == [f"stage {i}" for i in range(10)]
    assert stages["resolution_A"].tolist() == [40.0 - i for i in range(10)]
    assert stages["level"].notna().sum() == COLUMNS


def test_with_classes_the_fsc_is_that_of_each(job):
    table = pd.read_csv(job.maps / "fsc.csv")
    np.save(job.path / "classes.npy", np.zeros(3, dtype=np.int64))
    for c in (1, 2):
        maps = job.path / "classes" / f"class_{c:02d}" / "maps"
        maps.mkdir(parents=True)
        (table / c).assign(frequency_inv_A=table["frequency_inv_A"]).to_csv(maps / "fsc.csv", index=False)
    assert {path.name for path in all_drawn(job)} >= {"fsc.png", "fsc.csv"}
    drawn = pd.read_csv(job.figures / "fsc.csv")
    assert list(drawn) == ["frequency_inv_A", "fsc_class_01", "fsc_class_02"]
    np.testing.assert_allclose(drawn["fsc_class_02"], table["fsc"] / 2, rtol=1e-6)


def test_a_run_with_nothing_to_show_writes_nothing(tmp_path):
    job = JobFolder.create(tmp_path / "job")
    assert all_drawn(job) == []
    assert list(job.figures.iterdir()) == []


def test_classes_are_no_way_and_have_no_common_views(job, rotations):
    """Poses in the frames of several maps make no distribution, and a level of their own fits maps that share no scale."""
    np.save(job.path / "classes.npy", np.arange(500) % 2)
    (job.maps / "states").mkdir()
    for i, height in enumerate((1.0, 50.0)):
        write_map(job.maps / "states" / f"state_{i:02d}.mrc", height * blob(24, radius=6.0).numpy(), 4.0)
    names = {path.name for path in all_drawn(with_particles(job, rotations))}
    assert {"state_00.png", "state_01.png", "view.cxc"} <= names
    assert "views.png" not in names
    text = (job.maps / "states" / "view.cxc").read_text()
    assert "volume morph" not in text
    levels = [float(line.split("level ")[1].split()[0]) for line in text.splitlines() if line.startswith("volume #")]
    assert levels[1] == pytest.approx(50 * levels[0], rel=0.01)
