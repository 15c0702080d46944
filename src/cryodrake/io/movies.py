"""Pictures and films on disk, whole or not at all: PNG and GIF by Pillow, MP4 by ffmpeg where there is one.

ffmpeg is looked for in the package imageio-ffmpeg, which carries one, and then on the PATH. Frames go to it through a pipe.
"""

import importlib
import io
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from cryodrake.io.atomic import write_bytes_atomic

COLOURS = 64  # of a GIF: enough for one shaded surface, and half the size of 256


def write_png(path: Path, picture: Image.Image) -> None:
    """Raises InputError where the folder is not writable or the disk full."""
    content = io.BytesIO()
    picture.save(content, format="png", compress_level=3)
    write_bytes_atomic(path, content.getvalue())


def write_gif(path: Path, frames: Sequence[Image.Image], seconds_a_frame: float) -> None:
    """An endless GIF of frames of one size. Its clock ticks in hundredths of a second.

    Raises:
        InputError: the folder is not writable or the disk full.
    """
    content = io.BytesIO()
    few = [frame.quantize(COLOURS, method=Image.Quantize.FASTOCTREE) for frame in frames]
    few[0].save(content, format="gif", save_all=True, append_images=few[1:], duration=round(1000 * seconds_a_frame), loop=0)
    write_bytes_atomic(path, content.getvalue())


def find_encoder() -> str | None:
    """The ffmpeg to call, or None."""
    try:
        return str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except (ImportError, RuntimeError):  # not installed, or without a program for this machine
        return shutil.which("ffmpeg")


def write_mp4(path: Path, frames: Sequence[Image.Image], seconds_a_frame: float, encoder: str) -> str | None:
    """An MP4 that players and slides accept: yuv420p, even sides, its index in front.

    Returns:
        What ffmpeg complained of where it failed, and then nothing is written; else None.

    Raises:
        InputError: the folder is not writable or the disk full.
    """
    width, height = (side + side % 2 for side in frames[0].size)
    with tempfile.TemporaryDirectory() as folder:
        film, complaint = Path(folder) / "film.mp4", Path(folder) / "complaint.txt"
        command = [
            encoder, "-hide_banner", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
            "-r", f"{1 / seconds_a_frame:.6g}", "-i", "-", "-an", "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(film),
        ]  # fmt: skip
        with complaint.open("wb") as said:
            try:
                running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said)
            except OSError as error:
                return str(error)
            with suppress(BrokenPipeError), running:  # one that has failed reads no further
                assert running.stdin is not None
                for frame in frames:
                    running.stdin.write(_raw(frame, width, height))
        if running.returncode or not film.exists():
            return complaint.read_text(errors="replace").strip() or f"exit code {running.returncode}"
        write_bytes_atomic(path, film.read_bytes())
    return None


def _raw(frame: Image.Image, width: int, height: int) -> bytes:
    """RGB bytes of a frame, the odd row or column filled with white."""
    page = np.full((height, width, 3), 255, np.uint8)
    picture = np.asarray(frame.convert("RGB"))
    page[: picture.shape[0], : picture.shape[1]] = picture
    return page.tobytes()
