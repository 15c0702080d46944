"""Real files of the field go in and come out unchanged. They are not in the repository: skipped without."""

import pickle
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryodrake.io.atoms import read_atoms
from cryodrake.io.cryodrgn import read_ctf, write_ctf
from cryodrake.io.mrc import read_map
from cryodrake.io.particles import ParticleFile, read_particles
from cryodrake.io.table import ParticleTable

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no real data here")
META = sorted(DATA.glob("meta/*.star")) + sorted(DATA.glob("meta/*.cs"))
IMAGES = sorted(DATA.glob("images/*.star")) + sorted(DATA.glob("images/*.cs"))


def read(path: Path) -> ParticleFile:
    return read_particles(path, need_images=path.parent.name == "images")


def same_table(a: ParticleTable, b: ParticleTable, atol: float) -> None:
    for name in ("pixel_size_A", "rotations", "shifts_A", "half_set", "confidence", "box", "optics_group"):
        ours, theirs = getattr(a, name), getattr(b, name)
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            np.testing.assert_allclose(ours, theirs, atol=atol, rtol=1e-7, err_msg=name)
    assert (a.ctf is None) == (b.ctf is None)
    if a.ctf is not None and b.ctf is not None:
        for name in vars(a.ctf):
            np.testing.assert_allclose(getattr(a.ctf, name), getattr(b.ctf, name), rtol=1e-8, err_msg=name)


@pytest.mark.parametrize("path", META + IMAGES, ids=lambda path: path.name)
def test_poses_given_back_leave_the_file_as_it_was(path: Path, tmp_path: Path) -> None:
    particles = read(path)
    table, out = particles.table, tmp_path / path.name
    rotations = None if table.rotations is None else table.rotations.astype(np.float32)
    write = particles.write_cs if path.suffix == ".cs" else particles.write_star
    write(out, rotations, table.shifts_A, table.half_set)
    assert out.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", META + IMAGES, ids=lambda path: path.name)
def test_new_poses_come_back(path: Path, tmp_path: Path) -> None:
    particles = read(path)
    rng = np.random.default_rng(0)
    if particles.table.rotations is None:
        rotations = np.tile(np.eye(3), (particles.n, 1, 1))
    else:
        rotations = particles.table.rotations[::-1].transpose(0, 2, 1).copy()
    shifts_A, half_set = rng.normal(size=(particles.n, 2)), np.arange(particles.n) % 2 + 1
    out = tmp_path / path.name
    write = particles.write_cs if path.suffix == ".cs" else particles.write_star
    write(out, rotations, shifts_A, half_set)
    after = read_particles(out, need_images=False).table
    np.testing.assert_allclose(after.rotations, rotations, atol=1e-6)
    np.testing.assert_allclose(after.shifts_A, shifts_A, atol=1e-5)
    np.testing.assert_array_equal(after.half_set, half_set)


@pytest.mark.parametrize("path", META + IMAGES, ids=lambda path: path.name)
def test_new_poses_of_chosen_rows_change_nothing_that_is_not_ours(path: Path, tmp_path: Path) -> None:
    particles = read(path)
    rng = np.random.default_rng(2)
    rows = rng.permutation(particles.n)[: max(2, particles.n // 3)]
    chosen = particles.select(rows)
    rotations, shifts_A = np.tile(np.eye(3), (len(rows), 1, 1)), rng.normal(size=(len(rows), 2))
    out = tmp_path / path.name
    write = chosen.write_cs if path.suffix == ".cs" else chosen.write_star
    write(out, rotations, shifts_A, half_set=rng.permutation(len(rows)) % 2 + 1, extra={"new": np.arange(len(rows))})
    before, after = particles.raw.source, read_particles(out, need_images=False).raw.source
    if path.suffix == ".cs":
        ours = {"alignments3D/pose", "alignments3D/shift", "alignments3D/split"}
        for name in set(before.array.dtype.names) - ours:
            assert after.array[name].tobytes() == before.array[name][rows].tobytes(), name
        return
    ours = {"rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnRandomSubset", *before.shift_names}
    for name in set(before.particles.columns) - ours:
        assert after.particles[name].tolist() == before.particles[name].iloc[rows].tolist(), name
    assert {k: v for k, v in after.star.blocks.items() if v} == {k: v for k, v in before.star.blocks.items() if v}
    assert after.star.preamble == before.star.preamble


@pytest.mark.parametrize("path", [p for p in META + IMAGES if p.suffix == ".cs"], ids=lambda path: path.name)
def test_cs_as_star(path: Path, tmp_path: Path) -> None:
    particles = read(path)
    particles.write_star(tmp_path / "out.star")
    same_table(read_particles(tmp_path / "out.star", need_images=False).table, particles.table, atol=1e-6)


def test_cryodrgn_ctf(tmp_path: Path) -> None:
    path = DATA / "meta" / "empiar10028_ctf.pkl"
    loaded = read_ctf(path)
    group = np.zeros(len(loaded.box), dtype=np.int64)
    table = ParticleTable(loaded.pixel_size_A, group, loaded.box.astype(np.int64), loaded.ctf)
    write_ctf(tmp_path / "ctf.pkl", table)
    theirs = pickle.loads(path.read_bytes().replace(b"numpy.core", b"numpy._core"))
    ours = pickle.loads((tmp_path / "ctf.pkl").read_bytes())
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_images_are_mrcfiles(path: Path) -> None:
    particles = read(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a stack without MAP and machine stamp
        data = mrcfile.open(particles.stack_paths[0], permissive=True).data
    sign = -1 if path.suffix == ".cs" else 1
    rows = np.arange(particles.n)[::-1]
    np.testing.assert_array_equal(particles.read_images(rows), sign * data[particles.index[rows]])


def test_trpv1_is_white_on_black_and_signed_cs_as_well() -> None:
    for name in ("trpv1_small_stack.star", "empiar_10076_7.cs"):
        particles = read(DATA / "images" / name)
        images = particles.read_images(np.arange(particles.n))
        y, x = np.mgrid[: images.shape[1], : images.shape[2]] - images.shape[1] // 2
        radius = np.hypot(x, y) / images.shape[1]
        assert images[:, radius < 0.2].mean() > images[:, radius > 0.42].mean(), name


@pytest.mark.parametrize(
    ("name", "pixel_size_A"),
    [("ribosome80S_100px_4.0A", 4.0), ("betagal_D2_100px_3.54A", 3.54), ("groel_D7_100px_2.70A", 2.70), ("trpv1_48px", 4.88)],
)
def test_maps(name: str, pixel_size_A: float) -> None:
    volume, found_A = read_map(DATA / "maps" / f"{name}.mrc")
    assert found_A == pytest.approx(pixel_size_A)
    with mrcfile.open(DATA / "maps" / f"{name}.mrc") as mrc:
        np.testing.assert_array_equal(volume, mrc.data)


@pytest.mark.parametrize(("name", "n", "chains"), [("4v6x_human80S.cif.gz", 237_685, 89), ("1wcm_PolII.pdb.gz", 30_945, 12)])
def test_models(name: str, n: int, chains: int) -> None:
    atoms = read_atoms(DATA / "models" / name)
    assert len(atoms) == n
    assert len(set(atoms.chain)) == chains
