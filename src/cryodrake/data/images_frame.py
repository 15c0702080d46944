"""The common frame: one number of pixels over one field of view in Å, which all images are brought to.

A particle file may mix pixel sizes and image sizes (optics groups). The frame's field of view is that of the most common
kind of image; Fourier points are cycles per this field of view for every particle, exactly, whatever its own pixel size.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from cryodrake.io.table import ParticleTable

DEFAULT_BOX = 128
FACTORS = (2, 3, 5, 7)  # of sizes that FFTs like


@dataclass(frozen=True, eq=False)
class Kind:
    """The particles (0-based rows) whose images have this size and pixel size."""

    rows: Int[np.ndarray, " b"]
    image_px: int
    pixel_size_A: float

    @property
    def field_A(self) -> float:
        return self.image_px * self.pixel_size_A


@dataclass(frozen=True)
class Frame:
    """`box` pixels over `box_A` Å."""

    box: int
    box_A: float

    @property
    def pixel_size_A(self) -> float:
        return self.box_A / self.box


def kinds_of(table: ParticleTable) -> list[Kind]:
    """The kinds of image in the table, the most common first. The table must know the images' box.

    Raises:
        ValueError: the particles were read without their images.
    """
    if table.box is None:
        raise ValueError("the particles were read without their images")
    pairs = np.stack([table.box.astype(np.float64), table.pixel_size_A], axis=1)
    found, inverse = np.unique(pairs, axis=0, return_inverse=True)
    kinds = [Kind(np.flatnonzero(inverse.reshape(-1) == i), int(image_px), float(size)) for i, (image_px, size) in enumerate(found)]
    return sorted(kinds, key=lambda kind: -len(kind.rows))


def choose_frame(kinds: list[Kind], box: int | None) -> tuple[Frame, list[str]]:
    """The frame for these kinds, and what there is to say about it.

    Args:
        box: pixels, even; None: the images' own, at most 128, and a size that FFTs like.
    """
    reference = kinds[0]
    notes = []
    if box is None:
        box = friendly_size(min(reference.image_px, DEFAULT_BOX))
        if box != reference.image_px:
            notes.append(f"images of {reference.image_px} px are Fourier cropped to {box} px (--box sets it)")
    elif box > reference.image_px:
        notes.append(f"box {box} px is larger than the images' {reference.image_px} px: it adds no information")
    frame = Frame(box, reference.field_A)
    for kind in kinds[1:]:
        verb = "cropped" if kind.field_A > frame.box_A else "padded"
        notes.append(
            f"{len(kind.rows)} images of {kind.image_px} px at {kind.pixel_size_A:.4g} Å are {verb} and resampled to "
            f"the frame of the others, {frame.box} px at {frame.pixel_size_A:.4g} Å"
        )
    return frame, notes


def friendly_size(limit: int) -> int:
    """The largest even number up to `limit` with no prime factor above 7."""
    for size in range(limit - limit % 2, 1, -2):
        rest = size
        for factor in FACTORS:
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
    return 2
