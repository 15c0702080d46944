"""`info` finds every problem that is put into a file, with its rows, and none in a file that has none."""

import gzip
import json
import pickle

import mrcfile
import numpy as np
import pytest

from cryodrake.analysis.info.examine import examine
from cryodrake.analysis.info.report import row_words
from cryodrake.app.cli import main
from cryodrake.errors import InputError
from cryodrake.io.mrc import StackWriter, write_map

N = 6
OPTICS = "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n_rlnImageSize\n_rlnVoltage\n_rlnSphericalAberration\n"
COLUMNS = ("rlnImageName", "rlnOpticsGroup", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnAngleRot", "rlnAngleTilt",
           "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst")  # fmt: skip


def star(path, changes=(), columns=COLUMNS, extra_rows=()):
    """A good file but for the cells (row, column name, text) that are changed."""
    rows = [[f"{i + 1}@a.mrcs", "1", "15000.5", "14000", "30", "10", "20", "30", "1.5", "-2"] for i in range(N)]
    for row, name, text in changes:
        rows[row][COLUMNS.index(name)] = text
    body = "\n".join([*map(" ".join, rows), *extra_rows])
    head = "".join(f"_{name}\n" for name in columns)
    path.write_text(f"{OPTICS}1 1.5 16 300 2.7\n\ndata_particles\n\nloop_\n{head}{body}\n")
    return path


def stack(path, n=N, box=16, bad=()):
    images = np.random.default_rng(0).normal(size=(n, box, box)).astype(np.float32)
    for image, value in bad:
        images[image] = value
    with StackWriter(path, n, box, 1.5) as writer:
        writer.write(images)
    return path


def problems(path, **options):
    return [(p.what, (p.rows + 1).tolist()) for p in examine(path, **options).problems]


def test_a_good_file_has_none_and_says_what_it_is(tmp_path):
    stack(tmp_path / "a.mrcs")
    report = examine(star(tmp_path / "a.star"))
    assert not report.problems
    assert report.kind == "STAR file of particles, RELION 3.1 or later"
    assert {"pixel size 1.5 Å", "box 16 px", "poses", "stacks found: 1 of 1"} <= set(report.facts)
    assert report.lines()[-1].strip() == "no problems found"


def test_every_bad_cell_is_found_with_its_row(tmp_path):
    changes = [(0, "rlnDefocusU", "x"), (3, "rlnDefocusU", "1,5"), (2, "rlnImageName", "0@a.mrcs"), (5, "rlnImageName", "7@"),
               (4, "rlnOpticsGroup", "3"), (1, "rlnAnglePsi", "thirty")]  # fmt: skip
    found = dict(problems(star(tmp_path / "a.star", changes)))
    assert found.pop("rlnDefocusU is no number") == [1, 4]
    assert found.pop("rlnAnglePsi is no number") == [2]
    assert found.pop("rlnOpticsGroup is not in data_optics") == [5]
    assert list(found.values()) == [[3, 6]]


def test_every_absurd_number_is_found_with_its_row(tmp_path):
    changes = [(0, "rlnDefocusU", "nan"), (3, "rlnDefocusU", "9e9"), (2, "rlnOriginXAngst", "inf"), (4, "rlnOriginYAngst", "-7e7")]
    found = dict(problems(star(tmp_path / "a.star", changes)))
    assert found["rlnDefocusU is no finite number"] == [1]
    assert found["rlnDefocusU is not Å, such as 15000"] == [4]
    assert found["shift (rlnOrigin…) is no finite number"] == [3]
    assert found["shift (rlnOrigin…) is not a shift in Å"] == [5]
    in_um = [(i, f"rlnDefocus{axis}", "1.5") for i in range(N) for axis in "UV"]
    in_um[0] = (0, "rlnDefocusU", "nan")
    in_um_found = problems(star(tmp_path / "a.star", in_um))
    assert sum("in µm?" in what for what, _ in in_um_found) == 2
    assert in_um_found[0] == ("rlnDefocusU is no finite number", [1])
    no_number = [(i, name, "nan") for i in range(N) for name in ("rlnDefocusU", "rlnDefocusV")]
    assert dict(problems(star(tmp_path / "a.star", no_number)))["rlnDefocusV is no finite number"] == [1, 2, 3, 4, 5, 6]


def test_rows_of_another_length_are_all_found(tmp_path):
    path = star(tmp_path / "a.star", extra_rows=["7@a.mrcs 1", "8@a.mrcs" + " 1" * 12, "9@a.mrcs 1 2"])
    found = dict(problems(path))
    assert found["data_particles has fewer cells than its 10 columns"] == [7, 9]
    assert found["data_particles has more cells than its 10 columns"] == [8]


def test_shifts_that_relion_reads_as_none(tmp_path):
    columns = [name.replace("Angst", "") for name in COLUMNS]
    ((what, rows),) = problems(star(tmp_path / "a.star", columns=columns))
    assert "reads as no shifts" in what
    assert rows == [1, 2, 3, 4, 5, 6]


def test_a_row_that_cannot_be_read_hides_nothing_in_the_others(tmp_path):
    stack(tmp_path / "a.mrcs")
    changes = [(0, "rlnAngleTilt", "inf"), (1, "rlnDefocusU", "9e9"), (3, "rlnImageName", "999@a.mrcs"),
               (4, "rlnImageName", "0@a.mrcs"), (5, "rlnImageName", "3@a.mrcs")]  # fmt: skip
    path = star(tmp_path / "a.star", changes, extra_rows=["7@a.mrcs 1"])
    assert dict(problems(path)) == {
        "data_particles has fewer cells than its 10 columns": [7],
        "rlnAngleTilt is no finite number": [1],
        "rlnImageName is not an image and its stack, such as 000001@a.mrcs": [5],
        "rlnDefocusU is not Å, such as 15000": [2],
        f"{tmp_path}/a.mrcs has only 6 images": [4],
    }
    notes = examine(path).notes
    assert "left out of the rest are 3 of 7 particles, which cannot be read as a whole" in notes
    assert "2 rows name an image that another row has too, as after symmetry expansion: particle 3, 6" in notes
    every = star(tmp_path / "a.star", [(i, "rlnAngleTilt", "nan") for i in range(N)])
    assert problems(every) == [("rlnAngleTilt is no finite number", [1, 2, 3, 4, 5, 6])]
    assert "not examined" in examine(every).notes[-1]


def test_what_is_wrong_with_the_optics_hides_nothing_in_other_groups(tmp_path):
    path = star(tmp_path / "a.star", [(0, "rlnOpticsGroup", "2"), (1, "rlnOpticsGroup", "3"), (2, "rlnDefocusV", "-9e9")])
    path.write_text(path.read_text().replace("300 2.7\n", "300 2.7\n2 1.5 x 300 2.7\n01 1.5 16 300 2.7\n"))
    assert dict(problems(path)) == {
        "rlnImageSize is no number": [2],
        "rlnOpticsGroup is not in data_optics": [2],
        "rlnOpticsGroup is there twice": [3],
        "rlnDefocusV is not Å, such as 15000": [3],
    }


def test_where_the_examination_ends_is_said(tmp_path):
    path = star(tmp_path / "a.star")
    path.write_text(path.read_text().replace("_rlnDefocusV", "_rlnNothing"))
    report = examine(path)
    assert "lacks rlnDefocusV" in report.problems[0].what
    assert report.notes == ["the rest was not examined"]


def test_a_stack_that_is_missing_beside_others_is_a_problem(tmp_path):
    stack(tmp_path / "a.mrcs")
    path = star(tmp_path / "a.star", [(1, "rlnImageName", "1@b.mrcs"), (4, "rlnImageName", "2@b.mrcs")])
    assert problems(path) == [("the image stack b.mrcs is not there", [2, 5])]
    (tmp_path / "a.mrcs").unlink()
    report = examine(path, tmp_path / "elsewhere")
    assert not report.problems
    assert f"a.mrcs was looked for as {tmp_path}/elsewhere/a.mrcs" in report.notes[-1]
    assert report.lines()[-1].strip() == "the numbers are healthy; images not examined"


def test_stacks_that_do_not_fit(tmp_path):
    path = star(tmp_path / "a.star")
    stack(tmp_path / "a.mrcs", n=4)
    assert problems(path) == [(f"{tmp_path}/a.mrcs has only 4 images", [5, 6])]
    stack(tmp_path / "a.mrcs", box=12)
    ((what, rows),) = problems(path)
    assert "the box is not the 12 px" in what
    assert len(rows) == N
    (tmp_path / "a.mrcs").write_bytes((tmp_path / "a.mrcs").read_bytes()[:2000])
    assert "truncated" in problems(path)[0][0]
    (tmp_path / "a.mrcs").unlink()
    (tmp_path / "elsewhere").mkdir()
    assert not problems(path)  # not knowing is no problem
    stack(tmp_path / "elsewhere" / "a.mrcs", n=4)
    assert problems(path, datadir=tmp_path / "elsewhere")[0][1] == [5, 6]


def test_images_with_bad_pixels_are_found(tmp_path):
    path = stack(tmp_path / "a.mrcs", n=9, bad=[(2, np.nan), (4, 0.0), (8, np.inf)])
    assert problems(path) == [("pixels that are NaN", [3]), ("pixels that are infinite", [9]), ("all pixels are the same", [5])]
    mrcfile.write(tmp_path / "b.mrcs", np.ones((2, 7, 8), np.float32) * np.arange(8, dtype=np.float32), voxel_size=1.0)
    assert problems(tmp_path / "b.mrcs")[0] == ("images of 8 × 7 pixels are not square and even", [1, 2])
    write_map(tmp_path / "m.mrc", np.zeros((8, 8, 8), np.float32), 1.0)
    assert problems(tmp_path / "m.mrc")[0][0] == "all voxels are the same"
    mrcfile.write(tmp_path / "m.map", np.random.default_rng(0).normal(size=(6, 7, 8)).astype(np.float32), voxel_size=1.0)
    assert examine(tmp_path / "m.map").kind.startswith("MRC map of 8 × 7 × 6")
    assert problems(tmp_path / "m.map") == [("is not a cube", [])]


def test_two_particles_of_each_of_many_stacks_are_told_apart(tmp_path):
    """Rows of the stacks are mixed, and only one stack is too short."""
    path = star(tmp_path / "a.star", [(i, "rlnImageName", f"{i // 3 + 1}@{'abc'[i % 3]}.mrcs") for i in range(N)])
    for name, n in (("a", 2), ("b", 1), ("c", 2)):
        stack(tmp_path / f"{name}.mrcs", n=n)
    assert problems(path) == [(f"{tmp_path}/b.mrcs has only 1 images", [5])]


def dump(path, value):
    path.write_bytes(pickle.dumps(value))
    return path


def test_pickles_are_told_apart_and_judged(tmp_path):
    rotations, shifts = np.tile(np.eye(3), (5, 1, 1)), np.zeros((5, 2))
    rotations[3, 0, 0], shifts[1, 1] = -1, np.nan
    found = examine(dump(tmp_path / "pose.pkl", (rotations, shifts)))
    assert found.kind == "cryoDRGN's poses"
    assert [(p.what, p.rows.tolist()) for p in found.problems] == [
        ("rotation is no rotation", [3]),
        ("shift is no finite number", [1]),
    ]
    ctf = np.tile([128, 1.5, 15000, 14000, 30, 300, 2.7, 0.1, 0], (4, 1))
    assert examine(dump(tmp_path / "ctf.pkl", ctf)).kind == "cryoDRGN's CTF"
    ctf[2, 5] = 300000
    assert problems(dump(tmp_path / "ctf.pkl", ctf))[0][1] == [3]
    assert problems(dump(tmp_path / "ind.pkl", np.array([3, -1, 3, 7, 3]))) == [
        ("row number is below 0", [2]), ("row number is there already", [3, 5]),
    ]  # fmt: skip
    z = np.zeros((5, 8), np.float32)
    assert not problems(dump(tmp_path / "z.pkl", z))
    of_ten = np.random.default_rng(0).normal(size=(5, 10)).astype(np.float32)  # as many columns as a CTF with B-factors
    assert examine(dump(tmp_path / "z.pkl", of_ten)).kind == "cryoDRGN's latents"
    assert not problems(tmp_path / "z.pkl")
    (doubt,) = problems(dump(tmp_path / "z.pkl", np.zeros((5, 9))))
    assert doubt[0].startswith("9 columns as of a CTF")
    z[4, 2] = np.inf
    assert problems(dump(tmp_path / "z.pkl", z)) == [("values that are not finite", [5])]


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_hostile_pickles_are_refused_unread(tmp_path, capsys):
    itself = []
    itself.append(itself)
    deep = []
    for _ in range(300):
        deep = [deep]
    for value in (Touch(tmp_path / "ran"), [np.zeros(3), Touch(tmp_path / "ran")], {"a": 1}, "text", np.array([{}]), itself, b"x"):
        assert main(["info", str(dump(tmp_path / "a.pkl", value))]) == 2
        assert "PROBLEM" in capsys.readouterr().out
    (tmp_path / "a.pkl").write_bytes(b"]" * 100_000 + b"a" * 99_999 + b".")  # lists in lists in lists
    assert main(["info", str(tmp_path / "a.pkl")]) == 2
    assert not (tmp_path / "ran").exists()


def test_text_is_told_apart_and_judged(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("3\n1\n\n3\n")
    assert problems(path) == [("row number is there already", [3])]
    path.write_text("1.0\n2.0\n")
    assert examine(path).kind == "table of numbers"  # --ind takes whole numbers only
    path.write_text("# states\n1.5 2\n3 x\n4 5 6\n")
    assert problems(path) == [("is not 2 numbers", [3, 4])]
    stack(tmp_path / "a.mrcs")
    path.write_text("a.mrcs\nb.mrcs\n")
    ((what, rows),) = problems(path)
    assert what.startswith("the image stack b.mrcs is not there; tried: /")
    assert str(tmp_path / "b.mrcs") in what
    assert rows == [2]


def test_a_job_is_examined_as_a_whole(finished_job):
    job = finished_job()
    (job / "maps").mkdir()
    (job / "status.json").write_text(json.dumps({"state": "stopped"}))
    assert not examine(job).problems
    (job / "status.json").write_text(json.dumps({"state": "finished", "verdict": "converged"}))
    np.save(job / "latents.npy", np.zeros((4, 2)))
    write_map(job / "maps" / "consensus.mrc", np.full((8, 8, 8), np.nan, np.float32), 1.0)
    found = [what for what, _ in problems(job)]
    assert {"maps/half1_unfil.mrc is not there", "maps/fsc.csv is not there", "maps/consensus.mrc: pixels that are NaN"} <= set(
        found
    )
    assert any("latents.npy: has 4 rows" in what for what in found)
    (job / "status.json").write_text("{")
    assert "status.json" in problems(job)[0][0]


def test_a_job_whose_file_has_no_pixel_size_is_read_with_its_own(finished_job):
    job = finished_job("apix = 1.5")
    (job / "maps").mkdir()
    (job / "status.json").write_text(json.dumps({"state": "stopped"}))
    text = (job / "particles.star").read_text().replace("_rlnImagePixelSize", "_rlnNothing")
    (job / "particles.star").write_text(text)
    assert not examine(job).problems
    (job / "job.toml").write_text("[options]\n")
    assert "no pixel size" in problems(job)[0][0]


ATOM = "ATOM  {n:5d}  {name:<3} GLY {chain}{n:4d}    {x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}{b:6.2f}          {element:>2}\n"


def pdb(path, rows):
    """Atoms of (element, chain, x, y, z, occupancy, B-factor)."""
    keys = ("element", "chain", "x", "y", "z", "occupancy", "b")
    text = "".join(ATOM.format(n=i + 1, name=row[0] + str(i), **dict(zip(keys, row, strict=True))) for i, row in enumerate(rows))
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt") as file:
        file.write(text + "END\n")
    return path


def test_atomic_models(tmp_path):
    good = [("C", "A", 0, 0, 0, 1, 20), ("N", "A", 10, 0, 0, 0.5, 20), ("O", "B", 0, 20, 5, 1, 0)]
    for name in ("a.pdb", "a.pdb.gz"):
        report = examine(pdb(tmp_path / name, good))
        assert not report.problems
        assert report.facts == ["3 atoms, 2 chains: A, B", "0.04202 kDa", "extent 10 × 20 × 5 Å"]
    bad = [("C", "A", 0, 0, 0, 1, 20), ("N", "A", 0, 0, 0, 2, 20), ("X", "B", 0, 20, 5, 1, -3)]
    assert problems(pdb(tmp_path / "a.pdb", bad)) == [
        ("is at the place of another atom", [1, 2]), ("element is unknown", [3]), ("occupancy is not from 0 to 1", [2]),
        ("B-factor is negative, or no finite number", [3]),
    ]  # fmt: skip
    (tmp_path / "b.cif").write_text("data_x\n")
    assert "has no atoms" in problems(tmp_path / "b.cif")[0][0]


def test_a_folder_of_jobs_is_a_list_of_them(tmp_path):
    for name, status in (("a", {"state": "finished", "verdict": "it\nconverged"}), ("in/b", {"state": "running"}), ("c", None)):
        (tmp_path / "jobs" / name).mkdir(parents=True)
        (tmp_path / "jobs" / name / "job.toml").write_text("")
        if status is not None:
            (tmp_path / "jobs" / name / "status.json").write_text(json.dumps(status))
    report = examine(tmp_path / "jobs")
    assert report.kind == "folder of 3 jobs"
    assert report.facts == ["a: finished; it converged", "in/b: running"]
    assert [problem.what.split(": ")[0] for problem in report.problems] == [f"{tmp_path}/jobs/c/status.json"]
    (tmp_path / "empty").mkdir()
    for name, says in (("empty", "the folder holds no job"), ("nothing", "there is no such file")):
        with pytest.raises(InputError, match=says):
            examine(tmp_path / name)


def test_exit_codes_and_words(tmp_path, capsys):
    stack(tmp_path / "a.mrcs")
    assert main(["info", str(star(tmp_path / "a.star"))]) == 0
    assert "no problems found" in capsys.readouterr().out
    changes = [(i, "rlnDefocusU", "x") for i in (0, 1, 2, 5)]
    assert main(["info", str(star(tmp_path / "a.star", changes))]) == 2
    said = capsys.readouterr()
    assert "PROBLEM: rlnDefocusU is no number: particle 1-3, 6\n" in said.out
    assert "a.star: 1 problem" in said.err
    for name in ("none.star", "a.xyz"):
        (tmp_path / "a.xyz").write_text("")
        assert main(["info", str(tmp_path / name)]) == 2


def test_ranges_of_rows():
    assert row_words(np.array([0, 1, 2, 6, 8, 9])) == "1-3, 7, 9-10"
    assert row_words(np.arange(0, 100, 2), 3) == "1, 3, 5 and 47 more"
    assert row_words(np.arange(0, 100, 2), None).endswith("97, 99")


@pytest.mark.parametrize("kind", ["star", "cs", "mrcs", "pkl", "txt"])
def test_a_damaged_file_is_a_report_and_never_a_fault(tmp_path, kind):
    """Bytes are changed, cut out and put in at random."""
    rng = np.random.default_rng(1)
    path = tmp_path / f"x.{kind}"
    if kind == "star":
        star(path)
    elif kind == "cs":
        array = np.zeros(4, [("uid", "<u8"), ("blob/path", "S6"), ("blob/idx", "<u4"), ("blob/shape", "<u4", (2,)),
                             ("blob/psize_A", "<f4"), ("alignments3D/pose", "<f4", (3,))])  # fmt: skip
        array["uid"], array["blob/path"], array["blob/shape"], array["blob/psize_A"] = np.arange(4), b"a.mrc", 16, 1.5
        with open(path, "wb") as file:
            np.save(file, array)
    elif kind == "mrcs":
        stack(path, n=2)
    elif kind == "pkl":
        dump(path, (np.tile(np.eye(3), (5, 1, 1)), np.zeros((5, 2))))
    else:
        path.write_text("1 2 3\n4 5 6\n7 8 9\n")
    good = path.read_bytes()
    for _ in range(150):
        content = bytearray(good)
        for _ in range(rng.integers(1, 5)):
            place = int(rng.integers(0, min(len(content), 1500)))
            length = int(rng.integers(0, 6))
            content[place : place + length] = rng.integers(0, 256, rng.integers(0, 6), dtype=np.uint8).tobytes()
        path.write_bytes(content)
        try:
            examine(path)
        except InputError:
            pytest.fail("an existing file has a report")
