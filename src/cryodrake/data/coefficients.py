"""The resident data set: every particle's half disc of Fourier coefficients, its CTF, and the noise of its optics group.

Images are cleaned and transformed once, chunk by chunk, and kept as complex64 on the device, in memory, or in a scratch
file, whichever is the first with room. Points are sorted by |k|, so a smaller radius reads a prefix of each row.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Complex64, Float, Int64
from torch import Tensor

from cryodrake.data.coefficients_background import coupling
from cryodrake.data.coefficients_ctf import Transfer
from cryodrake.data.coefficients_noise import BLOB_RADIUS, SURE, NoiseSurvey, View, contrast_z, spread
from cryodrake.data.coefficients_storage import (
    COMPLEX_BYTES,
    AbstractRows,
    AbstractStorage,
    FileStorage,
    SelectedRows,
    TensorStorage,
)
from cryodrake.data.coefficients_threads import in_threads
from cryodrake.data.images import Cleaner, read_clean, sensible_diameter_A
from cryodrake.data.images_frame import Kind, choose_frame, kinds_of
from cryodrake.io.particles import ParticleFile
from cryodrake.physics.blocks import at_once, room_bytes
from cryodrake.physics.disc import Disc

PIXELS_PER_CHUNK = 1 << 18  # what a processor's cache holds a few times
CONTRAST_IMAGES = 2000

Progress = Callable[[int, int], None]


@dataclass(eq=False)
class CoefficientStore:
    """Half discs, CTFs and noise of n particles.

    Attributes:
        box: pixels of the common frame; `box_A` its field of view in Å.
        disc: the half disc of the frame, on the device.
        group: (n,) optics group of each particle, on the device.
        noise: (g s) E|n|² per complex coefficient, of the unwindowed images.
        window_power: mean of window²: spectra of residuals of the windowed images are lower by this factor.
        notes: what was assumed, ignored or done, one sentence each.
    """

    n: int
    box: int
    box_A: float
    disc: Disc
    group: Int64[Tensor, " n"]
    noise: Float[Tensor, "g s"]
    window_power: float
    notes: tuple[str, ...]
    _storage: AbstractRows = field(repr=False)
    _transfer: Callable[[Int64[Tensor, " b"], int], Float[Tensor, "b k"]] = field(repr=False)
    _inverted: bool = False

    @property
    def pixel_size_A(self) -> float:
        """Å per pixel of the frame."""
        return self.box_A / self.box

    @property
    def device(self) -> torch.device:
        return self.disc.kxy.device

    @classmethod
    def build(
        cls,
        particles: ParticleFile,
        box: int | None = None,
        diameter_A: float | None = None,
        device: str | torch.device = "cpu",
        memory_gib: float = 4.0,
        scratch: Path | None = None,
        progress: Progress | None = None,
        chunk: int | None = None,
    ) -> "CoefficientStore":
        """Read, clean and transform all images.

        Args:
            box: pixels to Fourier crop to, even; None chooses (images_frame.choose_frame).
            diameter_A: of the circle around the particle; outside is background.
            memory_gib: host memory that may be used; half of it for the coefficients, a quarter for CTFs, or as much of a card's.
            scratch: folder for coefficients that do not fit; None: the folder for temporary files.
            progress: called with (images done, images in all).
            chunk: images at a time; the result does not depend on it.

        Raises:
            InputError: unusable images (see data/images.py), or no room for the coefficients.
        """
        kinds = kinds_of(particles.table)
        frame, notes = choose_frame(kinds, box)
        diameter_A, said = sensible_diameter_A(diameter_A, frame)
        disc = Disc.build(frame.box, device=device)
        cleaners = [Cleaner(kind, frame, disc, diameter_A) for kind in kinds]
        storage = choose_storage(particles.n, disc.n_points, disc.kxy.device, memory_gib, scratch)
        survey = NoiseSurvey(particles.table.optics_group, disc)
        take_in = partial(_take_in, particles, cleaners, storage, survey)
        done = 0
        for length in in_threads(take_in, _chunks(kinds, disc.kxy.device, chunk)):
            done += length
            if progress is not None:
                progress(done, particles.n)
        known = _known_points(particles.n, kinds, cleaners)
        store = cls(
            n=particles.n,
            box=frame.box,
            box_A=frame.box_A,
            disc=disc,
            group=torch.tensor(particles.table.optics_group, dtype=torch.int64).to(device),
            noise=survey.spectra(_views(particles, kinds, cleaners, disc)),
            window_power=cleaners[0].window_power,
            notes=(*notes, *said, *survey.notes()),
            _storage=storage,
            _transfer=Transfer(particles.table, frame.box_A, disc, known, room_bytes(disc.kxy.device, memory_gib) / 4),
        )
        store._settle_contrast()
        return store

    def select(self, rows: Int64[Tensor, " m"]) -> "CoefficientStore":
        """Some of the particles, in this order; their coefficients stay where they are."""
        here, transfer = rows.to(self.device), self._transfer
        return replace(
            self,
            n=len(rows),
            group=self.group[here],
            _storage=SelectedRows(self._storage, rows),
            _transfer=lambda some, k: transfer(here[some.to(self.device)], k),
        )

    def images(self, rows: Int64[Tensor, " b"], k: int | None = None) -> Complex64[Tensor, "b k"]:
        """Windowed images' coefficients at the first k points (all, if None), particles bright."""
        values = self._storage.read(rows, self.disc.n_points if k is None else k).to(self.device)
        return -values if self._inverted else values

    def ctf(self, rows: Int64[Tensor, " b"], k: int | None = None) -> Float[Tensor, "b k"]:
        """CTF at the first k points; 1 where the file has none."""
        return self._transfer(rows, self.disc.n_points if k is None else k)

    def matched(
        self, rows: Int64[Tensor, " b"], k: int, noise: Float[Tensor, "g s"]
    ) -> tuple[Complex64[Tensor, "b k"], Float[Tensor, "b k"]]:
        """Y·C/σ² and C²/σ² at the first k points: all that the likelihood takes from the data."""
        transfer = self.ctf(rows, k)
        weighted = transfer / noise[self.group[rows.to(self.device)]][:, self.disc.shell[:k]]
        return self.images(rows, k) * weighted, transfer * weighted

    def _settle_contrast(self) -> None:
        """Find whether particles are dark, from up to 2000 images; make them bright and say so."""
        rows = torch.from_numpy(spread(self.n, CONTRAST_IMAGES))
        k = self.disc.count(BLOB_RADIUS)
        z = contrast_z(self.images(rows, k), self.ctf(rows, k), self.disc)
        self._inverted = z < -SURE
        if self._inverted:
            said = f"particles are dark on a bright background ({-z:.0f} standard errors): images were multiplied by -1"
        elif z < SURE:
            said = "cannot tell from the images whether particles are dark or bright: bright was assumed"
        else:
            return
        self.notes = (*self.notes, said)


def _take_in(
    particles: ParticleFile, cleaners: list[Cleaner], storage: AbstractStorage, survey: NoiseSurvey, chunk: tuple[int, np.ndarray]
) -> int:
    """Read, clean, transform and store one chunk; the number of its images. Chunks touch nothing of each other's."""
    i, rows = chunk
    cleaner = cleaners[i]
    clean = read_clean(particles, rows, cleaner, cleaner.window.device)
    storage.write(rows, cleaner.coefficients(clean.images))
    wanted = survey.wanted(rows, clean.has_background.cpu().numpy())
    if len(wanted):
        images = clean.images[torch.from_numpy(wanted).to(clean.images.device)]
        survey.add(rows[wanted], cleaner.background_power(images))
    return len(rows)


def _views(particles: ParticleFile, kinds: list[Kind], cleaners: list[Cleaner], disc: Disc) -> dict[int, View]:
    """How each optics group's noise is seen; a group has one kind of image."""
    views = {}
    for kind, cleaner in zip(kinds, cleaners, strict=True):
        unknown = disc.shell[~cleaner.transform.known]
        n_shells = int(unknown.min()) if len(unknown) else disc.n_shells
        view = View(coupling(cleaner.outside_in_frame, disc), n_shells)
        views.update(dict.fromkeys(np.unique(particles.table.optics_group[kind.rows]).tolist(), view))
    return views


def _known_points(n: int, kinds: list[Kind], cleaners: list[Cleaner]) -> Int64[Tensor, " n"]:
    """Number of leading points below each particle's own Nyquist frequency."""
    known = torch.zeros(n, dtype=torch.int64)
    for kind, cleaner in zip(kinds, cleaners, strict=True):
        known[torch.from_numpy(kind.rows)] = int(cleaner.transform.known.sum())
    return known


def _chunks(kinds: list[Kind], device: torch.device, length: int | None) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the kind, rows) of each chunk, kind by kind in the order of the file."""
    pixels = at_once(PIXELS_PER_CHUNK, device)
    for i, kind in enumerate(kinds):
        step = length or max(1, pixels // kind.image_px**2)
        for start in range(0, len(kind.rows), step):
            yield i, kind.rows[start : start + step]


def choose_storage(n: int, k: int, device: torch.device, memory_gib: float, scratch: Path | None) -> AbstractStorage:
    """Where half of the room holds n·k numbers: on the device, else in memory; else a file."""
    needed = n * k * COMPLEX_BYTES
    for place in dict.fromkeys((device, torch.device("cpu"))):
        if needed <= room_bytes(place, memory_gib) / 2:
            return TensorStorage(n, k, place)
    return FileStorage(n, k, scratch or Path(tempfile.gettempdir()))
