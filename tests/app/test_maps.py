"""`cryodrake fsc`, `mask` and `emdb`: what they write is right, and maps that do not go together are refused."""

import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from cryodrake.app.cli import main
from cryodrake.app.export import flipped_map
from cryodrake.io.mrc import read_map, write_map
from cryodrake.io.relion_write import write_new_star
from cryodrake.io.table import CTFColumns, ParticleTable

BOX, PIXEL_A, N = 32, 4.0, 50


def lopsided():
    axis = torch.arange(BOX, dtype=torch.float32) - BOX // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    places = [(0, 0, 0), (5, 0, 0), (0, 4, 2), (-3, -3, 4)]
    return sum(torch.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 6) for a, b, c in places)


def noise(seed, amount=0.3):
    return amount * torch.randn(BOX, BOX, BOX, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def job(tmp_path):
    """A finished ab initio job: a map, half maps of independent noise, one state, particles."""
    job = tmp_path / "job"
    (job / "maps" / "states").mkdir(parents=True)
    write_map(job / "maps" / "consensus.mrc", lopsided().numpy(), PIXEL_A)
    for folder, prefix, first in (("maps", "", 0), ("maps/states", "state_00_", 2)):
        for i in (1, 2):
            write_map(job / folder / f"{prefix}half{i}_unfil.mrc", (lopsided() + noise(first + i)).numpy(), PIXEL_A)
    write_map(job / "maps" / "states" / "state_00.mrc", (2 * lopsided()).numpy(), PIXEL_A)
    full = [np.full(N, value) for value in (300.0, 2.7, 0.1)]
    ctf = CTFColumns(*full, np.linspace(9000, 19000, N), np.linspace(11000, 21000, N), *[np.zeros(N)] * 3)
    rotations = Rotation.random(N, rng=np.random.default_rng(0)).as_matrix()
    table = ParticleTable(np.full(N, PIXEL_A), np.zeros(N, int), np.full(N, BOX), ctf, rotations, np.zeros((N, 2)))
    write_new_star(job / "particles.star", table, ("a.mrcs",), np.zeros(N, int), np.arange(N))
    (job / "job.toml").write_text('command = "abinit"\n\n[options]\nparticles = "p.star"\n')
    (job / "status.json").write_text('{"state": "finished", "verdict": "converged: it did"}')
    return job


@pytest.fixture
def run(capsys):
    def run(*arguments):
        code = main([*map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def map_of(path):
    return read_map(path)[0]


def test_fsc_writes_its_curves_three_ways(job, run, tmp_path):
    halves = [job / "maps" / f"half{i}_unfil.mrc" for i in (1, 2)]
    assert run("mask", job / "maps" / "consensus.mrc", "-o", tmp_path / "mask.mrc")[0] == 0
    code, said, err = run("fsc", *halves, "--mask", tmp_path / "mask.mrc", "-o", tmp_path / "out")
    assert code == 0, err
    table = pd.read_csv(tmp_path / "out" / "fsc.csv")
    assert list(table) == ["frequency_inv_A", "fsc_unmasked", "fsc_masked", "fsc_randomised", "fsc_corrected"]
    assert table["frequency_inv_A"].to_numpy() == pytest.approx(np.arange(1, BOX // 2 + 1) / (BOX * PIXEL_A), rel=1e-5)
    points = ET.parse(tmp_path / "out" / "fsc.xml").getroot().iter("coordinate")
    frequency, curve = np.array([(float(point.findtext("x")), float(point.findtext("y"))) for point in points]).T
    assert frequency == pytest.approx(table["frequency_inv_A"].to_numpy(), abs=1e-6)
    assert curve == pytest.approx(table["fsc_corrected"].to_numpy(), abs=1e-6)
    # Gaussians 1.7 voxels wide and noise: signal at low frequency, none at high, and more agreement inside the mask.
    assert (table["fsc_masked"] > table["fsc_unmasked"]).iloc[:5].all()
    assert table["fsc_unmasked"].iloc[0] > 0.9
    assert abs(table["fsc_corrected"].iloc[-4:]).max() < 0.2
    below = table.index[table["fsc_corrected"] < 0.143][0]
    shown = float(said.split("corrected for the mask: 0.143 at ")[1].split()[0])
    assert 1 / table["frequency_inv_A"][below] <= shown <= 1 / table["frequency_inv_A"][below - 1]
    assert (tmp_path / "out" / "fsc.png").exists()
    assert run("fsc", *halves, "-o", tmp_path / "out")[0] == 2  # not over what is there


def test_what_makes_an_fsc_worthless_is_said(job, run, tmp_path):
    half = job / "maps" / "half1_unfil.mrc"
    assert "The two maps are the same" in run("fsc", half, half)[1]
    smooth = tmp_path / "smooth.mrc"
    write_map(smooth, map_of(half) + noise(9, 0.02).numpy(), PIXEL_A)
    assert "above 0.143 up to 8.00 Å, the limit of the voxels" in run("fsc", half, smooth)[1]
    inside = lopsided() > 0.3
    for i in (1, 2):
        write_map(tmp_path / f"cut{i}.mrc", (map_of(job / "maps" / f"half{i}_unfil.mrc") * inside.numpy()), PIXEL_A)
    assert "A map was masked already" in run("fsc", tmp_path / "cut1.mrc", tmp_path / "cut2.mrc")[1]
    write_map(tmp_path / "hard.mrc", inside.numpy().astype(np.float32), PIXEL_A)
    for i in (1, 2):
        write_map(tmp_path / f"high{i}.mrc", map_of(job / "maps" / f"half{i}_unfil.mrc") + 5, PIXEL_A)
    said = run("fsc", tmp_path / "high1.mrc", tmp_path / "high2.mrc", "--mask", tmp_path / "hard.mrc")[1]
    assert "The mask is tight or its edge hard" in said


def test_maps_that_do_not_go_together_are_refused(job, run, tmp_path):
    half = job / "maps" / "half1_unfil.mrc"
    write_map(tmp_path / "small.mrc", np.ones((16, 16, 16), np.float32), PIXEL_A)
    write_map(tmp_path / "coarse.mrc", lopsided().numpy(), 1.01 * PIXEL_A)
    write_map(tmp_path / "nan.mrc", np.full((BOX,) * 3, np.nan, np.float32), PIXEL_A)
    for name, says in (("small", "16 voxels a side"), ("coarse", "voxels of 4.0400 Å"), ("nan", "not finite")):
        code, _, err = run("fsc", half, tmp_path / f"{name}.mrc")
        assert (code, says in err) == (2, True), err
    code, _, err = run("fsc", half, half, "--mask", half)
    assert code == 2
    assert "expected: a mask: values from 0 to 1" in err
    assert run("fsc", half, tmp_path / "absent.mrc")[0] == 2


def test_the_mask_says_what_it_encloses(job, run, tmp_path):
    code, said, _ = run("mask", job / "maps" / "consensus.mrc", "-o", tmp_path / "m.mrc", "--mass-kDa", 40, "--extend-px", 1)
    assert code == 0
    assert "48,512 Å³" in said  # 758 voxels of 64 Å³, the number nearest to 40,000 × 1.212 / 64
    assert "as protein that is 40 kDa" in said
    mask = map_of(tmp_path / "m.mrc")
    assert (mask.min(), mask.max()) == (0, 1)
    for arguments, says in (
        (("--level", 1, "--mass-kDa", 3), "do not go together"),
        (("--extend-px", -1), "0 or a positive number"),
        (("--level", 99), "nothing in the low-passed map"),
    ):
        code, _, err = run("mask", job / "maps" / "consensus.mrc", "-o", tmp_path / "n.mrc", *arguments)
        assert (code, says in err) == (2, True), err
    assert "there already" in run("mask", job / "maps" / "consensus.mrc", "-o", tmp_path / "m.mrc")[2]


def test_a_deposition_has_all_that_emdb_asks_for(job, run, tmp_path):
    out = tmp_path / "entry"
    code, _, err = run("emdb", job, "-o", out)
    assert code == 0, err
    for name, source in (("emd_map", "consensus"), ("emd_half_map_1", "half1_unfil"), ("emd_half_map_2", "half2_unfil")):
        assert np.array_equal(map_of(out / f"{name}.mrc"), map_of(job / "maps" / f"{source}.mrc"))
    assert {read_map(out / f"emd_{name}.mrc")[1] for name in ("map", "half_map_1", "half_map_2", "mask")} == {PIXEL_A}
    with Image.open(out / "emd_image.png") as picture:
        assert picture.size == (500, 500)
        assert np.asarray(picture.convert("L")).std() > 10
    root = ET.parse(out / "emd_fsc.xml").getroot()
    assert (root.tag, root.get("xaxis"), root.get("yaxis")) == ("fsc", "Resolution (A-1)", "Correlation Coefficient")
    assert [[child.tag for child in point] for point in root] == [["x", "y"]] * (BOX // 2)
    text = (out / "checklist.txt").read_text()
    for words in ("32 × 32 × 32", "4.0000 Å", "300 kV", "1 to 2 µm", "50\n", "converged: it did", "none: ab initio"):
        assert words in text
    assert "the half sets" not in text
    shown = (out / "view.cxc").read_text()
    assert [line for line in shown.splitlines() if line.startswith("hide")] == [
        "hide #2 models",
        "hide #3 models",
        "hide #4 models",
    ]


def test_a_state_is_deposited_in_the_other_hand_with_its_mask(job, run, tmp_path):
    given = torch.zeros(BOX, BOX, BOX)
    given[4:28, 4:28, 4:20] = 1
    write_map(tmp_path / "mask.mrc", given.numpy(), PIXEL_A)
    out = tmp_path / "entry"
    assert run("emdb", job, "-o", out, "--state", 0, "--flip", "--mask", tmp_path / "mask.mrc", "--level", 0.7)[0] == 0
    assert np.array_equal(map_of(out / "emd_map.mrc"), flipped_map(2 * lopsided().numpy()))
    assert np.array_equal(map_of(out / "emd_mask.mrc"), flipped_map(given.numpy()))
    text = (out / "checklist.txt").read_text()
    assert "recommended contour level          0.7" in text
    assert "volume #1 style surface step 1 level 0.7 " in (out / "view.cxc").read_text()
    assert "It was changed (--flip)" in text
    assert "the half sets: poses of both" in text


def test_a_deposition_without_half_maps_is_refused(job, run, tmp_path):
    (job / "maps" / "half2_unfil.mrc").unlink()
    code, _, err = run("emdb", job, "-o", tmp_path / "entry")
    assert code == 2
    assert "half2_unfil.mrc: no such map" in err
    assert run("emdb", job, "-o", tmp_path / "entry", "--state", 7)[0] == 2
    (job / "classes").mkdir()
    assert f"cryodrake emdb {job}/classes/class_01" in run("emdb", job, "-o", tmp_path / "entry")[2]
    assert not (tmp_path / "entry").exists()
