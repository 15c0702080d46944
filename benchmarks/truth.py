"""What a run could at best reach on a simulated set: bounds that take the truth for granted."""

from pathlib import Path
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.analysis.compare_poses import fit_rotation
from cryodrake.analysis.evaluate_maps import true_map
from cryodrake.data.coefficients import CoefficientStore
from cryodrake.data.density import resample
from cryodrake.inference.likelihood import shift_phases
from cryodrake.inference.reference import Reference
from cryodrake.io.particles import read_particles
from cryodrake.physics.symmetry import operators as symmetry_operators
from cryodrake.training import refinement
from cryodrake.training.images import WeightedImages

SEARCHES = 3
IMAGES_PER_SEARCH = 2500
IMAGES_PER_BLOCK = 256


def pose_ceiling_deg(data: Path, radius: float, device: str = "cpu", symmetry: str = "C1") -> float:
    """Median angle between the true poses and those of the run's own search, up to `radius`, against the true map.

    Images in a wrong basin count, as they do in a run; the searches are as many as find nearly all images where they were.
    """
    truth = read_particles(data / "truth" / "particles.star", datadir=data).table
    store = CoefficientStore.build(read_particles(data / "particles.star"), device=device)
    images = WeightedImages(store, store.noise, torch.ones(store.n, device=store.device))
    assert truth.shifts_A is not None  # simulated sets have them
    true_rotation = torch.from_numpy(truth.rotations).float().to(store.device)
    true_shift_px = torch.from_numpy(truth.shifts_A / store.pixel_size_A).float().to(store.device)
    density, pixel_size_A = true_map(data / "truth")
    volume = resample(density, pixel_size_A, store.box, store.pixel_size_A).to(store.device)
    volume = volume * amplitude(images, Reference.build(volume, radius), true_rotation, true_shift_px)
    everyone = torch.arange(store.n, device=store.device)
    operators = torch.eye(3, device=store.device)[None]
    coarse = refinement.search_radius(images, everyone, volume, radius)
    found = None
    for i in range(SEARCHES):
        grid = refinement.Grid.draw(coarse, store.box, torch.Generator().manual_seed(i), store.device)
        parts = []
        for rows in everyone.split(IMAGES_PER_SEARCH):
            known = None if found is None else (found[0][rows], found[1][rows])
            parts.append(refinement.global_poses(images, rows, volume, radius, grid, known, found is not None, operators))
        found = torch.cat([part.rotation for part in parts]), torch.cat([part.shift_px for part in parts])
    assert found is not None
    group = symmetry_operators(symmetry).float().to(store.device)
    return median(fit_rotation(found[0], true_rotation, group).error_deg.tolist())


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
