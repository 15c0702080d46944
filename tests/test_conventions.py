"""The conventions of docs/conventions.md along the whole chain, from files to images, and that each paragraph has its tests.

RELION's own program and real images of TRPV1 are asked where they are at hand.
"""

import ast
import math
import pickle
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from cryodrake.data.coefficients_ctf import ctf_params
from cryodrake.data.density import gaussian_density
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.inference.likelihood import shift_phases
from cryodrake.io.mrc import read_map, write_map
from cryodrake.io.particles import read_particles
from cryodrake.io.table import CTFColumns, ParticleTable
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.ctf import CTFParams, ctf
from cryodrake.physics.disc import Disc
from cryodrake.physics.fourier import coeff_to_image, image_to_coeff
from cryodrake.physics.slices import raster, slice_ball
from cryodrake.training.config import AbinitConfig

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
D, PIXEL_A = 32, 5.0
EULER_DEG = np.array([[0.0, 0.0, 0.0], [30.0, 70.0, -50.0], [-120.0, 110.0, 15.0], [160.0, 20.0, 100.0]])
SHIFTS_A = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, -7.5], [4.0, 3.0]])

# The page


def paragraphs():
    """Heading and text of each section of the page."""
    page = (ROOT / "docs" / "conventions.md").read_text(encoding="utf-8")
    return re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("heading", "text"), paragraphs(), ids=[heading for heading, _ in paragraphs()])
def test_every_paragraph_names_tests_that_exist(heading, text):
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", text)
    assert named
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{path}::{name}"


def test_the_page_is_about_all_of_the_design():
    headings = {heading for heading, _ in paragraphs()}
    assert headings >= {"Arrays", "Rotations", "Shifts", "Contrast", "CTF", "Optics", "Half sets", "Hand", "Fourier transforms"}


# Arrays and units


def test_axes_and_centre(tmp_path):
    """An atom at (x, y, z) from the centre is at [z, y, x] of the map, in memory and in a file, and at [y, x] of its image."""
    x, y, z = 3, -5, 7
    c = D // 2
    density = gaussian_density(torch.tensor([[x, y, z]]) * PIXEL_A, torch.ones(1), D, PIXEL_A, 2.5 * PIXEL_A)
    assert np.unravel_index(int(density.argmax()), density.shape) == (c + z, c + y, c + x)
    write_map(tmp_path / "map.mrc", density.numpy(), PIXEL_A)
    with mrcfile.open(tmp_path / "map.mrc") as file:
        assert np.unravel_index(int(file.data.argmax()), file.data.shape) == (c + z, c + y, c + x)
        assert file.voxel_size.x == PIXEL_A
    image = project(density, np.zeros((1, 3)))[0]
    assert np.unravel_index(int(image.argmax()), image.shape) == (c + y, c + x)


def project(density, euler_deg, transfer=None, shifts_A=None):
    """Images (n d d) of a density by our model; angles become matrices in scipy."""
    disc, grid = Disc.build(D), BallGrid(D, D / 2, 3)
    rotation = torch.from_numpy(Rotation.from_euler("ZYZ", euler_deg, degrees=True).as_matrix().transpose(0, 2, 1)).float()
    values = torch.view_as_complex(slice_ball(raster(density, grid), grid, rotation, disc.kxy))
    if transfer is not None:
        values = values * transfer
    if shifts_A is not None:
        at_px = torch.from_numpy(-shifts_A / PIXEL_A).float()
        phase = -2 * math.pi / D * (at_px @ disc.kxy.T)
        values = values * torch.polar(torch.ones_like(phase), phase)
    return coeff_to_image(disc.scatter(values))


UNITS = {"A", "A2", "px", "um", "kV", "mm", "deg", "gib", "minutes"}
PLAIN = {
    "amplitude_contrast",
    "snr",
    "noise_colour",
    "scale_jitter",
    "group_spread",
    "preferred_share",
    "empty_share",
    "apix",
    "confidence",
}
PLAIN |= {"shares", "moving_share"}


@pytest.mark.parametrize("owner", [CTFParams, CTFColumns, ParticleTable, AbinitConfig, SimulateConfig])
def test_names_say_their_units(owner):
    for field in fields(owner):
        is_real = "float" in str(field.type).lower() and "rotations" not in field.name
        if is_real and field.name not in PLAIN:
            assert field.name.rsplit("_", 1)[-1] in UNITS, field.name


# Shifts and rotations


def test_a_stored_shift_brings_the_particle_to_the_centre(tmp_path):
    """A particle at t = (3, -2) px: its shift in RELION's file is -t; applied by scipy in real space, or by our phases."""
    c = D // 2
    axis = np.arange(D) - c
    image = np.exp(-((axis[None, :] - 3) ** 2 + (axis[:, None] + 2) ** 2) / (2 * 2.0**2)).astype(np.float32)
    with mrcfile.new(tmp_path / "a.mrcs") as file:
        file.set_data(image[None])
        file.set_image_stack()
    (tmp_path / "a.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n_rlnImageSize #3\n1 5.0 32\n\n"
        "data_particles\n\nloop_\n_rlnImageName #1\n_rlnOpticsGroup #2\n_rlnAngleRot #3\n_rlnAngleTilt #4\n_rlnAnglePsi #5\n"
        "_rlnOriginXAngst #6\n_rlnOriginYAngst #7\n000001@a.mrcs 1 0 0 0 -15.0 10.0\n"
    )
    particles = read_particles(tmp_path / "a.star")
    shift_px = particles.table.shifts_A / particles.table.pixel_size_A[:, None]
    by_scipy = ndimage.shift(image, shift_px[0, ::-1], order=3)  # scipy's order is (y, x)
    assert ndimage.center_of_mass(by_scipy) == pytest.approx((c, c), abs=0.05)
    disc = Disc.build(D)
    coeff = disc.gather(image_to_coeff(torch.from_numpy(particles.read_images(np.array([0])))))
    moved = coeff_to_image(disc.scatter(coeff * shift_phases(torch.from_numpy(shift_px).float(), disc.kxy, D)))[0]
    assert np.unravel_index(int(moved.argmax()), moved.shape) == (c, c)
    np.testing.assert_allclose(moved - moved.mean(), by_scipy - by_scipy.mean(), atol=0.05)


def test_one_pose_in_the_files_of_three_programs(tmp_path):
    """RELION's angles, cryoSPARC's axis-angle pose and cryoDRGN's matrix of the same images are the same R and shift."""
    n = len(EULER_DEG)
    with mrcfile.new(tmp_path / "a.mrcs") as file:
        file.set_data(np.random.default_rng(0).normal(size=(n, D, D)).astype(np.float32))
        file.set_image_stack()
        file.voxel_size = PIXEL_A
    head = "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n_rlnImageSize #3\n1 5.0 32\n\n"
    names = ["ImageName", "OpticsGroup", "AngleRot", "AngleTilt", "AnglePsi", "OriginXAngst", "OriginYAngst"]
    rows = [f"{i + 1:06d}@a.mrcs 1 {' '.join(map(str, (*EULER_DEG[i], *SHIFTS_A[i])))}" for i in range(n)]
    columns = "".join(f"_rln{name} #{i + 1}\n" for i, name in enumerate(names))
    (tmp_path / "a.star").write_text(f"{head}data_particles\n\nloop_\n{columns}" + "\n".join(rows) + "\n")
    scipys = Rotation.from_euler("ZYZ", EULER_DEG, degrees=True)
    dtype = [("uid", "u8"), ("blob/path", "S64"), ("blob/idx", "u4"), ("blob/shape", "u4", 2), ("blob/psize_A", "f4")]
    dtype += [("alignments3D/pose", "f4", 3), ("alignments3D/shift", "f4", 2), ("alignments3D/psize_A", "f4")]
    array = np.zeros(n, dtype)
    array["uid"], array["blob/path"], array["blob/idx"] = np.arange(n), b"a.mrcs", np.arange(n)
    array["blob/shape"], array["blob/psize_A"], array["alignments3D/psize_A"] = D, PIXEL_A, 2 * PIXEL_A
    array["alignments3D/pose"] = scipys.as_rotvec()  # its exponential is the transpose of R
    array["alignments3D/shift"] = SHIFTS_A / (2 * PIXEL_A)
    with (tmp_path / "a.cs").open("wb") as file:
        np.save(file, array)
    matrices = scipys.as_matrix().transpose(0, 2, 1).astype(np.float32)
    (tmp_path / "pose.pkl").write_bytes(pickle.dumps((matrices, (SHIFTS_A / (D * PIXEL_A)).astype(np.float32))))
    relion, cryosparc = (read_particles(tmp_path / name).table for name in ("a.star", "a.cs"))
    cryodrgn = read_particles(tmp_path / "a.mrcs", poses=tmp_path / "pose.pkl").table
    for table in (relion, cryosparc, cryodrgn):
        np.testing.assert_allclose(table.rotations, matrices, atol=1e-6)
        # In pixels of psize_A, in Å, and as a fraction of the box; always what brings the particle to the centre.
        np.testing.assert_allclose(table.shifts_A, SHIFTS_A, atol=1e-5)


# Other programs and real images


def asymmetric_map():
    random = np.random.default_rng(4)
    atoms = torch.from_numpy(random.uniform(-9, 9, (25, 3))) * PIXEL_A
    return gaussian_density(atoms, torch.from_numpy(random.uniform(0.5, 1.5, 25)).float(), D, PIXEL_A, 3 * PIXEL_A)


@pytest.mark.skipif(shutil.which("relion_project") is None, reason="RELION is not installed")
def test_relion_projects_the_same_images(tmp_path):
    """Angles, shifts, axes, astigmatic CTF and scale of whole images, against `relion_project`."""
    density = asymmetric_map()
    write_map(tmp_path / "map.mrc", density.numpy(), PIXEL_A)
    u, v, angle = (np.array(x, float) for x in ([12000, 12000, 15000, 20000], [12000, 9000, 11000, 18000], [0, 30, 100, -40]))
    numbers = np.column_stack([u, v, angle, EULER_DEG, SHIFTS_A])
    names = ["DefocusU", "DefocusV", "DefocusAngle", "AngleRot", "AngleTilt", "AnglePsi", "OriginXAngst", "OriginYAngst"]
    columns = "".join(f"_rln{name} #{i + 1}\n" for i, name in enumerate(["ImageName", "OpticsGroup", *names]))
    rows = "\n".join(f"{i + 1:06d}@a.mrcs 1 {' '.join(map(str, row))}" for i, row in enumerate(numbers))
    optics = ["OpticsGroup", "OpticsGroupName", "ImagePixelSize", "Voltage", "SphericalAberration", "AmplitudeContrast"]
    head = "".join(f"_rln{name} #{i + 1}\n" for i, name in enumerate([*optics, "ImageSize", "ImageDimensionality"]))
    (tmp_path / "a.star").write_text(
        f"data_optics\n\nloop_\n{head}1 one {PIXEL_A} 300 2.7 0.1 {D} 2\n\ndata_particles\n\nloop_\n{columns}{rows}\n"
    )
    command = ["relion_project", "--i", "map.mrc", "--o", "out", "--ang", "a.star", "--ctf", "--angpix", str(PIXEL_A)]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    with mrcfile.open(tmp_path / "out.mrcs", permissive=True) as file:
        theirs = torch.from_numpy(np.array(file.data))
    table = read_particles(tmp_path / "a.star", need_images=False).table
    disc = Disc.build(D)
    transfer = ctf(ctf_params(table), disc.kxy, torch.full((4,), D * PIXEL_A))
    ours = project(density, EULER_DEG, transfer, SHIFTS_A)
    k = disc.count(13.0)
    a, b = (disc.gather(image_to_coeff(images))[:, :k] for images in (ours, theirs))
    assert float(((a - b).norm(dim=1) / b.norm(dim=1)).max()) < 0.06  # two programs' interpolations; a wrong sign anywhere is > 1


@pytest.mark.skipif(not (SHARED / "maps" / "trpv1_48px.mrc").exists(), reason="the real images are not here")
def test_real_images_are_like_their_map_in_our_conventions_only():
    """Ten particles of TRPV1 with RELION's poses, against their map: every other reading of the file fits worse."""
    particles = read_particles(SHARED / "images" / "trpv1_small_stack.star")
    volume, _ = read_map(SHARED / "maps" / "trpv1_48px.mrc")
    table, box = particles.table, volume.shape[0]
    disc, grid = Disc.build(box, 12.0), BallGrid(box, 12.0, 2)
    ball = raster(torch.from_numpy(np.array(volume)), grid)
    images = disc.gather(image_to_coeff(torch.from_numpy(particles.read_images(np.arange(10))).float()))
    transfer = ctf(ctf_params(table), disc.kxy, torch.from_numpy(table.pixel_size_A * box))
    rotation = torch.from_numpy(table.rotations).float()
    shift_px = torch.from_numpy(table.shifts_A / table.pixel_size_A[:, None]).float()

    def likeness(rotation, shift_px, sign=1.0):
        phase = 2 * math.pi / box * (shift_px @ disc.kxy.T)  # t = -shift
        model = torch.view_as_complex(slice_ball(ball, grid, rotation, disc.kxy)) * transfer * sign
        model = model * torch.polar(torch.ones_like(phase), phase)
        return float(((images * model.conj()).real.sum(1) / (images.norm(dim=1) * model.norm(dim=1))).mean())

    ours = likeness(rotation, shift_px)
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0]))
    assert ours > 0.28
    assert likeness(rotation.transpose(1, 2), shift_px) < 0.85 * ours
    assert likeness(rotation, -shift_px) < 0.5 * ours
    assert likeness(rotation, shift_px.flip(1)) < 0.5 * ours
    assert likeness(mirror @ rotation @ mirror, shift_px) < 0.5 * ours
    assert likeness(rotation, shift_px, -1.0) == pytest.approx(-ours)
