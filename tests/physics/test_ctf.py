"""The CTF against the published formula in plain double precision, by hand, and against RELION's own program."""

import math
import shutil
import subprocess

import mrcfile
import numpy as np
import pytest
import torch

from cryodrake.physics.ctf import CTFParams, ctf, electron_wavelength_A

DEFAULT = {
    "pixel_size_A": 1.0,
    "voltage_kV": 300.0,
    "cs_mm": 2.7,
    "amplitude_contrast": 0.1,
    "defocus_u_A": 15000.0,
    "defocus_v_A": 15000.0,
    "defocus_angle_deg": 0.0,
    "phase_shift_deg": 0.0,
    "bfactor_A2": 0.0,
}


def params(**changes):
    return CTFParams(**{name: torch.tensor([value]) for name, value in (DEFAULT | changes).items()})


def at(points, box_A=100.0, **changes):
    """CTF of one particle at (kx, ky) in cycles per box."""
    return ctf(params(**changes), torch.tensor(points, dtype=torch.float32).reshape(-1, 2), torch.tensor([box_A]))[0].tolist()


def by_hand(kx, ky, box_A, **changes):
    """Mindell & Grigorieff 2003 with RELION's sign: -sin(χ - φ - asin w), χ = π/2 Cs λ³ s⁴ - π λ Δz s²."""
    p = DEFAULT | changes
    volts = p["voltage_kV"] * 1e3
    h, mass, charge, light = 6.62607015e-34, 9.1093837e-31, 1.602176634e-19, 299792458.0
    momentum = math.sqrt(2 * mass * charge * volts * (1 + charge * volts / (2 * mass * light**2)))
    wavelength = h / momentum * 1e10
    s = math.hypot(kx, ky) / box_A
    theta = math.atan2(ky, kx) - math.radians(p["defocus_angle_deg"])
    # cos² and sin² form: U along the angle, V across.
    defocus = p["defocus_u_A"] * math.cos(theta) ** 2 + p["defocus_v_A"] * math.sin(theta) ** 2
    chi = math.pi / 2 * p["cs_mm"] * 1e7 * wavelength**3 * s**4 - math.pi * wavelength * defocus * s**2
    chi -= math.radians(p["phase_shift_deg"])
    w = p["amplitude_contrast"]
    value = -(math.sqrt(1 - w**2) * math.sin(chi) - w * math.cos(chi))
    return value * math.exp(-p["bfactor_A2"] * s**2 / 4)


def test_wavelengths_are_the_textbooks():
    found = electron_wavelength_A(torch.tensor([100.0, 200.0, 300.0], dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor([0.0370144, 0.0250793, 0.0196875], dtype=torch.float64), rtol=2e-5, atol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cs_mm": 0.0},
        {"voltage_kV": 200.0, "cs_mm": 2.0, "amplitude_contrast": 0.07},
        {"defocus_u_A": 22000.0, "defocus_v_A": 18000.0, "defocus_angle_deg": 37.0},
        {"phase_shift_deg": 75.0, "bfactor_A2": 80.0, "defocus_u_A": 8000.0, "defocus_v_A": 7000.0, "defocus_angle_deg": -110.0},
        {"defocus_u_A": -3000.0, "defocus_v_A": -3200.0},
    ],
    ids=["plain", "no Cs", "200 kV", "astigmatic", "phase plate", "overfocus"],
)
def test_the_formula(changes):
    random = np.random.default_rng(0)
    points = random.uniform(-33, 33, (60, 2)).round()  # to 2.1 Å
    expected = [by_hand(kx, ky, 100.0, **changes) for kx, ky in points]
    np.testing.assert_allclose(at(points.tolist(), **changes), expected, atol=2e-3)


def test_amplitude_contrast_is_positive_at_the_origin():
    assert at([[0, 0]], amplitude_contrast=0.1) == pytest.approx([0.1])
    assert at([[0, 0]], amplitude_contrast=0.07, bfactor_A2=100.0) == pytest.approx([0.07])
    # Underfocus makes it grow first: phase and amplitude contrast add up.
    low = at([[k, 0] for k in range(4)], defocus_u_A=20000.0, defocus_v_A=20000.0)
    assert low == sorted(low)


def test_the_ctf_of_cryodrgn_is_minus_ours():
    """Its published form, sqrt(1-w²) sin γ - w cos γ with γ = 2π(-½ Δz λ s² + ¼ Cs λ³ s⁴) - φ, is exactly the negative."""
    s, defocus, w, phase = 0.11, 12000.0, 0.1, math.radians(20)
    wavelength = float(electron_wavelength_A(torch.tensor(300.0, dtype=torch.float64)))
    gamma = 2 * math.pi * (-0.5 * defocus * wavelength * s**2 + 0.25 * 2.7e7 * wavelength**3 * s**4) - phase
    theirs = math.sqrt(1 - w**2) * math.sin(gamma) - w * math.cos(gamma)
    ours = at([[11, 0]], defocus_u_A=defocus, defocus_v_A=defocus, phase_shift_deg=20.0)
    assert ours == pytest.approx([-theirs], abs=1e-4)


def test_the_larger_defocus_is_along_the_angle_which_runs_from_x_to_y():
    astigmatic = {"defocus_u_A": 20000.0, "defocus_v_A": 16000.0, "defocus_angle_deg": 90.0}
    u = {"defocus_u_A": 20000.0, "defocus_v_A": 20000.0}
    v = {"defocus_u_A": 16000.0, "defocus_v_A": 16000.0}
    assert at([[0, 14]], **astigmatic) == pytest.approx(at([[0, 14]], **u), abs=1e-5)  # ky only: along 90°
    assert at([[14, 0]], **astigmatic) == pytest.approx(at([[14, 0]], **v), abs=1e-5)
    diagonal = astigmatic | {"defocus_angle_deg": 45.0}
    assert at([[10, 10]], **diagonal) == pytest.approx(at([[10, 10]], **u), abs=1e-5)
    assert at([[10, -10]], **diagonal) == pytest.approx(at([[10, -10]], **v), abs=1e-5)


def test_a_phase_plate_turns_the_origin_up():
    assert at([[0, 0]], phase_shift_deg=90.0) == pytest.approx([math.sqrt(1 - 0.1**2)])


def test_the_envelope():
    s = 20 / 100.0
    bare, damped = at([[12, 16]])[0], at([[12, 16]], bfactor_A2=120.0)[0]
    assert damped / bare == pytest.approx(math.exp(-120 * s**2 / 4), rel=1e-5)


def test_every_particle_has_its_own_optics_and_field_of_view():
    changes = [{}, {"defocus_u_A": 9000.0, "voltage_kV": 200.0}, {"cs_mm": 1.4}]
    box_A = [100.0, 140.0, 90.0]
    columns = [torch.tensor([(DEFAULT | c)[name] for c in changes]) for name in DEFAULT]
    points = torch.tensor([[3.0, 4.0], [-7.0, 20.0]])
    found = ctf(CTFParams(*columns), points, torch.tensor(box_A))
    expected = [[by_hand(*k, b, **c) for k in points.tolist()] for c, b in zip(changes, box_A, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_rows_can_be_selected():
    columns = [torch.tensor([1.0, 2.0, 3.0]) + i for i in range(9)]
    some = CTFParams(*columns)[torch.tensor([2, 0])]
    assert some.pixel_size_A.tolist() == [3.0, 1.0]
    assert some.bfactor_A2.tolist() == [11.0, 9.0]


@pytest.mark.skipif(shutil.which("relion_ctf_toolbox") is None, reason="RELION is not installed")
@pytest.mark.parametrize(
    "changes",
    [
        {"defocus_v_A": 12000.0, "defocus_angle_deg": 30.0},
        {"voltage_kV": 200.0, "cs_mm": 2.0, "amplitude_contrast": 0.07, "phase_shift_deg": 50.0},
    ],
)
def test_relion_computes_the_same(tmp_path, changes):
    box, pixel_A = 64, 1.5
    p = DEFAULT | {"pixel_size_A": pixel_A} | changes
    options = {
        "angpix": p["pixel_size_A"],
        "box": box,
        "kV": p["voltage_kV"],
        "Q0": p["amplitude_contrast"],
        "Cs": p["cs_mm"],
        "defU": p["defocus_u_A"],
        "defV": p["defocus_v_A"],
        "defAng": p["defocus_angle_deg"],
        "phase_shift": p["phase_shift_deg"],
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    out = tmp_path / "ctf.mrc"
    subprocess.run(["relion_ctf_toolbox", "--simulate", out, *words], check=True, capture_output=True)
    with mrcfile.open(out, permissive=True) as file:
        theirs = np.array(file.data)
    axis = torch.arange(box, dtype=torch.float32) - box // 2
    ky, kx = torch.meshgrid(axis, axis, indexing="ij")
    ours = ctf(params(**p), torch.stack([kx.flatten(), ky.flatten()], 1), torch.tensor([box * pixel_A])).view(box, box).numpy()
    inside = np.hypot(kx.numpy(), ky.numpy()) < box / 2  # at -box/2 it is the mate that RELION writes
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=1e-3)
