import errno
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from cryodrake.errors import InputError
from cryodrake.io.atomic import open_atomic, write_bytes_atomic, write_json_atomic, write_npy_atomic, write_text_atomic
from cryodrake.io.mrc import StackWriter, write_map


@contextmanager
def room_for(n_bytes: int) -> Iterator[None]:
    """The kernel refuses larger files: as near to a full disk as a test without privileges gets."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_contents(tmp_path: Path) -> None:
    write_text_atomic(tmp_path / "a", "5 Å")
    write_json_atomic(tmp_path / "b", {"z": 1, "a": [2.5, None]})
    array = np.arange(12, dtype=">f8").reshape(3, 4).T
    write_npy_atomic(tmp_path / "c", array)
    assert (tmp_path / "a").read_bytes() == "5 Å".encode()
    assert list(json.loads((tmp_path / "b").read_text())) == ["z", "a"]
    loaded = np.load(tmp_path / "c")
    assert loaded.dtype == array.dtype
    np.testing.assert_array_equal(loaded, array)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]


@pytest.mark.parametrize("dtype", ["<f4", "<i8", [("uid", "<u8"), ("xy", "<f4", (2,))]])
def test_npy_has_the_bytes_of_numpy(tmp_path: Path, dtype: object) -> None:
    array = np.zeros(5, dtype=dtype)
    write_npy_atomic(tmp_path / "ours.npy", array)
    np.save(tmp_path / "theirs.npy", array)
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()


def test_nothing_that_is_not_data(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="objects"):
        write_npy_atomic(tmp_path / "a.npy", np.array([{}, 1], dtype=object))
    with pytest.raises(ValueError, match="JSON"):
        write_json_atomic(tmp_path / "a.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail_half_way() -> None:
        with open_atomic(path) as file:
            file.write(b"new, but")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with room_for(1000), pytest.raises(InputError) as caught:
        write_npy_atomic(path, np.zeros(10**6, dtype=np.float32))
    assert caught.value.where == str(path)
    assert "full" in caught.value.what
    assert "4,000,128 bytes" in (caught.value.expected or "")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_that_shows_at_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="full"):
        write_bytes_atomic(tmp_path / "file", b"123")
    assert list(tmp_path.iterdir()) == []


def test_full_disk_while_a_stack_is_written(tmp_path: Path) -> None:
    images = np.zeros((64, 32, 32), dtype=np.float32)

    def write() -> None:
        with StackWriter(tmp_path / "a.mrcs", 640, 32, 1.0) as writer:
            for _ in range(10):
                writer.write(images)

    with room_for(100_000), pytest.raises(InputError, match="full") as caught:
        write()
    assert f"{1024 + 640 * 32 * 32 * 4:,} bytes" in (caught.value.expected or "")
    with room_for(1000), pytest.raises(InputError, match="full"):
        write_map(tmp_path / "a.mrc", images[:32], 1.0)
    assert list(tmp_path.iterdir()) == []


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written") as caught:
        write_text_atomic(tmp_path / "none" / "file", "x")
    assert "none/file" in (caught.value.where or "")
