"""What a finished run leaves (DESIGN §7): the network itself, and maps back-projected from the images at its poses.

The half maps share the network that posed them: their FSC is no gold standard, and the verdict says so.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.fields.latents import StatePosterior
from cryodrake.fields.store import save_field
from cryodrake.io.atomic import write_npy_atomic
from cryodrake.io.job import JobFolder
from cryodrake.io.mrc import write_map
from cryodrake.io.particles import ParticleFile
from cryodrake.physics.fsc import resolution_A
from cryodrake.training.config import AbinitConfig
from cryodrake.training.cryodrgn2.images import NormalisedImages
from cryodrake.training.cryodrgn2.model import AbstractModel
from cryodrake.training.cryodrgn2.model_flexible import FlexibleModel
from cryodrake.training.cryodrgn2.state import PoseTable
from cryodrake.training.events import AbstractReporter
from cryodrake.training.images import WeightedImages
from cryodrake.training.loading import MASK_RADIUS
from cryodrake.training.output import shifts_in_A, write_consensus, write_half_maps, write_particles
from cryodrake.training.refinement import half_maps
from cryodrake.training.solvent import flatten_solvent, solvent_mask
from cryodrake.training.state_files import write_states
from cryodrake.training.state_maps import LatentImages


def write_results(
    config: AbinitConfig,
    job: JobFolder,
    reporter: AbstractReporter,
    particles: ParticleFile,
    store: CoefficientStore,
    model: AbstractModel,
    images: NormalisedImages,
    poses: PoseTable,
    history: list[dict[str, Any]],
) -> None:
    """Every file of the contract, and the verdict."""
    radius_px = MASK_RADIUS * store.box
    if config.diameter_A is not None:
        radius_px = min(config.diameter_A / 2 / store.pixel_size_A, 0.49 * store.box)
    weighted = WeightedImages(store, store.noise, torch.ones(store.n, device=store.device))
    reporter.phase("maps", 2, "back-projecting to full resolution")
    halves = half_maps(weighted, poses.half, poses.rotation, poses.shift_px, store.box / 2, radius_px)
    write_half_maps(job, halves, store.pixel_size_A)
    reporter.step(1)
    write_consensus(job, weighted, poses.rotation, poses.shift_px, halves, radius_px, store.pixel_size_A)
    write_network(job, model, images.std, radius_px, store.pixel_size_A)
    reporter.step(2)
    if isinstance(model, FlexibleModel):
        found = model.posterior(images, torch.arange(store.n, device=store.device))
        precision = write_latents(job, found)
        data = LatentImages(weighted, poses.rotation, poses.shift_px, poses.half, found.mean, precision, radius_px)
        write_states(job.maps / "states", data, store.pixel_size_A, reporter, seed=config.seed)
    write_particles(job, particles, poses.rotation, shifts_in_A(poses.shift_px, store), poses.half, poses.confidence)
    resolution = resolution_A(halves.fsc, 0.143, store.box_A)
    words, numbers = verdict(resolution, poses, history)
    reporter.finish(None, words, **numbers)


def write_network(job: JobFolder, model: AbstractModel, std: float, radius_px: float, pixel_size_A: float) -> None:
    """The trained field, in the images' own units, and its map (with states: that of the prior's mean)."""
    volume = std * model.typical_map()
    density = flatten_solvent(volume, solvent_mask(volume.shape[-1], radius_px, volume.device))
    write_map(job.maps / "field.mrc", density.cpu().numpy(), pixel_size_A)
    save_field(job.checkpoints / "field.safetensors", model.field_in_units_of(std))


def write_latents(job: JobFolder, found: StatePosterior) -> Float[Tensor, "n z z"]:
    """latents.npy and latents_precision.npy; the latter is returned."""
    precision = torch.diag_embed(torch.exp(-found.log_variance))
    write_npy_atomic(job.path / "latents.npy", found.mean.cpu().numpy())
    write_npy_atomic(job.path / "latents_precision.npy", precision.cpu().numpy())
    return precision


def verdict(resolution: float, poses: PoseTable, history: list[dict[str, Any]]) -> tuple[str, dict[str, float]]:
    """In words, and the numbers."""
    share = float((poses.confidence > 0.9).float().mean())
    searches = [epoch for epoch in history if "mean_pose_change_deg" in epoch]
    words = (
        "the schedule is done, and it has no test of convergence of its own: look at the map. Half maps agree to "
        f"{resolution:.1f} Å (FSC 0.143), which is too good, as one network of all images gave them their poses"
    )
    numbers = {"resolution_A": resolution, "confident_share": share}
    if searches:
        numbers |= {name: searches[-1][name] for name in ("mean_pose_change_deg", "moved_share")}
        words += (
            f"; the last search, in the network as trained since, turned images by {numbers['mean_pose_change_deg']:.1f}° on "
            f"average and found {numbers['moved_share']:.1%} of them elsewhere than the search before"
        )
    return words, numbers
