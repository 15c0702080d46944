"""MRC files written by hand (struct) or by mrcfile, read by us; and ours, judged by mrcfile."""

import bz2
import gzip
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryodrake.errors import InputError
from cryodrake.io.mrc import MrcStack, StackWriter, read_map, write_map

FORMATS = {0: "b", 1: "h", 2: "f", 6: "H", 12: "e"}
STAMPS = {"<": b"\x44\x44\x00\x00", ">": b"\x11\x11\x00\x00"}


def by_hand(order: str, mode: int, values: list, shape: tuple[int, int, int], stamp: bytes | None = None) -> bytes:
    """An MRC2014 file, from the table in Cheng et al. (2015): words 1-10, cell, axes, then MAP at byte 208."""
    nz, ny, nx = shape
    header = struct.pack(order + "10i", nx, ny, nz, mode, 0, 0, 0, nx, ny, nz)
    header += struct.pack(order + "6f", 1.5 * nx, 1.5 * ny, 1.5 * nz, 90, 90, 90)
    header += struct.pack(order + "3i3f", 1, 2, 3, 0, 0, 0).ljust(208 - len(header), b"\0")
    header += b"MAP " + (STAMPS[order] if stamp is None else stamp)
    return header.ljust(1024, b"\0") + struct.pack(f"{order}{len(values)}{FORMATS[mode]}", *values)


VALUES = {0: [-128, -1, 0, 127], 1: [-32768, -2, 3, 32767], 2: [-1.5, 0.1, 1e-20, 3e8], 6: [0, 1, 40000, 65535]}
VALUES[12] = [-1.5, 0.25, 65504.0, 6e-5]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("mode", FORMATS)
def test_every_mode_in_both_byte_orders(tmp_path: Path, mode: int, order: str) -> None:
    path = tmp_path / "a.mrcs"
    path.write_bytes(by_hand(order, mode, [*VALUES[mode], *VALUES[mode][::-1]], (2, 2, 2)))
    stack = MrcStack(path)
    first = np.array(VALUES[mode], dtype={2: "f4", 12: "f2"}.get(mode, "i4")).astype(np.float32).reshape(2, 2)
    images = stack.read(np.array([1, 0, 1]))
    assert stack.shape == (2, 2, 2)
    assert stack.pixel_size_A == pytest.approx(1.5)
    assert images.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(images, [first[::-1, ::-1], first, first[::-1, ::-1]])


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("stamp", [b"\0\0\0\0", STAMPS["<"], STAMPS[">"]])
@pytest.mark.parametrize("mode", [0, 2])
def test_machine_stamp_missing_or_wrong(tmp_path: Path, order: str, stamp: bytes, mode: int) -> None:
    path = tmp_path / "a.mrcs"
    path.write_bytes(by_hand(order, mode, [1, 2, 3, 4], (1, 2, 2), stamp))
    np.testing.assert_array_equal(MrcStack(path).read(), [[[1, 2], [3, 4]]])


def test_order_and_repeats(tmp_path: Path, images: np.ndarray, write_stack: Callable[..., Path]) -> None:
    stack = MrcStack(write_stack(tmp_path / "a.mrcs"))
    np.testing.assert_array_equal(stack.read(np.array([2, 0, 2, 1])), images[[2, 0, 2, 1]])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(stack)).read(), images)  # as it goes to loader processes
    assert stack.read(np.array([], dtype=int)).shape == (0, 8, 8)


@pytest.mark.parametrize(("compress", "suffix"), [(gzip.compress, ".gz"), (bz2.compress, ".bz2"), (gzip.compress, "")])
def test_compressed(tmp_path: Path, images: np.ndarray, write_stack: Callable[..., Path], compress: Callable, suffix: str) -> None:
    plain = write_stack(tmp_path / "a.mrcs").read_bytes()
    path = tmp_path / f"b.mrcs{suffix}"  # the content decides, not the name
    path.write_bytes(compress(plain))
    np.testing.assert_array_equal(MrcStack(path).read(np.array([2, 1])), images[[2, 1]])
    path.write_bytes(compress(plain[:-40]))
    with pytest.raises(InputError, match="truncated") as caught:
        MrcStack(path).read(np.array([0]))
    assert "1,752 bytes found" in caught.value.what
    assert "1,792 bytes" in (caught.value.expected or "")
    path.write_bytes(compress(plain)[:-12])
    with pytest.raises(InputError):
        MrcStack(path).read(np.array([0]))


def test_the_unpacked_copy_goes_with_the_stack(
    tmp_path: Path, write_stack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    path = tmp_path / "b.mrcs.gz"
    path.write_bytes(gzip.compress(write_stack(tmp_path / "a.mrcs").read_bytes()))
    stack = MrcStack(path)
    stack.read()
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    del stack
    assert list((tmp_path / "tmp").iterdir()) == []


def test_truncated(tmp_path: Path, write_stack: Callable[..., Path]) -> None:
    path = write_stack(tmp_path / "a.mrcs")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError) as caught:
        MrcStack(path)
    assert caught.value.where == str(path)
    assert "truncated: 1,791 bytes found" in caught.value.what
    assert "1,792 bytes for 3 images of 8 × 8 in mode 2" in (caught.value.expected or "")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match="truncated: 500 bytes"):
        MrcStack(path)


def test_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mrcs"
    mrcfile.write(path, np.zeros((2, 4, 4), dtype=np.complex64))
    with pytest.raises(InputError, match="MRC mode 4") as caught:
        MrcStack(path)
    assert "0, 1, 2, 6 or 12" in (caught.value.expected or "")
    path.write_bytes(b"this is a text file. " * 100)
    with pytest.raises(InputError, match="no MRC file"):
        MrcStack(path)
    with pytest.raises(InputError, match="cannot be read"):
        MrcStack(tmp_path / "none.mrcs")


def test_space_group_is_not_trusted_and_extended_headers_are_skipped(tmp_path: Path, images: np.ndarray) -> None:
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(images)
        mrc.set_volume()  # says that it is one map
        mrc.set_extended_header(np.frombuffer(b"x" * 160, dtype="V80"))
    np.testing.assert_array_equal(MrcStack(path).read(np.array([1])), images[1:2])
    mrcfile.write(path, images[0], overwrite=True)  # a single image, two-dimensional
    assert MrcStack(path).shape == (1, 8, 8)


def test_stack_larger_than_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.mrcs"
    n, box = 60_000, 1024  # 240 GiB, of which the file system holds one image
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.zeros((1, box, box), dtype=np.float32))
    with open(path, "r+b") as file:
        file.seek(8)
        file.write(struct.pack("<i", n))
        file.truncate(1024 + 4 * n * box * box)
        file.seek(1024 + 4 * (n - 1) * box * box)
        file.write(np.full(box, 7, dtype=np.float32).tobytes())
    image = MrcStack(path).read(np.array([n - 1]))
    assert image[0, 0].min() == 7
    assert image[0, 1:].max() == 0


def test_map_is_valid_for_mrcfile(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).normal(size=(4, 4, 4))
    path = tmp_path / "map.mrc"
    write_map(path, volume, 1.25)
    first = path.read_bytes()
    write_map(path, volume, 1.25)
    assert path.read_bytes() == first  # no clock in it
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:
        np.testing.assert_array_equal(mrc.data, volume.astype(np.float32))
        assert (int(mrc.header.mode), int(mrc.header.ispg)) == (2, 1)
        assert float(mrc.voxel_size.x) == float(mrc.voxel_size.z) == 1.25
    ours, pixel_size_A = read_map(path)
    assert pixel_size_A == 1.25
    np.testing.assert_array_equal(ours, volume.astype(np.float32))


def test_map_with_other_axis_order(tmp_path: Path) -> None:
    zyx = np.random.default_rng(0).normal(size=(4, 4, 4)).astype(np.float32)
    path = tmp_path / "map.mrc"
    with mrcfile.new(path) as mrc:  # columns along z, rows along x, sections along y
        mrc.set_data(np.ascontiguousarray(zyx.transpose(1, 2, 0)))
        mrc.voxel_size = 2.0
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = 3, 1, 2
    np.testing.assert_array_equal(read_map(path)[0], zyx)


def test_maps_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "map.mrc"
    mrcfile.write(path, np.zeros((2, 4, 6), dtype=np.float32), voxel_size=1.0)
    with pytest.raises(InputError, match="2 × 4 × 6"):
        read_map(path)
    mrcfile.write(path, np.zeros((4, 4, 4), dtype=np.float32), overwrite=True)
    with pytest.raises(InputError, match="voxel size"):
        read_map(path)
    mrcfile.write(path, np.zeros((4, 4, 4), dtype=np.float32), overwrite=True, voxel_size=(1, 1, 2))
    with pytest.raises(InputError, match="voxel size"):
        read_map(path)


def test_stack_writer(tmp_path: Path, images: np.ndarray) -> None:
    path = tmp_path / "a.mrcs"
    with StackWriter(path, 3, 8, 1.5) as writer:
        writer.write(images[:1])
        assert not path.exists()
        writer.write(images[1:].astype(np.float64))
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:
        np.testing.assert_array_equal(mrc.data, images)
        assert mrc.is_image_stack()
        assert float(mrc.voxel_size.x) == 1.5


def test_stack_writer_leaves_nothing_half_done(tmp_path: Path, images: np.ndarray) -> None:
    def write(n: int, chunk: np.ndarray) -> None:
        with StackWriter(tmp_path / "a.mrcs", n, 8, 1.5) as writer:
            writer.write(chunk)

    with pytest.raises(ValueError, match="3 of 4 images"):
        write(4, images)
    with pytest.raises(ValueError, match="does not fit"):
        write(2, images)
    with pytest.raises(ValueError, match="does not fit"):
        write(3, images[:, :4, :4])
    assert list(tmp_path.iterdir()) == []
