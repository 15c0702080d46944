"""Clean images: background of mean 0 and variance 1, a soft circular window, and nothing unusable among them.

The background is what lies outside a circle around the particle (and inside the frame). It is also where the noise is
measured, so the same region serves both. Contrast (dark or bright particles) is decided later, from all images together.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Complex64, Float, Int
from torch import Tensor

from cryodrake.data.images_frame import Frame, Kind
from cryodrake.data.images_transform import FrameTransform
from cryodrake.errors import InputError
from cryodrake.io.particles import ParticleFile
from cryodrake.physics.disc import Disc
from cryodrake.physics.masks import circular_window

BACKGROUND_RADIUS = 0.95  # of half the box: beyond it is background, unless a diameter is given
WINDOW_RADIUS = 0.9  # of half the box: the window falls from 1 there to 0 at half the box
SENSIBLE_DIAMETER = (0.2, 0.98)  # of the box: what can be around a particle and leave a background
FLAT = 1e-6  # a background whose standard deviation is less than this part of the image's own is no background


@dataclass(frozen=True, eq=False)
class CleanImages:
    """Normalised images, not yet windowed, cut to the frame where they are larger.

    Attributes:
        images: (b p p), on the device.
        has_background: (b,) false where the background is constant (masked or padded images).
    """

    images: Float[Tensor, "b p p"]
    has_background: Bool[Tensor, " b"]


class Cleaner:
    """Cleans images of one kind.

    Attributes:
        window: (p p) 1 over the particle, 0 from half the box on.
        outside: (p p) 1 over the background, 0 over the particle; `outside_in_frame` the same in the frame's pixels.
        window_power: mean of window² over the frame; `outside_power` that of outside².
        transform: from (p p) pixels to the frame's half disc.
    """

    def __init__(self, kind: Kind, frame: Frame, disc: Disc, diameter_A: float | None):
        device = disc.kxy.device
        a = kind.pixel_size_A
        half_px = min(kind.field_A, frame.box_A) / 2 / a
        half_keep = min(kind.image_px // 2, int(np.ceil(frame.box_A / 2 / a)))
        self.keep_px = kind.image_px if half_keep == kind.image_px // 2 else 2 * half_keep
        self._first = kind.image_px // 2 - self.keep_px // 2
        radius_px = BACKGROUND_RADIUS * half_px if diameter_A is None else min(diameter_A / 2 / a, 0.98 * half_px)
        inner = WINDOW_RADIUS * half_px
        self.window = circular_window(self.keep_px, inner, half_px - inner, device)
        edge_px = max(1.0, 0.03 * half_px)
        self.outside = 1 - circular_window(self.keep_px, radius_px, edge_px, device)
        shrink = a / frame.pixel_size_A
        self.outside_in_frame = _square(frame.box, half_px * shrink) * (
            1 - circular_window(frame.box, radius_px * shrink, edge_px * shrink)
        )
        self._weight = self.outside / self.outside.sum()
        step = a / frame.box_A
        self.window_power = float((self.window.double() ** 2).sum()) * step**2
        self.outside_power = float((self.outside.double() ** 2).sum()) * step**2
        self.transform = FrameTransform(disc, self.keep_px, self.keep_px // 2, step)

    def clean(self, raw: Float[Tensor, "b d d"]) -> tuple[CleanImages, Bool[Tensor, " b"], Bool[Tensor, " b"]]:
        """Normalised images, and which of the raw ones are not finite and which are constant."""
        high, low = raw.amax((1, 2)), raw.amin((1, 2))  # both pass NaN on
        wild = ~(torch.isfinite(high) & torch.isfinite(low))
        images = raw[:, self._first : self._first + self.keep_px, self._first : self._first + self.keep_px]
        for _ in range(2):  # the second time takes off what float32 left of a large first mean
            images = images - (images * self._weight).sum((1, 2))[:, None, None]
        variance = _inner(images, images * self._weight)
        whole = _inner(images, images) / self.keep_px**2
        has_background = variance > FLAT**2 * whole
        scale = torch.where(has_background, variance, whole.clamp(min=1e-30)).rsqrt()
        return CleanImages(images.mul_(scale[:, None, None]), has_background), wild, high == low

    def coefficients(self, images: Float[Tensor, "b p p"]) -> Complex64[Tensor, "b k"]:
        """Half disc of clean images, windowed."""
        return self.transform(images * self.window)

    def background_power(self, images: Float[Tensor, "b p p"]) -> Float[Tensor, "b k"]:
        """|F|² of the background alone of clean images, per unit of its area."""
        return self.transform(images * self.outside).abs().square() / self.outside_power


def _square(box: int, half_px: float) -> Float[Tensor, "d d"]:
    """1 where the image is, in the frame's pixels."""
    inside = ((torch.arange(box) - box // 2).abs() <= half_px).float()
    return inside[:, None] * inside


def _inner(a: Float[Tensor, "b p p"], c: Float[Tensor, "b p p"]) -> Float[Tensor, " b"]:
    """Inner product of each image with its partner: image by image, not as a matrix product, whose rounding knows the batch."""
    return torch.linalg.vecdot(a.flatten(1), c.flatten(1))


def read_clean(particles: ParticleFile, rows: Int[np.ndarray, " b"], cleaner: Cleaner, device: str | torch.device) -> CleanImages:
    """Clean images of these rows (0-based, all of the cleaner's kind).

    Raises:
        InputError: NaN, infinite or constant images, or as `ParticleFile.read_images`.
    """
    raw = torch.from_numpy(particles.read_images(rows)).to(device)
    clean, wild, constant = cleaner.clean(raw)
    bad = (wild | constant).cpu().numpy()
    if bad.any():
        first = int(bad.argmax())
        refuse(particles, int(rows[first]), raw[first])
    return clean


def refuse(particles: ParticleFile, row: int, image: Float[Tensor, "d d"]) -> None:
    """Raise the InputError for an unusable image of the 0-based `row`."""
    if bool(torch.isnan(image).any()):
        what = "the image has pixels that are NaN"
    elif not bool(torch.isfinite(image).all()):
        what = "the image has infinite pixels"
    else:
        what = f"the image is constant: every pixel is {float(image.flatten()[0]):g}"
    stack = particles.stack_paths[particles.stack_of[row]]
    raise InputError(
        what,
        where=f"{particles.path}, particle {int(particles.rows[row]) + 1} (image {int(particles.index[row]) + 1} of {stack})",
        expected="finite pixels that are not all the same",
        do="remove this particle from the file (or leave it out with --ind), or extract its image again",
    )


def sensible_diameter_A(diameter_A: float | None, frame: Frame) -> tuple[float | None, list[str]]:
    """The diameter where it leaves both a particle and a background, else None and a word about it."""
    if diameter_A is None:
        return None, []
    low, high = (part * frame.box_A for part in SENSIBLE_DIAMETER)
    if low <= diameter_A <= high:
        return diameter_A, []
    said = f"diameter {diameter_A:g} Å is not between {low:.0f} and {high:.0f} Å for a box of {frame.box_A:.0f} Å"
    return None, [f"{said}: the background is taken outside {BACKGROUND_RADIUS:g} of the box"]
