"""Exported particles carry the job's poses; --flip changes the hand of poses and maps together."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryodrake.app.cli import main
from cryodrake.app.export import flipped, flipped_map
from cryodrake.io.cryodrgn import read_poses, write_indices
from cryodrake.io.mrc import StackWriter, read_map, write_map
from cryodrake.io.particles import read_particles
from cryodrake.io.relion_write import write_new_star
from cryodrake.io.table import ParticleTable


def projection(volume, rotation):
    """Reference: the projection along z of a volume turned by R, by brute-force trilinear interpolation."""
    d = volume.shape[0]
    axis = np.arange(d) - d // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = np.stack([x, y, z], axis=-1) @ rotation  # (Rᵀ p) for each view point p
    unit = torch.tensor((points + d // 2 + 0.5) * 2 / d - 1, dtype=torch.float32)
    field = torch.tensor(volume, dtype=torch.float32)[None, None]
    return torch.nn.functional.grid_sample(field, unit[None], align_corners=False)[0, 0].sum(0).numpy()


def lopsided(d=32):
    axis = np.arange(d) - d // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    places = [(0, 0, 0), (6, 0, 0), (0, 5, 0), (0, 3, 7), (-4, -4, 2)]
    return sum(np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 8) for a, b, c in places)


def test_a_flipped_map_has_the_same_projections_at_flipped_rotations():
    volume, rotations = lopsided(), Rotation.random(4, rng=np.random.default_rng(0)).as_matrix()
    mirrored = flipped_map(volume)
    assert np.linalg.det(flipped(rotations)) == pytest.approx(1)
    for before, after in zip(rotations, flipped(rotations), strict=True):
        wanted = projection(volume, before)
        assert np.abs(projection(mirrored, after) - wanted).max() < 0.03 * wanted.max()
        assert np.abs(projection(volume, after) - wanted).max() > 0.3 * wanted.max()


@pytest.mark.parametrize("d", [8, 9])
def test_flipping_a_map_twice_is_nothing_and_keeps_its_centre(d):
    volume = np.random.default_rng(0).normal(size=(d, d, d))
    assert np.array_equal(flipped_map(flipped_map(volume)), volume)
    assert np.array_equal(flipped_map(volume)[d // 2], volume[d // 2])


N, BOX, PIXEL_A = 6, 16, 2.5


@pytest.fixture
def job(tmp_path):
    """A finished job of six particles beside the stack it began with."""
    folder = tmp_path / "job"
    (folder / "maps").mkdir(parents=True)
    rng = np.random.default_rng(0)
    with StackWriter(tmp_path / "a.mrcs", N, BOX, PIXEL_A) as stack:
        stack.write(rng.normal(size=(N, BOX, BOX)))
    table = ParticleTable(
        pixel_size_A=np.full(N, PIXEL_A),
        optics_group=np.zeros(N, dtype=np.int64),
        box=np.full(N, BOX),
        rotations=Rotation.random(N, rng=rng).as_matrix(),
        shifts_A=rng.normal(size=(N, 2)) * 4,
    )
    write_new_star(folder / "particles.star", table, ("a.mrcs",), np.zeros(N, dtype=np.int64), np.arange(N))
    write_map(folder / "maps" / "consensus.mrc", lopsided(BOX).astype(np.float32), PIXEL_A)
    (folder / "job.toml").write_text(f'[options]\nparticles = "{tmp_path}/a.star"\n')
    return folder


def table_of(path):
    return read_particles(path, need_images=False).table


def test_star_is_the_jobs_own(job, tmp_path):
    assert main(["export", str(job), "-o", str(tmp_path / "out.star")]) == 0
    assert (tmp_path / "out.star").read_bytes() == (job / "particles.star").read_bytes()


def test_pkl_has_poses_of_the_chosen_rows_as_fractions_of_the_box(job, tmp_path):
    write_indices(tmp_path / "ind.pkl", np.array([4, 1]))
    arguments = ["export", str(job), "-o", str(tmp_path / "pose.pkl"), "--ind", str(tmp_path / "ind.pkl")]
    assert main(arguments) == 0
    poses, table = read_poses(tmp_path / "pose.pkl"), table_of(job / "particles.star")
    assert np.allclose(poses.rotations, table.rotations[[4, 1]], atol=1e-6)
    assert np.allclose(poses.shifts * BOX * PIXEL_A, table.shifts_A[[4, 1]], atol=1e-5)


def test_flip_turns_poses_and_maps(job, tmp_path):
    assert main(["export", str(job), "-o", str(tmp_path / "out.star"), "--flip"]) == 0
    before, after = table_of(job / "particles.star"), table_of(tmp_path / "out.star")
    assert np.allclose(after.rotations, flipped(before.rotations), atol=1e-6)
    assert np.array_equal(after.shifts_A, before.shifts_A)
    volume, pixel_size_A = read_map(tmp_path / "out_consensus.mrc")
    assert pixel_size_A == pytest.approx(PIXEL_A)
    assert np.array_equal(volume, flipped_map(read_map(job / "maps" / "consensus.mrc")[0]))


@pytest.mark.parametrize(
    ("name", "says"), [("out.csv", "no format '.csv'"), ("out.cs", "no such file"), ("taken.star", "there already")]
)
def test_what_cannot_be_exported_is_said_and_nothing_written(job, tmp_path, capsys, name, says):
    (tmp_path / "taken.star").write_text("precious")
    before = sorted(tmp_path.iterdir())
    assert main(["export", str(job), "-o", str(tmp_path / name)]) == 2
    assert says in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "taken.star").read_text() == "precious"
