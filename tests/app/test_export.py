"""Exported particles carry the job's poses; --flip changes the hand of poses and maps together."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryodrake.analysis.export_particles import flipped
from cryodrake.app.cli import main
from cryodrake.app.export import flipped_map
from cryodrake.io.cryodrgn import read_latents, read_poses, write_indices
from cryodrake.io.mrc import StackWriter, read_map, write_map
from cryodrake.io.particles import read_particles
from cryodrake.io.relion_write import write_new_star
from cryodrake.io.rows import read_rows, write_rows
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


def test_flip_turns_the_maps_of_states_too(job, tmp_path):
    (job / "maps" / "states").mkdir()
    state = lopsided(BOX).astype(np.float32) ** 2
    write_map(job / "maps" / "states" / "state_00.mrc", state, PIXEL_A)
    assert main(["export", str(job), "-o", str(tmp_path / "out.star"), "--flip"]) == 0
    assert main(["export", str(job), "-o", str(tmp_path / "drgn"), "--flip"]) == 0
    for path in (tmp_path / "out_states_state_00.mrc", tmp_path / "drgn" / "states_state_00.mrc"):
        assert np.array_equal(read_map(path)[0], flipped_map(state))
    (tmp_path / "out.star").unlink()
    assert main(["export", str(job), "-o", str(tmp_path / "out.star"), "--flip"]) == 2  # not over the maps
    assert not (tmp_path / "out.star").exists()


def test_flip_turns_the_half_maps_of_every_class(job, tmp_path):
    """As each class's poses are turned over with the others."""
    for c in (1, 2):
        for part in ("maps", "maps/states"):
            (job / "classes" / f"class_{c:02d}" / part).mkdir(parents=True)
        for i, name in enumerate(("half1_unfil", "half2_unfil", "states/state_00")):
            path = job / "classes" / f"class_{c:02d}" / "maps" / f"{name}.mrc"
            write_map(path, (c + i) * lopsided(BOX).astype(np.float32), PIXEL_A)
    assert main(["export", str(job), "-o", str(tmp_path / "out.star"), "--flip"]) == 0
    assert main(["export", str(job), "-o", str(tmp_path / "drgn"), "--flip"]) == 0
    for c in (1, 2):
        for i, name in enumerate(("half1_unfil", "half2_unfil", "states_state_00")):
            for path in (tmp_path / f"out_class_{c:02d}_{name}.mrc", tmp_path / "drgn" / f"class_{c:02d}_{name}.mrc"):
                np.testing.assert_allclose(read_map(path)[0], flipped_map((c + i) * lopsided(BOX)), rtol=1e-6)
    assert (tmp_path / "out_consensus.mrc").exists()


def test_states_and_classes_are_columns_that_were_not_there(job, tmp_path):
    latents = np.random.default_rng(1).normal(size=(N, 2)).astype(np.float32)
    np.save(job / "latents.npy", latents)
    (job / "analysis").mkdir()
    np.save(job / "analysis" / "labels.npy", np.array([0, 2, 1, 1, 0, 2]))
    assert main(["export", str(job), "-o", str(tmp_path / "out.star"), "--classes"]) == 0
    source = read_particles(tmp_path / "out.star", need_images=False).raw.source
    for i in range(2):
        np.testing.assert_array_equal(source.values(f"cryodrakeLatent{i + 1}").astype(np.float32), latents[:, i])
    assert source.values("rlnClassNumber").tolist() == [1, 3, 2, 2, 1, 3]  # RELION's first class is 1
    before = read_particles(job / "particles.star", need_images=False).raw.source
    for name in before.particles:
        assert source.particles[name].tolist() == before.particles[name].tolist()


def test_a_folder_holds_all_of_cryodrgns_files(job, tmp_path):
    latents = np.arange(2.0 * N).reshape(N, 2)
    np.save(job / "latents.npy", latents)
    write_rows(tmp_path / "ind.txt", np.array([5, 0, 3]))
    assert main(["export", str(job), "-o", str(tmp_path / "drgn"), "--ind", str(tmp_path / "ind.txt")]) == 0
    folder, table = tmp_path / "drgn", table_of(job / "particles.star")
    assert np.allclose(read_poses(folder / "pose.pkl").rotations, table.rotations[[5, 0, 3]], atol=1e-6)
    assert read_latents(folder / "z.pkl")[0].tolist() == latents[[5, 0, 3]].tolist()
    assert read_rows(folder / "ind.pkl").tolist() == [5, 0, 3]
    assert not (folder / "ctf.pkl").exists()  # this job has none


def onto_job(job, tmp_path, box_small=8, rows=(4, 0, 2, 5)):
    """The job of `rows` of particles scaled to a smaller box, and their full-size originals of RELION 3.0 and 3.1."""
    small = table_of(job / "particles.star").select(np.array(rows))
    small = replace(small, pixel_size_A=np.full(len(rows), PIXEL_A * BOX / box_small), box=np.full(len(rows), box_small))
    images = [f"{i + 1}@full.mrcs" for i in range(N)]
    extra = {"rlnImageOriginalName": np.array([images[i] for i in rows])}
    (job / "particles.star").unlink()
    write_new_star(job / "particles.star", small, ("small.mrcs",), np.zeros(len(rows), np.int64), np.arange(len(rows)), extra)
    old = "data_\n\nloop_\n_rlnImageName #1\n_rlnDetectorPixelSize #2\n_rlnMagnification #3\n_rlnNote #4\n"
    (tmp_path / "old.star").write_text(old + "".join(f'{name} {PIXEL_A} 10000 "a  {i}"\n' for i, name in enumerate(images)))
    optics = f"data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n_rlnImageSize #3\n7 {PIXEL_A} {BOX}\n\n"
    new = "data_particles\n\nloop_\n_rlnImageName #1\n_rlnOpticsGroup #2\n_rlnNote #3\n"
    (tmp_path / "new.star").write_text(optics + new + "".join(f'{name} 7 "a  {i}"\n' for i, name in enumerate(images)))
    return small, rows


@pytest.mark.parametrize("version", ["old", "new"])
def test_poses_return_to_the_full_size_stack(job, tmp_path, version, capsys):
    small, rows = onto_job(job, tmp_path)
    assert main(["export", str(job), "-o", str(tmp_path / "out.star"), "--onto", str(tmp_path / f"{version}.star")]) == 0
    assert "4 particles" in capsys.readouterr().out
    found = read_particles(tmp_path / "out.star", need_images=False)
    order = np.argsort(rows)  # rows are in the order of the original
    assert found.index.tolist() == sorted(rows)
    assert found.raw.stack_names == ("full.mrcs",)
    assert found.raw.source.particles["rlnNote"].tolist() == [f'"a\x1f\x1f{i}"' for i in sorted(rows)]
    np.testing.assert_allclose(found.table.rotations, small.rotations[order], atol=1e-6)
    np.testing.assert_allclose(found.table.shifts_A, small.shifts_A[order], atol=1e-5)
    assert found.table.pixel_size_A.tolist() == [PIXEL_A] * 4
    in_pixels = found.raw.source.columns(("rlnOriginX", "rlnOriginY"))
    if version == "old":
        np.testing.assert_allclose(in_pixels, small.shifts_A[order] / PIXEL_A, atol=1e-5)
    else:
        assert in_pixels is None  # RELION 3.1 would read them as no shifts
    assert main(["export", str(job), "-o", str(tmp_path / "drgn"), "--onto", str(tmp_path / "new.star")]) == 0
    assert read_rows(tmp_path / "drgn" / "ind.pkl").tolist() == sorted(rows)
    np.testing.assert_allclose(read_poses(tmp_path / "drgn" / "pose.pkl").shifts * BOX * PIXEL_A, small.shifts_A[order], atol=1e-5)


def test_a_pixel_size_that_was_corrected_is_right_on_the_original(job, tmp_path):
    """The smaller file kept the pixel size of the original, and the job was run with the true one."""
    small, rows = onto_job(job, tmp_path)
    text = (job / "particles.star").read_text()
    wrong = replace(small, pixel_size_A=np.full(4, PIXEL_A), shifts_A=small.shifts_A * 8 / BOX)  # the same pixels
    extra = {"rlnImageOriginalName": np.array([f"{i + 1}@full.mrcs" for i in rows])}
    (job / "particles.star").unlink()
    write_new_star(job / "particles.star", wrong, ("small.mrcs",), np.zeros(4, np.int64), np.arange(4), extra)
    assert (job / "particles.star").read_text() != text
    with (job / "job.toml").open("a") as file:
        file.write(f"apix = {PIXEL_A * BOX / 8}\n")
    assert main(["export", str(job), "-o", str(tmp_path / "out.star"), "--onto", str(tmp_path / "new.star")]) == 0
    np.testing.assert_allclose(table_of(tmp_path / "out.star").shifts_A, small.shifts_A[np.argsort(rows)], atol=1e-5)
    assert main(["export", str(job), "-o", str(tmp_path / "own.star")]) == 0
    assert (tmp_path / "own.star").read_bytes() == (job / "particles.star").read_bytes()


def test_particles_that_are_not_in_the_other_file_are_refused(job, tmp_path, capsys):
    onto_job(job, tmp_path)
    text = (tmp_path / "new.star").read_text()
    (tmp_path / "new.star").write_text(text.replace("5@full", "9@full"))
    assert main(["export", str(job), "-o", str(tmp_path / "out.star"), "--onto", str(tmp_path / "new.star")]) == 2
    assert "cannot be matched" in capsys.readouterr().err
    assert not (tmp_path / "out.star").exists()


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


def test_components_of_the_users_own_stay_in_a_cs(job, tmp_path):
    """A .cs that 3D variability has been through: our states come after its components."""
    blob = [("uid", "<u8"), ("blob/path", "S9"), ("blob/idx", "<u4"), ("blob/shape", "<u4", (2,)), ("blob/psize_A", "<f4")]
    array = np.zeros(N, [*blob, ("components_mode_0/component", "<u4"), ("components_mode_0/value", "<f4")])
    array["uid"], array["blob/idx"], array["blob/shape"], array["components_mode_0/value"] = np.arange(N) + 7, np.arange(N), BOX, 5
    array["blob/path"], array["blob/psize_A"] = b"a.mrcs", PIXEL_A
    with open(job / "particles.cs", "wb") as file:
        np.save(file, array)
    read_particles(job / "particles.cs", need_images=False).write_cs(
        job / "particles.cs", rotations=Rotation.random(N, rng=np.random.default_rng(2)).as_matrix()
    )
    latents = np.arange(2.0 * N, dtype=np.float32).reshape(N, 2)
    np.save(job / "latents.npy", latents)
    assert main(["export", str(job), "-o", str(tmp_path / "out.cs")]) == 0
    found = np.load(tmp_path / "out.cs")
    np.testing.assert_array_equal(found["components_mode_0/value"], 5)
    for i in range(2):
        np.testing.assert_array_equal(found[f"components_mode_{i + 1}/value"], latents[:, i])
        np.testing.assert_array_equal(found[f"components_mode_{i + 1}/component"], i + 1)
