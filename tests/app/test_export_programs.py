"""The programs that exported files are for open them: RELION's own, and the cryosparc-tools library. Skipped without."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryodrake.analysis.export_particles import flipped
from cryodrake.app.cli import main
from cryodrake.app.export import flipped_map
from cryodrake.io.mrc import StackWriter, read_map, write_map
from cryodrake.io.particles import read_particles
from cryodrake.io.relion_write import write_new_star
from cryodrake.io.table import ParticleTable

N, BOX, PIXEL_A, BLOB_A = 250, 32, 3.0, 7.0
ATOMS_A = np.array([[0.0, 0, 0], [18, 0, 0], [0, 15, 0], [0, 9, 21], [-12, -12, 6]])  # no mirror image of itself

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_relion = pytest.mark.skipif(shutil.which("relion_reconstruct") is None, reason="RELION is not installed")


def volume(atoms_A=ATOMS_A):
    z, y, x = (np.mgrid[:BOX, :BOX, :BOX] - BOX // 2) * PIXEL_A
    return sum(np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * BLOB_A**2)) for a, b, c in atoms_A)


def projections(rotations, shifts_A):
    """Closed form: an atom at x is seen at R x, moved by minus the shift."""
    y, x = (np.mgrid[:BOX, :BOX] - BOX // 2) * PIXEL_A
    images = np.zeros((len(rotations), BOX, BOX))
    for rotation, shift, image in zip(rotations, shifts_A, images, strict=True):
        for a, b, _ in ATOMS_A @ rotation.T:
            image += np.exp(-((x - a + shift[0]) ** 2 + (y - b + shift[1]) ** 2) / (2 * BLOB_A**2))
    return images


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's full-size stack and file without poses, its smaller copy, and a finished job on that."""
    folder = tmp_path_factory.mktemp("relion")
    rng = np.random.default_rng(0)
    rotations, shifts_A = Rotation.random(N, rng=rng).as_matrix(), rng.uniform(-9, 9, size=(N, 2))
    with StackWriter(folder / "full.mrcs", N, BOX, PIXEL_A) as stack:
        stack.write(projections(rotations, shifts_A))
    nothing = ParticleTable(np.full(N, PIXEL_A), np.zeros(N, np.int64), np.full(N, BOX))
    optics = {"rlnMicrographName": np.array([f"m{i % 7}.mrc" for i in range(N)])}
    write_new_star(folder / "full.star", nothing, (str(folder / "full.mrcs"),), np.zeros(N, np.int64), np.arange(N), optics)
    text = (folder / "full.star").read_text().replace("_rlnImagePixelSize #3", "_rlnImagePixelSize #3\n_rlnVoltage #4")
    text = text.replace("_rlnImageSize #4", "_rlnSphericalAberration #5\n_rlnImageSize #6").replace("#5\n1 ", "#7\n1 ")
    (folder / "full.star").write_text(text.replace(f"opticsGroup1 {PIXEL_A:g}", f"opticsGroup1 {PIXEL_A:g} 300 2.7"))
    assert main(["downsample", str(folder / "full.star"), "-o", str(folder / "small.star"), "--box", "24"]) == 0
    (folder / "job" / "maps").mkdir(parents=True)
    read_particles(folder / "small.star").write_star(
        folder / "job" / "particles.star", rotations, shifts_A, half_set=np.arange(N) % 2 + 1, confidence=np.ones(N)
    )
    write_map(folder / "job" / "maps" / "consensus.mrc", volume().astype(np.float32), PIXEL_A)
    np.save(folder / "job" / "latents.npy", rng.normal(size=(N, 3)).astype(np.float32))
    np.save(folder / "job" / "classes.npy", np.arange(N) % 2)
    (folder / "job" / "job.toml").write_text(f'[options]\nparticles = "{folder}/small.star"\n')
    return folder


def run(*words, cwd):
    done = subprocess.run(list(map(str, words)), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_relion
@pytest.mark.parametrize("flip", [False, True])
def test_relion_reconstructs_the_map_from_the_full_size_stack(folder, tmp_path, flip):
    out = tmp_path / "out.star"
    arguments = ["export", str(folder / "job"), "-o", str(out), "--onto", str(folder / "full.star")]
    assert main([*arguments, *["--flip"] * flip]) == 0
    run("relion_reconstruct", "--i", out, "--o", "map.mrc", cwd=tmp_path)
    found, pixel_size_A = read_map(tmp_path / "map.mrc")
    assert pixel_size_A == pytest.approx(PIXEL_A)
    truth = volume()
    wanted, other = (flipped_map(truth), truth) if flip else (truth, flipped_map(truth))
    assert correlation(found, wanted) > 0.97
    assert correlation(found, other) < 0.9
    if flip:
        np.testing.assert_allclose(read_map(tmp_path / "out_consensus.mrc")[0], wanted, atol=1e-6)


@needs_relion
def test_relion_reconstructs_one_class_from_the_smaller_stack(folder, tmp_path):
    out = tmp_path / "out.star"
    assert main(["export", str(folder / "job"), "-o", str(out), "--classes"]) == 0
    run("relion_reconstruct", "--i", out, "--o", "map.mrc", "--class", 2, cwd=tmp_path)
    found, pixel_size_A = read_map(tmp_path / "map.mrc")
    assert found.shape == (24, 24, 24)
    assert pixel_size_A == pytest.approx(PIXEL_A * BOX / 24, rel=1e-4)


@needs_relion
def test_relion_reads_and_writes_every_column(folder, tmp_path):
    out, again = tmp_path / "out.star", tmp_path / "again.star"
    assert main(["export", str(folder / "job"), "-o", str(out), "--onto", str(folder / "full.star"), "--classes"]) == 0
    run("relion_star_handler", "--i", out, "--o", again, "--select", "rlnRandomSubset", "--minval", 2, "--maxval", 2, cwd=tmp_path)
    ours = read_particles(out, need_images=False).select(np.arange(1, N, 2))
    theirs = read_particles(again, need_images=False)
    np.testing.assert_allclose(theirs.table.rotations, ours.table.rotations, atol=2e-6)
    np.testing.assert_allclose(theirs.table.shifts_A, ours.table.shifts_A, atol=2e-5)
    for column in ("rlnImageName", "rlnMicrographName", "rlnClassNumber"):
        mine = ours.raw.source.particles[column].iloc[ours.rows].tolist()
        assert theirs.raw.source.particles[column].tolist() == mine
    for i in range(3):  # RELION keeps columns that it does not know
        mine = ours.raw.source.values(f"cryodrakeLatent{i + 1}")[ours.rows]
        np.testing.assert_allclose(theirs.raw.source.values(f"cryodrakeLatent{i + 1}"), mine, rtol=1e-5)


@pytest.fixture
def cs_job(tmp_path):
    """A job on particles whose fields are split over a .cs and its passthrough, as cryoSPARC leaves them."""
    pytest.importorskip("cryosparc")
    rng = np.random.default_rng(0)
    blob = [("blob/path", "S20"), ("blob/idx", "<u4"), ("blob/shape", "<u4", (2,)), ("blob/psize_A", "<f4"), ("blob/sign", "<f4")]
    rest = np.zeros(5, dtype=[("uid", "<u8"), ("location/micrograph_uid", "<u8"), ("location/center_x_frac", "<f4"), *blob])
    aligned = np.zeros(5, dtype=[("uid", "<u8"), ("alignments2D/class", "<u4"), ("alignments2D/cross_cor", "<f4")])
    aligned["uid"] = rng.integers(2**62, 2**64, 5, dtype=np.uint64)
    aligned["alignments2D/cross_cor"] = rng.normal(size=5)
    rest["uid"], rest["location/micrograph_uid"] = aligned["uid"][::-1], np.arange(5)
    rest["blob/path"], rest["blob/idx"], rest["blob/shape"], rest["blob/psize_A"] = b">J1/stack.mrc", np.arange(5), 16, 2.5
    (tmp_path / "job").mkdir()
    for name, array in (("particles.cs", aligned), ("J5_passthrough_particles.cs", rest)):
        with open(tmp_path / name, "wb") as file:
            np.save(file, array)
    particles = read_particles(tmp_path / "particles.cs", need_images=False)
    poses = {
        "rotations": Rotation.random(5, rng=rng).as_matrix(),
        "shifts_A": rng.normal(size=(5, 2)),
        "half_set": np.arange(5) % 2 + 1,
    }
    particles.write_star(tmp_path / "job" / "particles.star", **poses)
    particles.write_cs(tmp_path / "job" / "particles.cs", **poses)
    np.save(tmp_path / "job" / "latents.npy", rng.normal(size=(5, 2)).astype(np.float32))
    np.save(tmp_path / "job" / "classes.npy", np.arange(5) % 3)
    (tmp_path / "job" / "job.toml").write_text(f'[options]\nparticles = "{tmp_path}/particles.cs"\n')
    return tmp_path, aligned, rest, poses


def test_cryosparc_tools_reads_our_cs_and_writes_the_same(cs_job):
    from cryosparc.dataset import Dataset

    folder, aligned, rest, poses = cs_job
    out = folder / "out.cs"
    assert main(["export", str(folder / "job"), "-o", str(out), "--classes"]) == 0
    data = Dataset.load(out)
    assert np.asarray(data["uid"]).tolist() == aligned["uid"].tolist()
    np.testing.assert_array_equal(data["alignments2D/cross_cor"], aligned["alignments2D/cross_cor"])
    np.testing.assert_array_equal(data["location/micrograph_uid"], rest["location/micrograph_uid"][::-1])  # joined on uid
    np.testing.assert_array_equal(data["components_mode_1/value"], np.load(folder / "job" / "latents.npy")[:, 1])
    assert np.asarray(data["alignments3D/class"]).tolist() == [0, 1, 2, 0, 1]
    pose = Rotation.from_rotvec(np.asarray(data["alignments3D/pose"], dtype=float)).as_matrix().transpose(0, 2, 1)
    np.testing.assert_allclose(pose, poses["rotations"], atol=1e-6)
    np.testing.assert_allclose(np.asarray(data["alignments3D/shift"]) * 2.5, poses["shifts_A"], atol=1e-6)
    data.save(folder / "again.cs")
    ours, theirs = np.load(out), np.load(folder / "again.cs")
    assert set(theirs.dtype.names) == set(ours.dtype.names)
    for name in ours.dtype.names:
        assert theirs[name].tolist() == ours[name].tolist(), name  # not bytes: it cuts strings to the longest


def test_flip_turns_the_poses_of_a_cs(cs_job):
    folder, _, _, poses = cs_job
    assert main(["export", str(folder / "job"), "-o", str(folder / "out.cs"), "--flip"]) == 0
    after = read_particles(folder / "out.cs", need_images=False).table
    np.testing.assert_allclose(after.rotations, flipped(poses["rotations"]), atol=1e-6)
    np.testing.assert_allclose(after.shifts_A, poses["shifts_A"], atol=1e-6)


def test_results_go_onto_another_cs_by_uid(cs_job):
    folder, aligned, rest, poses = cs_job
    order = np.array([3, 0, 4, 1, 2])
    full = rest[order]
    full["blob/shape"], full["blob/psize_A"] = 64, 0.625
    (folder / "full").mkdir()
    with open(folder / "full" / "p.cs", "wb") as file:
        np.save(file, full)
    assert main(["export", str(folder / "job"), "-o", str(folder / "out.cs"), "--onto", str(folder / "full" / "p.cs")]) == 0
    array = np.load(folder / "out.cs")
    assert array["uid"].tolist() == full["uid"].tolist()
    place = [aligned["uid"].tolist().index(uid) for uid in array["uid"].tolist()]
    np.testing.assert_allclose(array["alignments3D/shift"] * 0.625, poses["shifts_A"][place], atol=1e-6)
    assert (array["blob/shape"] == 64).all()


@pytest.mark.parametrize("path", sorted(DATA.glob("meta/*.cs")), ids=lambda path: path.name)
def test_cryosparc_tools_reads_real_files_of_ours_and_writes_the_same(path, tmp_path):
    dataset = pytest.importorskip("cryosparc.dataset")
    particles = read_particles(path, need_images=False)
    particles.write_cs(tmp_path / "out.cs", rotations=particles.table.rotations[::-1].copy())
    dataset.Dataset.load(tmp_path / "out.cs").save(tmp_path / "again.cs")
    before, ours, theirs = (np.load(p) for p in (path, tmp_path / "out.cs", tmp_path / "again.cs"))
    for name in before.dtype.names:
        assert theirs[name].tolist() == ours[name].tolist(), name
        assert name == "alignments3D/pose" or theirs[name].tolist() == before[name].tolist(), name
