"""`simulate` end to end: what it writes is read back with mrcfile and starfile, and held against formulas in numpy."""

import json
import math
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile
from scipy.spatial.transform import Rotation

from cryodrake.data import simulation
from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.errors import InputError
from cryodrake.io.mrc import write_map

BOX, PIXEL_A, RESOLUTION_A = 32, 4.0, 12.0
SMALL = {"n": 12, "box": BOX, "apix": PIXEL_A, "resolution_A": RESOLUTION_A}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A PDB file of 25 oxygens, and their centred positions."""
    rng = np.random.default_rng(11)
    positions = rng.normal(0, 9, (25, 3)).round(3)
    path = tmp_path_factory.mktemp("model") / "model.pdb"
    atoms = [
        f"ATOM  {i + 1:5d}  O   GLY A{i + 1:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           O  "
        for i, (x, y, z) in enumerate(positions)
    ]
    path.write_text("\n".join([*atoms, "END", ""]))
    return path, positions - positions.mean(axis=0)


def images_of(folder):
    with mrcfile.open(folder / "particles.mrcs", permissive=True) as file:
        return np.array(file.data)


def truth_of(folder):
    return starfile.read(folder / "truth" / "particles.star", always_dict=True)


def record_of(folder):
    return json.loads((folder / "truth" / "simulation.json").read_text())


def shells():
    axis = np.arange(BOX) - BOX // 2
    return np.hypot(axis[:, None], axis)


def slow_image(positions, row, optics, resolution_A, limit):
    """One clean image from the formulas up to |k| < limit; the angles of the STAR file become a matrix in scipy."""
    pixel_A = optics["rlnImagePixelSize"]
    # RELION's matrix is the transpose of scipy's; an atom at x is seen at R x.
    rotation = Rotation.from_euler("ZYZ", [row[f"rlnAngle{a}"] for a in ("Rot", "Tilt", "Psi")], degrees=True)
    seen = positions @ rotation.as_matrix()  # (Rᵀ_scipy x)ᵀ
    seen = seen[:, :2] - [row["rlnOriginXAngst"], row["rlnOriginYAngst"]]
    axis = np.arange(BOX) - BOX // 2
    ky, kx = np.meshgrid(axis, axis, indexing="ij")
    s = np.stack([kx, ky], -1) / (BOX * pixel_A)
    s2 = (s**2).sum(-1)
    projection = 8 * np.exp(-2j * np.pi * s @ seen.T).sum(-1) * np.exp(-s2 * resolution_A**2)
    volts = optics["rlnVoltage"] * 1e3
    wavelength_A = 12.2643247 / math.sqrt(volts * (1 + volts * 0.978466e-6))
    angle = np.arctan2(ky, kx) - math.radians(row["rlnDefocusAngle"])
    u, v = row["rlnDefocusU"], row["rlnDefocusV"]
    defocus_A = (u + v) / 2 + (u - v) / 2 * np.cos(2 * angle)
    cs_A = optics["rlnSphericalAberration"] * 1e7
    chi = np.pi * wavelength_A * s2 * defocus_A - np.pi / 2 * cs_A * wavelength_A**3 * s2**2
    w = optics["rlnAmplitudeContrast"]
    phase = chi + math.radians(row["rlnPhaseShift"])
    transfer = math.sqrt(1 - w**2) * np.sin(phase) + w * np.cos(phase)  # RELION: +w at the origin
    coeff = projection * transfer * np.exp(-row["rlnCtfBfactor"] * s2 / 4)
    coeff[(np.hypot(kx, ky) >= limit) | ((kx == 0) & (ky == 0)) | (kx == -BOX // 2) | (ky == -BOX // 2)] = 0
    image = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(coeff))).real
    # Density is per Å3 and a projection sums voxels of the nominal pixel size.
    return image / PIXEL_A**3


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"astigmatism_um": 0.8, "bfactor_A2": 80.0, "phase_shift_deg": 70.0, "voltage_kV": 200.0},
        {"optics_groups": 2, "group_spread": 0.06, "resolution_A": 20.0},
        {"form_box": 48},
    ],
    ids=["plain", "optics", "pixel sizes", "cropped"],
)
def test_clean_images_are_the_projections_of_the_atoms_with_the_ctf(tmp_path, model, options):
    path, positions = model
    config = {"structures": (path,), "snr": math.inf, **SMALL} | options
    folder = simulate(SimulateConfig(out=tmp_path / "d", **config))
    truth, images = truth_of(folder), images_of(folder)
    if "optics_groups" in options:
        assert truth["optics"]["rlnImagePixelSize"].tolist() == pytest.approx([0.94 * PIXEL_A, 1.06 * PIXEL_A])
    finer = options.get("form_box", BOX) / BOX  # images of 32 px cut from ones of 48 px have their corners filled
    for image, (_, row) in zip(images, truth["particles"].iterrows(), strict=True):
        optics = truth["optics"].set_index("rlnOpticsGroup").loc[row["rlnOpticsGroup"]]
        expected = slow_image(positions, row, optics, config["resolution_A"], finer * BOX / 2)
        # At finer pixels a projection sums more voxels of the same density; the orthonormal crop adds as much again.
        assert np.linalg.norm(image - finer**2 * expected) < 0.02 * np.linalg.norm(image)


def test_the_particle_file_has_optics_and_no_poses_and_the_truth_has_them(tmp_path, model):
    folder = simulate(SimulateConfig(out=tmp_path / "d", structures=(model[0],), shift_px=4, defocus_um=(1.0, 2.0), **SMALL))
    blocks = starfile.read(folder / "particles.star", always_dict=True)
    assert blocks["optics"].loc[0, ["rlnImagePixelSize", "rlnImageSize", "rlnVoltage"]].tolist() == [PIXEL_A, BOX, 300]
    assert not {"rlnAngleRot", "rlnOriginXAngst", "rlnClassNumber"} & set(blocks["particles"])
    truth = truth_of(folder)["particles"]
    assert truth["rlnImageName"].tolist() == [f"{i:06d}@particles.mrcs" for i in range(1, 13)]
    assert blocks["particles"]["rlnImageName"].tolist() == truth["rlnImageName"].tolist()
    shifts = truth[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy() / PIXEL_A
    assert np.abs(shifts).max() <= 4
    assert np.abs(shifts).max() > 2
    assert truth["rlnDefocusU"].between(10000, 20000).all()
    assert images_of(folder).shape == (12, BOX, BOX)
    with mrcfile.open(folder / "truth" / "volumes" / "state_000.mrc") as file:
        assert file.data.shape == (BOX,) * 3
        assert float(file.voxel_size.x) == pytest.approx(PIXEL_A)
    assert np.load(folder / "truth" / "state.npy").tolist() == [0] * 12


def test_snr_is_the_ratio_of_variances_over_all_pixels(tmp_path, model):
    config = {"structures": (model[0],), **SMALL, "n": 60}
    clean = images_of(simulate(SimulateConfig(out=tmp_path / "clean", snr=math.inf, **config)))
    noisy = images_of(simulate(SimulateConfig(out=tmp_path / "noisy", snr=0.25, **config)))
    noise = noisy - clean
    assert noise.std() ** 2 * 0.25 == pytest.approx(clean.std() ** 2, rel=0.02)
    assert record_of(tmp_path / "noisy")["noise_std"] == pytest.approx(clean.std() / 0.5, rel=1e-4)
    assert abs(np.corrcoef(noise[0].flatten(), noise[1].flatten())[0, 1]) < 0.1


@pytest.mark.parametrize("colour", [0.0, 2.0])
def test_the_noise_has_the_spectrum_asked_for(tmp_path, model, colour):
    config = {"structures": (model[0],), **SMALL, "n": 150, "noise_colour": colour}
    clean = images_of(simulate(SimulateConfig(out=tmp_path / "clean", snr=math.inf, **config)))
    noisy = images_of(simulate(SimulateConfig(out=tmp_path / "noisy", snr=1.0, **config)))
    power = (np.abs(np.fft.fftshift(np.fft.fft2(noisy - clean), axes=(1, 2))) ** 2).mean(0) / BOX**2
    shell = shells()
    expected = 0.1 + 0.9 / (1 + (shell / 5) ** 2) ** (colour / 2)
    expected *= clean.std() ** 2 / expected.mean()
    for s in range(0, BOX // 2, 3):
        ring = np.abs(shell - s - 1) <= 1.5
        assert power[ring].mean() == pytest.approx(expected[ring].mean(), rel=0.12)


def test_noise_is_added_before_the_crop(tmp_path, model):
    config = {"structures": (model[0],), "n": 20, "resolution_A": 12.0}
    clean = images_of(simulate(SimulateConfig(out=tmp_path / "clean", snr=math.inf, box=64, apix=2.0, **config)))
    folder = simulate(SimulateConfig(out=tmp_path / "noisy", snr=0.01, form_box=64, box=32, apix=4.0, **config))
    noisy, record = images_of(folder), record_of(folder)
    assert noisy.shape == (20, 32, 32)
    assert record["noise_std"] == pytest.approx(clean.std() / math.sqrt(0.01), rel=1e-4)
    # An orthonormal crop keeps the variance of white noise: that of a cropped pixel is that of a whole one, but for
    # the unpaired row and column.
    coeff = np.fft.fftshift(np.fft.fft2(clean, norm="ortho"), axes=(1, 2))[:, 16:48, 16:48]
    coeff[:, 0], coeff[:, :, 0] = 0, 0
    cropped = np.fft.ifft2(np.fft.ifftshift(coeff, axes=(1, 2)), norm="ortho").real
    assert (noisy - cropped).std() == pytest.approx(record["noise_std"] * 31 / 32, rel=0.02)


def test_the_cryobench_preset_is_its_published_recipe():
    recipe = SimulateConfig(out=Path("d"), preset="cryobench").recipe()
    assert (recipe.box, recipe.form_box, recipe.snr, recipe.shift_px, recipe.bfactor_A2) == (128, 256, 0.01, 20, 100)
    changed = SimulateConfig(out=Path("d"), preset="cryobench", snr=0.1, box=64).recipe()
    assert (changed.box, changed.form_box, changed.snr) == (64, 256, 0.1)
    assert SimulateConfig(out=Path("d"), box=96).recipe().form_box == 96


def test_chunks_change_nothing_and_the_seed_does(tmp_path, monkeypatch, model):
    config = {"structures": (model[0],), **SMALL, "n": 20, "scale_jitter": 0.2, "noise_colour": 1.0, "optics_groups": 2}
    first = images_of(simulate(SimulateConfig(out=tmp_path / "a", **config)))
    monkeypatch.setattr(simulation, "chunk_length", lambda box: 3)
    again = images_of(simulate(SimulateConfig(out=tmp_path / "b", **config)))
    assert np.allclose(again, first, rtol=0, atol=1e-6 * first.std())
    other = images_of(simulate(SimulateConfig(out=tmp_path / "c", seed=1, **config)))
    assert abs(np.corrcoef(other.flatten(), first.flatten())[0, 1]) < 0.1


def test_contrast_can_be_inverted_and_jittered(tmp_path, model):
    config = {"structures": (model[0],), "snr": math.inf, **SMALL}
    plain = images_of(simulate(SimulateConfig(out=tmp_path / "a", **config)))
    inverted = images_of(simulate(SimulateConfig(out=tmp_path / "b", invert=True, **config)))
    assert np.array_equal(inverted, -plain)
    jittered = images_of(simulate(SimulateConfig(out=tmp_path / "c", scale_jitter=0.3, **config)))
    factor = (jittered * plain).sum((1, 2)) / (plain**2).sum((1, 2))
    assert np.allclose(jittered, factor[:, None, None] * plain, atol=1e-5 * plain.std())
    assert 0.1 < np.log(factor).std() < 0.6


def test_images_can_be_empty(tmp_path, model):
    """The others are as they would be, noise included."""
    config = {"structures": (model[0],), "snr": 0.5, **SMALL}
    full = images_of(simulate(SimulateConfig(out=tmp_path / "a", **config)))
    folder = simulate(SimulateConfig(out=tmp_path / "b", empty_share=0.25, **config))
    some, empty = images_of(folder), np.load(folder / "truth" / "empty.npy")
    assert empty.sum() == round(0.25 * len(full))
    clean = images_of(simulate(SimulateConfig(out=tmp_path / "c", **config | {"snr": math.inf})))
    scale = (
        json.loads((folder / "truth" / "simulation.json").read_text())["noise_std"]
        / json.loads((tmp_path / "a" / "truth" / "simulation.json").read_text())["noise_std"]
    )  # of other images, whose power is not quite the same
    noise = full - clean
    assert abs(scale - 1) < 0.1
    assert np.allclose(some[empty], scale * noise[empty], atol=1e-4 * noise.std())
    assert np.allclose(some[~empty], (clean + scale * noise)[~empty], atol=1e-4 * noise.std())
    assert not (tmp_path / "a" / "truth" / "empty.npy").exists()


def test_optics_groups_have_their_own_noise(tmp_path, model):
    config = {"structures": (model[0],), **SMALL, "n": 60, "optics_groups": 2, "group_spread": 0.4}
    clean = images_of(simulate(SimulateConfig(out=tmp_path / "a", snr=math.inf, **config)))
    folder = simulate(SimulateConfig(out=tmp_path / "b", snr=0.5, **config))
    noise = images_of(folder) - clean
    group = truth_of(folder)["particles"]["rlnOpticsGroup"].to_numpy()
    assert noise[group == 2].std() / noise[group == 1].std() == pytest.approx(1.4 / 0.6, rel=0.03)


def test_each_map_is_a_state(tmp_path):
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(24, 24, 24)).astype(np.float32) for _ in range(3)]
    paths = [tmp_path / f"{i}.mrc" for i in range(3)]
    for path, volume in zip(paths, maps, strict=True):
        write_map(path, volume, 5.0)
    config = SimulateConfig(out=tmp_path / "d", structures=tuple(paths), n=10, box=24, snr=math.inf)
    folder = simulate(config)
    state = np.load(folder / "truth" / "state.npy")
    assert sorted(np.bincount(state).tolist()) == [3, 3, 4]
    assert truth_of(folder)["particles"]["rlnClassNumber"].tolist() == (state + 1).tolist()
    for i in range(3):
        with mrcfile.open(folder / "truth" / "volumes" / f"state_00{i}.mrc") as file:
            assert np.allclose(file.data, maps[i])
    # Images of a state are projections of that state alone: the power of each follows from its own map.
    only = simulate(SimulateConfig(out=tmp_path / "e", structures=(paths[1],), n=10, box=24, snr=math.inf))
    assert np.allclose(images_of(folder)[state == 1], images_of(only)[state == 1], atol=1e-4)


def test_poses_and_ctfs_can_come_from_a_particle_file(tmp_path, model):
    donor = simulate(SimulateConfig(out=tmp_path / "donor", structures=(model[0],), **SMALL, seed=7))
    source = donor / "truth" / "particles.star"
    config = {"structures": (model[0],), **SMALL, "poses_from": source, "ctf_from": source}
    taken = truth_of(simulate(SimulateConfig(out=tmp_path / "a", **config)))["particles"]
    columns = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst", "rlnDefocusU"]
    assert np.allclose(taken[columns], truth_of(donor)["particles"][columns], atol=1e-3)
    moved = truth_of(simulate(SimulateConfig(out=tmp_path / "b", shift_px=1.0, **config)))["particles"]
    assert moved[["rlnOriginXAngst", "rlnOriginYAngst"]].abs().to_numpy().max() <= PIXEL_A
    many = truth_of(simulate(SimulateConfig(out=tmp_path / "c", **(config | {"n": 30}))))["particles"]
    assert set(many["rlnDefocusU"]) <= set(taken["rlnDefocusU"])
    with pytest.raises(InputError, match="no orientations"):
        simulate(SimulateConfig(out=tmp_path / "d", **(config | {"poses_from": donor / "particles.star"})))


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not an empty folder"):
        simulate(SimulateConfig(out=tmp_path / "d", **SMALL))
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["mine.txt"]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch, model):
    def fail(*_):
        raise RuntimeError("in the middle")

    monkeypatch.setattr("cryodrake.data.simulation._add_noise", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        simulate(SimulateConfig(out=tmp_path / "d", structures=(model[0],), **SMALL))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"box": 33}, "--box"),
        ({"box": 64, "form_box": 32}, "--form-box"),
        ({"snr": 0.0}, "--snr"),
        ({"n": 0}, "--n"),
        ({"defocus_um": (2.5, 1.0)}, "--defocus-um"),
        ({"defocus_um": (10000.0, 20000.0)}, "--defocus-um"),
        ({"amplitude_contrast": 10.0}, "--amplitude-contrast"),
        ({"structures": (Path("a.mrc"), Path("b.pdb"))}, "--structures"),
    ],
)
def test_bad_options_are_named(tmp_path, options, option):
    with pytest.raises(InputError) as error:
        simulate(SimulateConfig(out=tmp_path / "d", **options))
    assert error.value.where == option


def test_progress_runs_from_nothing_to_one(tmp_path):
    seen = []
    simulate(SimulateConfig(out=tmp_path / "built-in", **SMALL), seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1
