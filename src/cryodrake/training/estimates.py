"""Noise spectra and image scales, estimated anew from the residuals against the current maps."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.reference import Reference
from cryodrake.physics.blocks import at_once

IMAGES_PER_GROUP = 1000
IMAGES_PER_BLOCK = 64
SCALE_RADIUS = 20.0  # cycles per box, of the references that scales are read from: nearly all of the signal
SCALE_DEVIATION = 0.2  # prior standard deviation of an image's scale about 1
MAD = 1.4826  # a normal distribution's standard deviation over its median absolute deviation


def residual_noise(
    store: CoefficientStore,
    references: Iterable[Reference],
    label: Int64[Tensor, " n"],
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    scale: Float[Tensor, " n"],
    before: Float[Tensor, "g s"],
) -> Float[Tensor, "g s"]:
    """Mean |Y - s·C·V|² per shell and optics group, over up to 1000 images of each; shells beyond the references keep |Y|².

    V is references[label] of the image; images whose label is -1 are left out.

    Divided by the window's power, because windowed images have that much less noise than the part that the particle covers.
    """
    disc = store.disc
    members = [torch.nonzero((store.group == g) & (label >= 0)).squeeze(1) for g in range(len(before))]
    rows = torch.cat([of_group[:: max(1, len(of_group) // IMAGES_PER_GROUP)] for of_group in members])
    power = torch.zeros(len(before), disc.n_points, device=rows.device)
    for reference, block in _blocks(references, label, rows):
        image = store.images(block)
        predicted = _predict(store, reference, rotation[block], shift_px[block], block) * scale[block][:, None]
        image[:, : predicted.shape[1]] -= predicted
        power.index_add_(0, store.group[block], image.abs().square())
    number = torch.bincount(store.group[rows], minlength=len(before)).clamp(min=1)
    spectrum = torch.stack([disc.shell_mean(p) for p in power / number[:, None]]) / store.window_power
    known = torch.zeros_like(spectrum, dtype=torch.bool)
    known[:, disc.shell.unique()] = True
    return torch.where(known & (spectrum > 0), spectrum, before)


@dataclass(frozen=True, eq=False)
class Amplitudes:
    """Of n images against their references.

    Attributes:
        scale: posterior mean of each image's scale under a normal prior about 1; the mean over images is 1.
        surprise: how many standard deviations of all images an image's least-squares amplitude lies from what is usual. In a
            wrong pose, however likely it seems among others, an image holds less of the map: far below zero.
    """

    scale: Float[Tensor, " n"]
    surprise: Float[Tensor, " n"]


def image_amplitudes(
    store: CoefficientStore,
    references: Iterable[Reference],
    label: Int64[Tensor, " n"],
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    noise: Float[Tensor, "g s"],
) -> Amplitudes:
    """How much of references[label] each image holds, at its pose; images whose label is -1 are as they would be without data."""
    disc = store.disc
    cross, power = torch.zeros_like(shift_px).unbind(1)
    for reference, block in _blocks(references, label, torch.arange(store.n, device=rotation.device)):
        predicted = _predict(store, reference, rotation[block], shift_px[block], block)
        k = predicted.shape[1]
        inverse = 1 / noise[store.group[block]][:, disc.shell[:k]]
        cross[block] = ((store.images(block, k) * predicted.conj()).real * inverse).sum(1)
        power[block] = (predicted.abs().square() * inverse).sum(1)
    return amplitudes_of(cross, power, label >= 0)


def amplitudes_of(cross: Float[Tensor, " n"], power: Float[Tensor, " n"], known: Bool[Tensor, " n"]) -> Amplitudes:
    """From Re⟨CV, Y/σ²⟩ and ⟨CV, CV/σ²⟩ of each image; images that are not `known` have zeros there."""
    precision = 0.5 / SCALE_DEVIATION**2  # log prior is -precision (s - 1)², log likelihood power·s² - 2·cross·s, negated
    scale = ((cross + precision) / (power + precision)).clamp(0.3, 3.0)
    # The amplitude cross/power has variance 1/(2 power) from noise alone: this has the same for all images.
    off = (cross - power * (cross.sum() / power.sum())) / power.clamp(min=1e-12).sqrt()
    off = torch.where(known, off - off[known].median(), 0)
    return Amplitudes(scale / scale[known].mean(), off / (MAD * off[known].abs().median()).clamp(min=1e-12))


def _blocks(
    references: Iterable[Reference], label: Int64[Tensor, " n"], rows: Int64[Tensor, " b"]
) -> Iterator[tuple[Reference, Int64[Tensor, " b2"]]]:
    """The rows, a few at a time, with their reference."""
    for number, reference in enumerate(references):
        for block in rows[label[rows] == number].split(at_once(IMAGES_PER_BLOCK, rows.device)):
            if len(block):
                yield reference, block


def _predict(store: CoefficientStore, reference: Reference, rotation: Tensor, shift_px: Tensor, block: Tensor) -> Tensor:
    """C·V at the particle's place (not centred)."""
    k = store.disc.count(reference.grid.radius)
    kxy = store.disc.kxy[:k]
    slices = torch.view_as_complex(reference.slices(rotation, kxy))
    return slices * store.ctf(block, k) * shift_phases(-shift_px, kxy, store.disc.box)
