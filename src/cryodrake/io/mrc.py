"""MRC stacks and maps: reading any MRC2014 file of real numbers, writing float32 ones.

Arrays are (z, y, x) for maps and (n, y, x) for stacks. Whether a file *is* a stack or a map is the caller's knowledge:
the header's space group says so in principle, and programs set it wrongly in practice.
Byte order likewise: the machine stamp is tried first, and the other order where the stamp makes nonsense of the header.

Format: Cheng et al. (2015) J. Struct. Biol. 192, 146, https://www.ccpem.ac.uk/mrc_format/mrc2014.php; header layout and
mode numbers are mrcfile's. Pixels are read through a memory map that lives for one `read`, so that neither open files
nor resident pages grow with the number of stacks.
"""

import bz2
import gzip
import os
import shutil
import tempfile
import weakref
import zlib
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from jaxtyping import Float, Float32, Int
from mrcfile.dtypes import HEADER_DTYPE
from mrcfile.utils import byte_order_from_machine_stamp, dtype_from_mode

from cryodrake.errors import InputError
from cryodrake.io.atomic import open_atomic

HEADER_BYTES = 1024
LARGEST_AXIS = 1 << 24  # no axis of a real file is longer; a header in the wrong byte order has longer ones
OPENERS = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open}


class MrcStack:
    """A stack (or map) on disk, plain, gzip or bzip2; nothing but its header is in memory.

    Attributes:
        path: the file.
        shape: (images, rows, columns).
        pixel_size_A: from the header; None where the header has none.
        mode: the MRC mode number: 0, 1, 2, 6 or 12.

    Raises:
        InputError: missing, no MRC file, a mode that does not hold real numbers, or shorter than its header promises.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._opener = _opener(self.path)
        try:
            with self._opener(self.path, "rb") as file:
                raw = file.read(HEADER_BYTES)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"cannot be read: {error}", where=self.path) from error
        header = _parse_header(raw, self.path)
        self.header = header
        self.mode = int(header["mode"])
        self.shape = (int(header["nz"]), int(header["ny"]), int(header["nx"]))
        self.pixel_size_A = _pixel_size_A(header)
        self._dtype = dtype_from_mode(self.mode).newbyteorder(header.dtype["mode"].byteorder)
        self._offset = HEADER_BYTES + int(header["nsymbt"])
        if self._opener is open:
            self._check_size(self.path.stat().st_size)

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, indices: Int[np.ndarray, " b"] | None = None) -> Float32[np.ndarray, "b y x"]:
        """The images of these 0-based indices (all, if None), as native float32, in the order asked for."""
        images = np.memmap(self._plain_file, self._dtype, "r", self._offset, self.shape)
        if indices is None:
            return np.array(images, dtype=np.float32)
        order = np.argsort(indices, kind="stable")  # the disk is read forwards
        result = np.empty((len(order), *self.shape[1:]), np.float32)
        for position in order:
            result[position] = images[indices[position]]
        return result

    @cached_property
    def _plain_file(self) -> Path:
        """The file, or a decompressed copy in the system's temporary folder that goes when this object goes."""
        if self._opener is open:
            return self.path
        handle, name = tempfile.mkstemp(suffix=".mrcs", prefix="cryodrake_")
        copy = Path(name)
        weakref.finalize(self, copy.unlink, missing_ok=True)
        try:
            with self._opener(self.path, "rb") as packed, os.fdopen(handle, "wb") as plain:
                shutil.copyfileobj(packed, plain, 1 << 20)
        except EOFError:
            pass  # cut short: the size tells
        except (OSError, zlib.error) as error:
            do = "set TMPDIR to a disk with room for the unpacked stack, or unpack it yourself"
            raise InputError(f"cannot be unpacked: {error}", where=self.path, do=do) from error
        self._check_size(copy.stat().st_size)
        return copy

    def _check_size(self, found: int) -> None:
        expected = self._offset + int(np.prod(self.shape, dtype=np.int64)) * self._dtype.itemsize
        if found < expected:
            n, rows, columns = self.shape
            raise InputError(
                f"truncated: {found:,} bytes found",
                where=self.path,
                expected=f"{expected:,} bytes for {n} images of {rows} × {columns} in mode {self.mode}",
                do="copy or download the file again",
            )


def read_map(path: str | Path) -> tuple[Float32[np.ndarray, "d d d"], float]:
    """A cubic map as (z, y, x) and its voxel size in Å.

    Raises:
        InputError: as `MrcStack`; not a cube; voxels not cubic; or no voxel size in the header.
    """
    stack = MrcStack(path)
    if len(set(stack.shape)) != 1:
        z, y, x = stack.shape
        raise InputError(f"the map is {z} × {y} × {x}", where=path, expected="a cube", do="pad or crop it to one")
    cell, sampling = stack.header["cella"], [float(stack.header[m]) for m in ("mx", "my", "mz")]
    sizes = [float(cell[axis]) / n if n > 0 else 0.0 for axis, n in zip("xyz", sampling, strict=True)]
    if min(sizes) <= 0 or max(sizes) > 1.01 * min(sizes):
        raise InputError(f"voxel size {sizes} Å", where=path, expected="one positive size for all axes", do="correct the header")
    axes = [int(stack.header[m]) for m in ("maps", "mapr", "mapc")]  # which of x=1, y=2, z=3 each array axis is
    volume = stack.read()
    if sorted(axes) == [1, 2, 3]:  # zeros are common, and mean the usual order
        volume = np.ascontiguousarray(volume.transpose([axes.index(axis) for axis in (3, 2, 1)]))
    return volume, sizes[0]


def write_map(path: str | Path, volume: Float[np.ndarray, "d d d"], pixel_size_A: float) -> None:
    """Write a map (z, y, x) in mode 2, atomically. The bytes depend on the arguments only.

    Raises:
        InputError: the disk is full or the folder not writable.
    """
    volume = np.ascontiguousarray(volume, dtype="<f4")
    header = _new_header(volume.shape, pixel_size_A, is_volume=True)
    header["dmin"], header["dmax"] = volume.min(), volume.max()
    header["dmean"], header["rms"] = volume.mean(dtype=np.float64), volume.std(dtype=np.float64)
    with open_atomic(path, HEADER_BYTES + volume.nbytes) as file:
        file.write(header.tobytes())
        file.write(volume.data)


class StackWriter:
    """Writes a stack of n images chunk by chunk, in mode 2; the file appears when the `with` block ends well.

    Raises:
        InputError: the disk is full or the folder not writable.
        ValueError: more or fewer than n images were written.
    """

    def __init__(self, path: str | Path, n: int, box: int, pixel_size_A: float):
        self.path = Path(path)
        self.n = n
        self.written = 0
        self._box = box
        self._header = _new_header((n, box, box), pixel_size_A, is_volume=False).tobytes()
        self._target = open_atomic(self.path, HEADER_BYTES + n * box * box * 4)
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "StackWriter":
        self._file = self._target.__enter__()
        self._file.write(self._header)
        return self

    def write(self, images: Float[np.ndarray, "b d d"]) -> None:
        """Append images (y, x)."""
        if self._file is None:
            raise ValueError("StackWriter.write outside its with block")
        if images.shape[1:] != (self._box, self._box) or self.written + len(images) > self.n:
            raise ValueError(f"{images.shape} does not fit: {self.written} of {self.n} × {self._box}² are written")
        self._file.write(np.ascontiguousarray(images, dtype="<f4").data)
        self.written += len(images)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        if error is None and self.written != self.n:
            short = ValueError(f"{self.written} of {self.n} images were written to {self.path}")
            self._target.__exit__(ValueError, short, None)
            raise short
        return self._target.__exit__(kind, error, trace)


def _opener(path: Path) -> Any:
    """open, gzip.open or bz2.open, by the file's first bytes (names lie)."""
    try:
        with open(path, "rb") as file:
            start = file.read(212)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path) from error
    if start[208:211] == b"MAP":  # a plain file whose width happens to look like a magic number
        return open
    return OPENERS.get(start[:2], open)


def _parse_header(raw: bytes, path: Path) -> np.ndarray:
    """The header in the byte order that makes sense of it."""
    if len(raw) < HEADER_BYTES:
        raise InputError(f"truncated: {len(raw)} bytes found", where=path, expected=f"an MRC header of {HEADER_BYTES} bytes")
    header = np.frombuffer(raw, HEADER_DTYPE).reshape(())
    try:
        stamped = byte_order_from_machine_stamp(header["machst"])
    except ValueError:
        stamped = "<"
    swapped = ">" if stamped == "<" else "<"
    for order in (stamped, swapped):
        candidate = header.view(header.dtype.newbyteorder(order))
        axes = [int(candidate[axis]) for axis in ("nx", "ny", "nz")]
        if all(0 < n < LARGEST_AXIS for n in axes) and candidate["mode"] in (0, 1, 2, 3, 4, 6, 12, 101):
            break
    else:
        raise InputError("is no MRC file: its header makes no sense in either byte order", where=path)
    if candidate["mode"] not in (0, 1, 2, 6, 12) or candidate["nsymbt"] < 0:
        raise InputError(
            f"MRC mode {candidate['mode']} does not hold real images",
            where=path,
            expected="mode 0, 1, 2, 6 or 12 (integers or floats; not complex, not packed)",
        )
    return candidate


def _pixel_size_A(header: np.ndarray) -> float | None:
    size = float(header["cella"]["x"]) / max(int(header["mx"]), 1)
    return size if np.isfinite(size) and size > 0 else None


def _new_header(shape: tuple[int, ...], pixel_size_A: float, is_volume: bool) -> np.ndarray:
    """A little-endian MRC2014 header of mode 2, its statistics marked as not determined."""
    header = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
    header["nz"], header["ny"], header["nx"] = shape
    header["mz"], header["my"], header["mx"] = shape if is_volume else (1, *shape[1:])
    header["mode"] = 2
    for axis in "xyz":
        header["cella"][axis] = pixel_size_A * header[f"m{axis}"]
    for angle in ("alpha", "beta", "gamma"):
        header["cellb"][angle] = 90
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["dmin"], header["dmax"], header["dmean"], header["rms"] = 0, -1, -2, -1
    header["ispg"] = 1 if is_volume else 0
    header["nversion"] = 20140
    header["map"] = b"MAP "
    header["machst"] = (0x44, 0x44, 0, 0)
    header["nlabl"] = 1
    header["label"][0] = b"cryodrake"
    return header
