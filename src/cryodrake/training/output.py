"""What a finished run leaves: half maps, FSC, the neural field and its map, and the particles with their poses (DESIGN §7).

maps/consensus.mrc is the back-projected map of all images, filtered by its signal-to-noise ratio; maps/field.mrc is the neural
field's. Both come from the same sums; the half maps are unfiltered, and from poses that each half found on its own.
"""

import io
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.fields.fit import fit_network
from cryodrake.fields.mlp import MLPField
from cryodrake.fields.statistics import signal_to_noise
from cryodrake.fields.store import save_field
from cryodrake.fields.target import FieldTarget, from_sums
from cryodrake.inference.reconstruct import accumulate
from cryodrake.inference.source import AbstractImages
from cryodrake.io.atomic import write_text_atomic
from cryodrake.io.job import JobFolder
from cryodrake.io.mrc import write_map
from cryodrake.io.particles import ParticleFile
from cryodrake.physics.fsc import fsc
from cryodrake.training.refinement import HalfMaps
from cryodrake.training.solvent import flatten_solvent, solvent_mask


def write_half_maps(job: JobFolder, halves: HalfMaps, pixel_size_A: float) -> None:
    """Half maps and their FSC, from poses that were found in each half on its own."""
    for i, name in enumerate(("half1_unfil", "half2_unfil")):
        write_map(job.maps / f"{name}.mrc", halves.raw[i].cpu().numpy(), pixel_size_A)
    _write_fsc(job, halves, halves.grid.box * pixel_size_A)


def write_consensus(
    job: JobFolder,
    images: AbstractImages,
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    halves: HalfMaps,
    particle_radius_px: float,
    pixel_size_A: float,
) -> FieldTarget:
    """The map of all images, filtered by what `halves` tell of its signal-to-noise ratio; returned as a field's target."""
    sums = accumulate(images, torch.arange(len(rotation), device=rotation.device), rotation, shift_px, halves.grid)
    ssnr = signal_to_noise(halves.sums[0], halves.sums[1], halves.grid, particle_radius_px)
    target = from_sums(sums, halves.grid, particle_radius_px, ssnr)
    write_map(job.maps / "consensus.mrc", target.density[0].cpu().numpy(), pixel_size_A)
    return target


def write_field(job: JobFolder, target: FieldTarget, particle_radius_px: float, pixel_size_A: float, seed: int) -> None:
    """A field trained on the target, and its map."""
    box, device = target.density.shape[-1], target.density.device
    field = MLPField.for_particle(box, box * pixel_size_A, particle_radius_px, seed=seed).to(device)
    fit_network(field, target)
    density = flatten_solvent(field.to_volume()[0].detach(), solvent_mask(box, particle_radius_px, device))
    write_map(job.maps / "field.mrc", density.cpu().numpy(), pixel_size_A)
    save_field(job.checkpoints / "field.safetensors", field)


def _write_fsc(job: JobFolder, found: HalfMaps, box_A: float) -> None:
    bare = fsc(found.raw[0], found.raw[1])
    shells = np.arange(1, len(bare))
    columns = np.stack([shells / box_A, found.fsc[1:].cpu().numpy(), bare[1:].cpu().numpy()], axis=1)
    text = io.StringIO()
    np.savetxt(text, columns, fmt="%.6f", delimiter=",", header="frequency_inv_A,fsc,fsc_unmasked", comments="")
    write_text_atomic(job.maps / "fsc.csv", text.getvalue())


def write_particles(
    job: JobFolder,
    particles: ParticleFile,
    rotation: Float[Tensor, "n 3 3"],
    shift_A: Float[Tensor, "n 2"],
    half: Tensor,
    confidence: Tensor,
    classes: Int[np.ndarray, " n"] | None = None,
) -> None:
    """particles.star, and a .cs beside it when a .cs came in; `classes` from 0, which RELION counts from 1."""
    poses: dict[str, Any] = {
        "rotations": rotation.cpu().double().numpy(),
        "shifts_A": shift_A.cpu().double().numpy(),
        "half_set": half.cpu().numpy(),
    }
    in_star = {} if classes is None else {"rlnClassNumber": classes + 1}
    particles.write_star(job.path / "particles.star", confidence=confidence.cpu().double().numpy(), extra=in_star, **poses)
    if particles.path.suffix == ".cs":
        in_cs = {} if classes is None else {"alignments3D/class": classes.astype(np.uint32)}
        particles.write_cs(job.path / "particles.cs", extra=in_cs, **poses)


def shifts_in_A(shift_px: Float[Tensor, "n 2"], store: CoefficientStore) -> Float[Tensor, "n 2"]:
    """Pixels of the common frame to Å."""
    return shift_px * store.pixel_size_A
