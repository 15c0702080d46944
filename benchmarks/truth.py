"""What a run could at best reach on a simulated set: bounds that take the truth for granted."""

from pathlib import Path
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.analysis.evaluate import true_map
from cryodrake.data.coefficients import CoefficientStore
from cryodrake.data.density import resample
from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.local import refine
from cryodrake.inference.reference import Reference
from cryodrake.io.particles import read_particles
from cryodrake.physics.rotations import geodesic_deg
from cryodrake.training.images import WeightedImages

ITERATIONS = 12
IMAGES_PER_BLOCK = 256


def pose_ceiling_deg(data: Path, radius: float, device: str = "cpu") -> float:
    """Median angle between the true poses and the likelihood's maxima next to them, against the true map up to `radius`.

    No search against any map does better than that on these images, a share of wrong basins apart.
    """
    truth = read_particles(data / "truth" / "particles.star", datadir=data).table
    store = CoefficientStore.build(read_particles(data / "particles.star"), device=device)
    images = WeightedImages(store, store.noise, torch.ones(store.n, device=store.device))
    rotation = torch.from_numpy(truth.rotations).float().to(store.device)
    shift_px = torch.from_numpy(truth.shifts_A / store.pixel_size_A).float().to(store.device)
    density, pixel_size_A = true_map(data / "truth")
    volume = resample(density, pixel_size_A, store.box, store.pixel_size_A).to(store.device)
    volume = volume * amplitude(images, Reference.build(volume, radius), rotation, shift_px)
    rows = torch.arange(store.n, device=store.device)
    found = refine(images, rows, Reference.build(volume, radius), rotation, shift_px, ITERATIONS)
    return median(geodesic_deg(rotation, found.rotation).tolist())


def amplitude(
    images: WeightedImages, reference: Reference, rotation: Float[Tensor, "n 3 3"], shift_px: Float[Tensor, "n 2"]
) -> float:
    """The factor that brings the true map to the images' normalisation: least squares at the true poses."""
    kxy = images.disc.kxy[: images.disc.count(reference.grid.radius)]
    cross = power = 0.0
    for rows in torch.arange(len(rotation), device=rotation.device).split(IMAGES_PER_BLOCK):
        matched, weight = images.matched(rows, len(kxy))
        slices = torch.view_as_complex(reference.slices(rotation[rows], kxy).contiguous())
        centred = matched * shift_phases(shift_px[rows], kxy, images.disc.box)
        cross += float((centred * slices.conj()).real.sum())
        power += float((weight * slices.abs().square()).sum())
    return cross / power
