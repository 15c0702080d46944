"""Small particle sets, written by programs other than ours wherever there is one."""

from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

RELION_31 = """
# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2 [a comment]
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
_rlnImageSize #7
2 krios 300.000000 2.700000 0.100000 1.500000 8
1 "polara II" 200.000000 2.000000 0.070000 2.000000 8


# version 30001

data_particles

loop_
_rlnImageName #1
_rlnMicrographName #2
_rlnDefocusU #3
_rlnDefocusV #4
_rlnDefocusAngle #5
_rlnPhaseShift #6
_rlnAngleRot #7
_rlnAngleTilt #8
_rlnAnglePsi #9
_rlnOriginXAngst #10
_rlnOriginYAngst #11
_rlnRandomSubset #12
_rlnOpticsGroup #13
_rlnComment #14
000003@stack.mrcs mic1.mrc 15000.1 14000.2 31.5 0 10.5 20.25 -30.125 1.50 -3.00 1 2 "two words"
000001@stack.mrcs John's#2.mrc 16000.1 15000.2 -12.0 90 -170.0 -95.5 0.000001 0.10 0.20 2 1 nan
000002@stack.mrcs mic1.mrc 17000.1 16000.2 45.0 0 0 0 0 0 0 2 2 <NA>

data_extra

_rlnSomething 'left alone'
"""

RELION_30 = """
data_

loop_
_rlnImageName #1
_rlnDefocusU #2
_rlnDefocusV #3
_rlnDefocusAngle #4
_rlnVoltage #5
_rlnSphericalAberration #6
_rlnAmplitudeContrast #7
_rlnDetectorPixelSize #8
_rlnMagnification #9
_rlnAngleRot #10
_rlnAngleTilt #11
_rlnAnglePsi #12
_rlnOriginX #13
_rlnOriginY #14
1@stack.mrcs 15000 14000 30 300 2.7 0.1 5.0 25000 10 20 30 1.25 -2.5
2@stack.mrcs 15000 14000 30 300 2.7 0.1 5.0 25000 40 50 60 0.5 0.75
3@stack.mrcs 15000 14000 30 200 2.7 0.1 5.0 20000 70 80 90 0 0
"""


@pytest.fixture
def images() -> np.ndarray:
    """Three images of 8 × 8 pixels; a pixel's value says which image and where: 100 n + 10 y + x."""
    n, y, x = np.mgrid[:3, :8, :8]
    return (100 * n + 10 * y + x).astype(np.float32)


@pytest.fixture
def write_stack(images: np.ndarray) -> Callable[..., Path]:
    """Write a stack through mrcfile."""

    def write(path: Path, data: np.ndarray = images, pixel_size_A: float = 1.5) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        mrcfile.write(path, data, overwrite=True, voxel_size=pixel_size_A)
        return path

    return write


@pytest.fixture
def relion31(tmp_path: Path, write_stack: Callable[..., Path]) -> Path:
    write_stack(tmp_path / "stack.mrcs")
    path = tmp_path / "particles.star"
    path.write_text(RELION_31)
    return path


@pytest.fixture
def relion30(tmp_path: Path, write_stack: Callable[..., Path]) -> Path:
    write_stack(tmp_path / "stack.mrcs")
    path = tmp_path / "old.star"
    path.write_text(RELION_30)
    return path


@pytest.fixture
def cs_array() -> np.ndarray:
    """Three particles of a cryoSPARC refinement, the first with a pose of zero."""
    array = np.zeros(
        3,
        dtype=[
            ("uid", "<u8"),
            ("blob/path", "S40"),
            ("blob/idx", "<u4"),
            ("blob/shape", "<u4", (2,)),
            ("blob/psize_A", "<f4"),
            ("blob/sign", "<f4"),
            ("ctf/type", "S9"),
            ("ctf/exp_group_id", "<u4"),
            ("ctf/accel_kv", "<f4"),
            ("ctf/cs_mm", "<f4"),
            ("ctf/amp_contrast", "<f4"),
            ("ctf/df1_A", "<f4"),
            ("ctf/df2_A", "<f4"),
            ("ctf/df_angle_rad", "<f4"),
            ("ctf/phase_shift_rad", "<f4"),
            ("alignments3D/split", "<u4"),
            ("alignments3D/shift", "<f4", (2,)),
            ("alignments3D/pose", "<f4", (3,)),
            ("alignments3D/psize_A", "<f4"),
            ("alignments3D/error", "<f4"),
        ],
    )
    array["uid"] = [2**63 + 5, 17, 3]
    array["blob/path"] = b">J1/imported/stack.mrc"
    array["blob/idx"] = [2, 0, 1]
    array["blob/shape"] = 8
    array["blob/psize_A"] = [1.5, 1.5, 2.0]
    array["blob/sign"] = [-1, -1, 1]
    array["ctf/type"] = b"spline"
    array["ctf/accel_kv"], array["ctf/cs_mm"], array["ctf/amp_contrast"] = 300, 2.7, 0.1
    array["ctf/df1_A"], array["ctf/df2_A"] = [15000, 16000, 17000], [14000, 15000, 16000]
    array["ctf/df_angle_rad"], array["ctf/phase_shift_rad"] = [0.5, -1.0, 4.0], [0, 1.5, 0]
    array["alignments3D/split"] = [0, 1, 1]
    array["alignments3D/shift"] = [[1.5, -2.0], [0, 0], [0.25, 4]]
    array["alignments3D/pose"] = [[0, 0, 0], [1.0, -2.0, 0.5], [3.5, 0.1, 0.2]]  # the last beyond π
    array["alignments3D/psize_A"] = 3.0
    array["alignments3D/error"] = [0.125, 7, 9]
    return array


@pytest.fixture
def cs(tmp_path: Path, write_stack: Callable[..., Path], cs_array: np.ndarray) -> Path:
    write_stack(tmp_path / "P1" / "J1" / "imported" / "stack.mrc")
    path = tmp_path / "P1" / "J2" / "particles.cs"
    path.parent.mkdir()
    with open(path, "wb") as file:
        np.save(file, cs_array)
    return path
