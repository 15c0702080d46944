"""cryoDRGN pickles, written here by pickle itself; and pickles that mean harm."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryodrake.errors import InputError
from cryodrake.io.cryodrgn import (
    load_pickles,
    read_ctf,
    read_indices,
    read_latents,
    read_poses,
    write_ctf,
    write_indices,
    write_poses,
)
from cryodrake.io.table import CTFColumns, ParticleTable

R = Rotation.random(4, rng=0).as_matrix().astype(np.float32)
T = np.array([[0.1, -0.02], [0, 0], [0.5, 1.0], [-1.0, 0.03]], dtype=np.float32)
CTF = np.array([[8, 1.5, 15000, 14000, 30, 300, 2.7, 0.1, 0], [8, 1.5, 16000, 15500, -20, 300, 2.7, 0.1, 90]], np.float32)


def save(path: Path, *objects: Any, protocol: int = 4) -> Path:
    path.write_bytes(b"".join(pickle.dumps(value, protocol=protocol) for value in objects))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_poses_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    poses = read_poses(save(tmp_path / "pose.pkl", (R, T), protocol=protocol))
    np.testing.assert_array_equal(poses.rotations, R)
    np.testing.assert_array_equal(poses.shifts, T)
    assert not poses.in_pixels


def test_numpy_1_and_2_spell_their_modules_differently(tmp_path: Path) -> None:
    content = pickle.dumps((R, T), protocol=2)
    other = content.replace(b"numpy._core", b"numpy.core")
    assert other != content  # numpy 2 writes these tests
    for name, data in (("new", content), ("old", other)):
        (tmp_path / name).write_bytes(data)
        np.testing.assert_array_equal(read_poses(tmp_path / name).rotations, R)


def test_poses_of_every_shape(tmp_path: Path) -> None:
    assert read_poses(save(tmp_path / "a.pkl", (R,))).shifts is None
    assert read_poses(save(tmp_path / "b.pkl", R)).shifts is None
    both = read_poses(save(tmp_path / "r.pkl", R), save(tmp_path / "t.pkl", T))
    np.testing.assert_array_equal(both.shifts, T)
    assert read_poses(save(tmp_path / "p.pkl", (R, T * 9))).in_pixels  # some |t| > 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ((R[:, :2], T), r"shapes \[\(4, 2, 3\)"),
        ((R, T[:3]), "shapes"),
        ((R, T, T), "shapes"),
        (3.5, "shapes"),
        ((R * 1.01, T), "rotation is"),
        ((-R, T), "rotation is"),
        ((R * np.nan, T), "rotation is"),
        ((R, T * np.nan), "shift is"),
    ],
)
def test_poses_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = save(tmp_path / "pose.pkl", content)
    with pytest.raises(InputError, match=message) as caught:
        read_poses(path)
    assert str(path) in (caught.value.where or "")


def test_ctf(tmp_path: Path) -> None:
    loaded = read_ctf(save(tmp_path / "ctf.pkl", CTF))
    np.testing.assert_array_equal(loaded.box, 8)
    np.testing.assert_array_equal(loaded.pixel_size_A, 1.5)
    np.testing.assert_array_equal(loaded.ctf.defocus_v_A, [14000, 15500])
    np.testing.assert_array_equal(loaded.ctf.defocus_angle_deg, [30, -20])
    np.testing.assert_array_equal(loaded.ctf.cs_mm, np.float32(2.7))
    np.testing.assert_array_equal(loaded.ctf.phase_shift_deg, [0, 90])
    np.testing.assert_array_equal(loaded.ctf.bfactor_A2, 0)
    ten = np.column_stack([CTF, np.float32([50, 60])])
    np.testing.assert_array_equal(read_ctf(save(tmp_path / "ctf.pkl", ten)).ctf.bfactor_A2, [50, 60])
    with pytest.raises(InputError, match=r"\(2, 8\)"):
        read_ctf(save(tmp_path / "ctf.pkl", CTF[:, :8]))
    with pytest.raises(InputError, match="voltage_kV") as caught:
        read_ctf(save(tmp_path / "ctf.pkl", np.where(CTF == 300, 300000, CTF)))
    assert "particle 1" in (caught.value.where or "")


def table(n: int = 2, bfactor_A2: float = 0) -> ParticleTable:
    columns = read_ctf_columns(n, bfactor_A2)
    return ParticleTable(
        pixel_size_A=np.full(n, 1.37),
        optics_group=np.zeros(n, dtype=np.int64),
        box=np.full(n, 360),
        ctf=columns,
        rotations=R[:n].astype(np.float64),
        shifts_A=T[:n].astype(np.float64) * 360 * 1.37,
    )


def read_ctf_columns(n: int, bfactor_A2: float) -> CTFColumns:
    values = CTF[:n].astype(np.float64)
    return CTFColumns(values[:, 5], values[:, 6], values[:, 7], *values[:, 2:5].T, values[:, 8], np.full(n, float(bfactor_A2)))


def test_round_trips_are_exact(tmp_path: Path) -> None:
    write_poses(tmp_path / "pose.pkl", table())
    rotations, shifts = pickle.loads((tmp_path / "pose.pkl").read_bytes())
    assert (rotations.dtype, shifts.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(rotations, R[:2])
    np.testing.assert_array_equal(shifts, T[:2])  # fractions of D, not of cryoDRGN's own D + 1
    write_ctf(tmp_path / "ctf.pkl", table())
    ctf = pickle.loads((tmp_path / "ctf.pkl").read_bytes())
    assert (ctf.dtype, ctf.shape) == (np.float32, (2, 9))
    np.testing.assert_array_equal(ctf[:, 2:], CTF[:, 2:])
    np.testing.assert_array_equal(ctf[:, :2], np.float32([[360, 1.37]] * 2))
    write_ctf(tmp_path / "ctf.pkl", table(bfactor_A2=80.0))
    assert pickle.loads((tmp_path / "ctf.pkl").read_bytes())[:, 9].tolist() == [80, 80]
    write_indices(tmp_path / "ind.pkl", np.array([5, 2]))
    assert read_indices(tmp_path / "ind.pkl", 6).tolist() == [5, 2]


@pytest.mark.parametrize("kept", [np.array([3, 1]), [3, 1], np.array([3, 1], dtype=np.uint16)])
def test_indices(tmp_path: Path, kept: Any) -> None:
    assert read_indices(save(tmp_path / "ind.pkl", kept), 4).tolist() == [3, 1]


def test_indices_refused(tmp_path: Path) -> None:
    assert read_indices(save(tmp_path / "ind.pkl", np.array([True, False, True])), 3).tolist() == [0, 2]
    with pytest.raises(InputError, match="rows 1 to 4") as caught:
        read_indices(save(tmp_path / "ind.pkl", [1, 4]), 4)
    assert "0 to 3" in (caught.value.expected or "")
    for wrong in ([-1], [0.5], [], [[1, 2]]):
        with pytest.raises(InputError):
            read_indices(save(tmp_path / "ind.pkl", wrong), 4)


def test_latents_back_to_back(tmp_path: Path) -> None:
    mean, log_variance = np.ones((3, 2), np.float32), np.zeros((3, 2), np.float32)
    read_mean, read_log_variance = read_latents(save(tmp_path / "z.pkl", mean, log_variance))
    np.testing.assert_array_equal(read_mean, mean)
    np.testing.assert_array_equal(read_log_variance, log_variance)
    assert read_latents(save(tmp_path / "z.pkl", mean))[1] is None
    with pytest.raises(InputError, match="shapes"):
        read_latents(save(tmp_path / "z.pkl", mean, log_variance[:2]))


class Harm:
    def __init__(self, function: Any, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def object_array() -> np.ndarray:
    return np.array([Harm(os.system, "true"), None], dtype=object)


@pytest.mark.parametrize(
    "hostile",
    [
        Harm(os.system, "touch PWNED"),
        (R, Harm(eval, "open('PWNED', 'w')")),
        [Harm(open, "PWNED", "w")],
        object_array(),
        np.array(["a", 1], dtype=object),
        {"poses": R},
        "text",
        None,
        Harm(np.load, "x.npy"),
        Harm(getattr, R, "tofile"),
        io.BytesIO(b"x"),
    ],
)
def test_anything_else_is_refused_and_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hostile: Any) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "pose.pkl", hostile)
    with pytest.raises(InputError) as caught:
        load_pickles(path)
    assert caught.value.where == str(path)
    assert "arrays" in (caught.value.expected or "")
    assert not (tmp_path / "PWNED").exists()


def test_torch_files_are_refused_by_name(tmp_path: Path) -> None:
    path = save(tmp_path / "pose.pkl", torch.zeros(3))
    with pytest.raises(InputError, match=r"torch\._utils"):
        load_pickles(path)


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps((R, T))[:-20], b"\x80\x04."])
def test_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pose.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_poses(path)
    assert caught.value.where == str(path)
    with pytest.raises(InputError):
        read_poses(tmp_path / "none.pkl")
