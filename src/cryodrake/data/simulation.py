"""Simulation: particle images of a known structure as a particle file, with the truth beside it.

    DIR/particles.star   RELION 3.1, CTFs but no poses      DIR/truth/particles.star    the same with the true poses
    DIR/particles.mrcs   float32                            DIR/truth/state.npy         state of each particle
    DIR/truth/volumes/state_000.mrc …                       DIR/truth/states.csv        names, coordinates, counts
    DIR/truth/moving.mrc       where states differ          DIR/truth/simulation.json   options, pixel size, noise
    DIR/truth/empty.npy        which images hold no particle, where some do not

Noise: σ = (standard deviation over all pixels of the clean images, CTF applied) / √SNR, as CryoBench has it. So the
clean images are formed first, all of them, into a scratch file; a second pass adds noise. Both stream: memory holds one
density and one chunk. Noise has a stream per particle, everything else is drawn whole: chunks change nothing.
"""

import errno
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO

import numpy as np
import torch
from jaxtyping import Float, Int

from cryodrake import __version__
from cryodrake.data.density import resample
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.data.simulation_images import Projector, chunk_length, noise_filter, unit_noise
from cryodrake.data.simulation_presets import Recipe
from cryodrake.data.simulation_states import Spread, write_states
from cryodrake.data.simulation_structures import Structures, load_structures
from cryodrake.data.simulation_truth import Truth, draw_truth
from cryodrake.errors import InputError
from cryodrake.io.atomic import DISK_FULL, write_json_atomic, write_npy_atomic
from cryodrake.io.mrc import StackWriter, write_map
from cryodrake.io.relion_write import write_new_star
from cryodrake.physics.fourier import crop_images

STACK = "particles.mrcs"


def simulate(config: SimulateConfig, progress: Callable[[float], None] | None = None) -> Path:
    """Write the simulated folder `config.out` and return it.

    Args:
        progress: called with the share that is done, 0 to 1.

    Raises:
        InputError: the folder holds something, an input file is not usable, or the disk is full.
    """
    if config.out.exists() and (not config.out.is_dir() or any(config.out.iterdir())):
        raise InputError("exists and is not an empty folder", where=config.out, do="choose another --out")
    recipe = config.recipe()
    structures = load_structures(config)
    truth = draw_truth(config, len(structures), structures.pixel_size_A)
    with _new_folder(config.out) as folder:
        done = _Progress(progress, 2 * config.n)
        with _scratch(folder, 2 * config.n * recipe.box**2 * 4) as scratch:
            clean_variance = _form_clean(folder, recipe, structures, truth, scratch, done)
            sigma = math.sqrt(clean_variance / recipe.snr)
            _add_noise(folder, config, truth, scratch, sigma, done)
        _write_tables(folder, recipe, truth)
        write_states(folder / "truth" / "states.csv", structures.states, truth.state)
        record = {
            "version": __version__,
            "pixel_size_A": structures.pixel_size_A,
            "clean_std": math.sqrt(clean_variance),
            "noise_std": sigma,
            "states": [state.name for state in structures.states],
            "options": _plain(asdict(config) | asdict(recipe)),
        }
        write_json_atomic(folder / "truth" / "simulation.json", record)
    return config.out


class _Progress:
    def __init__(self, report: Callable[[float], None] | None, total: int):
        self.report, self.total, self.done = report, total, 0

    def add(self, n: int) -> None:
        self.done += n
        if self.report is not None:
            self.report(self.done / self.total)


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A hidden folder that becomes `out` when the block ends well, and goes otherwise."""
    partial = out.absolute().with_name(f".{out.absolute().name}.{os.getpid()}.partial")
    try:
        (partial / "truth" / "volumes").mkdir(parents=True)
        yield partial
        partial.rename(out)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EROFS, errno.ENOTDIR, *DISK_FULL):
            raise
        raise InputError(f"cannot be written: {error.strerror}", where=out, do="choose another --out") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _scratch(folder: Path, needed_bytes: int) -> Iterator[IO[bytes]]:
    """A nameless file on the disk of the output: gone however the run ends."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            yield file
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        room = f"{needed_bytes:,} bytes of room"
        raise InputError("the disk is full", where=folder.parent, expected=room, do="free some space") from error


def _form_clean(folder: Path, recipe: Recipe, structures: Structures, truth: Truth, scratch: IO[bytes], done: _Progress) -> float:
    """True maps, and clean images cropped to `box` into the scratch file; returns their variance before the crop."""
    power = np.zeros(len(truth.state))
    to_form = recipe.box / recipe.form_box  # pixel sizes as written to those as formed
    form_pixel_A, smallest_A = structures.pixel_size_A * to_form, float(truth.pixel_size_A.min()) * to_form
    step = chunk_length(recipe.form_box)
    spread = Spread()
    for state in range(len(structures)):
        density = structures.density(state)
        written = resample(density, form_pixel_A, recipe.box, structures.pixel_size_A)
        write_map(folder / "truth" / "volumes" / f"state_{state:03d}.mrc", written.numpy(), structures.pixel_size_A)
        spread.add(written)
        projector = Projector.of(density, form_pixel_A, smallest_A)
        for group in np.unique(truth.group):
            rows = np.flatnonzero((truth.state == state) & (truth.group == group))
            for start in range(0, len(rows), step):
                chunk = rows[start : start + step]
                images = _clean_images(projector, truth, chunk, recipe)
                # The origin of Fourier space is left out, so an image's mean is 0 and its power is its variance.
                power[chunk] = (images.double() ** 2).mean((1, 2)).numpy()
                _put(scratch, chunk, crop_images(images, recipe.box).numpy())
                done.add(len(chunk))
    if len(structures) > 1:
        write_map(folder / "truth" / "moving.mrc", spread.mask().numpy(), structures.pixel_size_A)
    return float(power[truth.contrast != 0].mean())


def _put(scratch: IO[bytes], rows: Int[np.ndarray, " b"], images: Float[np.ndarray, "b d d"]) -> None:
    for row, image in zip(rows.tolist(), images, strict=True):
        if os.pwrite(scratch.fileno(), image.tobytes(), row * image.nbytes) != image.nbytes:
            raise OSError(errno.ENOSPC, "No space left on device")  # a disk that fills up may take a part


def _clean_images(projector: Projector, truth: Truth, rows: Int[np.ndarray, " b"], recipe: Recipe) -> Float[torch.Tensor, "b d d"]:
    """Images of `form_box` pixels of particles of one optics group and state."""
    form_pixel_A = truth.pixel_size_A[rows] * recipe.box / recipe.form_box
    optics = replace(truth.optics(rows), pixel_size_A=torch.from_numpy(form_pixel_A))
    at_px = torch.from_numpy(-truth.shifts_A[rows] / form_pixel_A[:, None]).float()
    contrast = torch.from_numpy(truth.contrast[rows]).float()
    return projector.images(torch.from_numpy(truth.rotations[rows]).float(), at_px, optics, contrast)


def _add_noise(folder: Path, config: SimulateConfig, truth: Truth, scratch: IO[bytes], sigma: float, done: _Progress) -> None:
    """The scratch file's images plus noise (made at `form_box` and cropped, as the images were) to the stack."""
    recipe = config.recipe()
    amplitude = noise_filter(recipe.form_box, config.noise_colour) if config.noise_colour else None
    image_bytes = recipe.box**2 * 4
    step = chunk_length(recipe.form_box)
    with StackWriter(folder / STACK, config.n, recipe.box, float(truth.pixel_size_A[0])) as stack:
        for start in range(0, config.n, step):
            rows = np.arange(start, min(start + step, config.n))
            raw = os.pread(scratch.fileno(), len(rows) * image_bytes, start * image_bytes)
            images = np.frombuffer(raw, np.float32).reshape(-1, recipe.box, recipe.box)
            if sigma > 0:
                factor = torch.from_numpy(truth.noise[rows] * sigma).float()[:, None, None]
                added = crop_images(unit_noise(rows, config.seed, recipe.form_box, amplitude), recipe.box)
                images = images + (added * factor).numpy()
            stack.write(images)
            done.add(len(rows))


def _write_tables(folder: Path, recipe: Recipe, truth: Truth) -> None:
    write_npy_atomic(folder / "truth" / "state.npy", truth.state.astype(np.int64))
    if (truth.contrast == 0).any():
        write_npy_atomic(folder / "truth" / "empty.npy", truth.contrast == 0)
    index = np.arange(len(truth.state))
    images = ((STACK,), np.zeros_like(index), index)
    state_column = {"rlnClassNumber": truth.state + 1}
    write_new_star(folder / "truth" / "particles.star", truth.table(recipe.box, True), *images, state_column)
    write_new_star(folder / "particles.star", truth.table(recipe.box, False), *images)


def _plain(value: object) -> object:
    """For JSON: paths as text, infinity (no noise) as null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return None
    return str(value) if isinstance(value, Path) else value
