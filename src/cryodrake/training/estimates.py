"""Noise spectra and image scales, estimated anew from the residuals against the current maps."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.reference import Reference

IMAGES_PER_GROUP = 1000
IMAGES_PER_BLOCK = 64
SCALE_DEVIATION = 0.2  # prior standard deviation of an image's scale about 1


def residual_noise(
    store: CoefficientStore,
    references: Sequence[Reference],
    label: Int64[Tensor, " n"],
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    scale: Float[Tensor, " n"],
    before: Float[Tensor, "g s"],
) -> Float[Tensor, "g s"]:
    """Mean |Y - s·C·V|² per shell and optics group, over up to 1000 images of each; shells beyond the references keep |Y|².

    V is references[label] of the image.

    Divided by the window's power, because windowed images have that much less noise than the part that the particle covers.
    """
    disc = store.disc
    noise = before.clone()
    for g in range(len(before)):
        members = torch.nonzero(store.group == g).squeeze(1)
        rows = members[:: max(1, len(members) // IMAGES_PER_GROUP)]
        power = torch.zeros(disc.n_points, device=rows.device)
        for block in rows.split(IMAGES_PER_BLOCK):
            image = store.images(block)
            predicted = _predict(store, references, label, rotation, shift_px, block) * scale[block][:, None]
            image[:, : predicted.shape[1]] -= predicted
            power += image.abs().square().sum(0)
        spectrum = disc.shell_mean(power / len(rows)) / store.window_power
        known = torch.zeros_like(spectrum, dtype=torch.bool)
        known[disc.shell.unique()] = True
        noise[g] = torch.where(known & (spectrum > 0), spectrum, before[g])
    return noise


def image_scales(
    store: CoefficientStore,
    references: Sequence[Reference],
    label: Int64[Tensor, " n"],
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    noise: Float[Tensor, "g s"],
) -> Float[Tensor, " n"]:
    """Posterior mean of each image's scale under a normal prior about 1; the mean over images is 1."""
    disc = store.disc
    parts = []
    for block in torch.arange(store.n, device=rotation.device).split(IMAGES_PER_BLOCK):
        predicted = _predict(store, references, label, rotation, shift_px, block)
        k = predicted.shape[1]
        inverse = 1 / noise[store.group[block]][:, disc.shell[:k]]
        cross = ((store.images(block, k) * predicted.conj()).real * inverse).sum(1)
        power = (predicted.abs().square() * inverse).sum(1)
        precision = 0.5 / SCALE_DEVIATION**2  # log prior is -precision (s - 1)², log likelihood power·s² - 2·cross·s, negated
        parts.append((cross + precision) / (power + precision))
    scale = torch.cat(parts).clamp(0.3, 3.0)
    return scale / scale.mean()


def _predict(
    store: CoefficientStore, references: Sequence[Reference], label: Tensor, rotation: Tensor, shift_px: Tensor, block: Tensor
) -> Tensor:
    """C·V at the particle's place (not centred), each image from the reference that its label counts."""
    disc = store.disc
    k = disc.count(references[0].grid.radius)
    kxy = disc.kxy[:k]
    slices = torch.empty(len(block), k, 2, device=kxy.device)
    for number, reference in enumerate(references):
        members = label[block] == number
        slices[members] = reference.slices(rotation[block[members]], kxy)
    return torch.view_as_complex(slices) * store.ctf(block, k) * shift_phases(-shift_px[block], kxy, disc.box)
