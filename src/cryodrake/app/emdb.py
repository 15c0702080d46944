"""`cryodrake emdb`: the files that a deposition in EMDB needs, made of a job, and a checklist with what is known filled in."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import tyro
from jaxtyping import Float32

from cryodrake.analysis.job_states import holds_classes
from cryodrake.errors import InputError

if TYPE_CHECKING:
    from cryodrake.analysis.deposition import JobFacts
    from cryodrake.analysis.map_mask import MapMask
    from cryodrake.io.table import ParticleTable


@dataclass(frozen=True)
class EmdbConfig:
    """Which map of a job to deposit, and how."""

    job: tyro.conf.Positional[Path]
    """Folder of a finished job."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))]
    """Folder to make: map, half maps, mask, FSC (XML), image, checklist.txt."""
    state: int | None = None
    """Of a job with states, deposit maps/states/state_XX.mrc of this number. Default: the consensus map."""
    mask: Path | None = None
    """The mask to deposit, on the grid and in the hand of the job's map. Default: as `cryodrake mask` makes it."""
    level: float | None = None
    """Recommended contour level. Default: between particle and surroundings."""
    flip: bool = False
    """Deposit the mirror image: the other hand."""


def main(config: EmdbConfig) -> None:
    """Writes the files, and says what they are.

    Raises:
        InputError: the job has no such map or half maps, the mask does not fit, or the folder is taken.
    """
    import torch

    from cryodrake.analysis.deposition import FILES, DepositedMap, checklist
    from cryodrake.analysis.figures_curves import write_fsc
    from cryodrake.analysis.figures_surface import contour_level
    from cryodrake.analysis.map_agreement import compare_maps
    from cryodrake.analysis.map_folder import write_map_views
    from cryodrake.app.folders import make_folder, refuse_taken
    from cryodrake.io.atomic import write_text_atomic
    from cryodrake.io.emdb import write_fsc_xml
    from cryodrake.io.mrc import write_map

    refuse_taken(config.out)
    maps, pixel_size_A = job_maps(config)
    facts, particles = facts_of(config)
    level = contour_level(torch.from_numpy(maps[0])) if config.level is None else config.level
    mask = chosen_mask(config, maps[0], pixel_size_A)
    make_folder(config.out)
    targets = [config.out / name for name in FILES]
    for target, volume in zip(targets[:4], (*maps, mask.mask.numpy()), strict=True):
        write_map(target, volume, pixel_size_A)
    found = compare_maps(targets[1], targets[2], targets[3])
    frequency = found.table["frequency_inv_A"].to_numpy()
    write_fsc_xml(targets[4], frequency, found.table["fsc_corrected"].to_numpy(), "FSC, corrected for the mask")
    write_fsc(config.out / "fsc.png", found.table)
    write_image(targets[5], maps[0], level)
    write_map_views(config.out, list(FILES)[:4], {targets[0].name: level})
    entry = DepositedMap(maps[0].shape[0], pixel_size_A, level, found.resolution_A, mask.mass_kDa)
    write_text_atomic(config.out / "checklist.txt", checklist(entry, facts, particles))
    print("\n".join([*found.words, *(f"  {config.out / name}  {words}" for name, words in FILES.items())]))
    print(f"  {config.out / 'checklist.txt'}  what the form asks for, filled in as far as the job knows")


def job_maps(config: EmdbConfig) -> tuple[list[Float32[np.ndarray, "d d d"]], float]:
    """The map and its half maps in the hand asked for, and their voxel size in Å.

    Raises:
        InputError: one is missing, they do not lie on one grid, or the job has classes.
    """
    from cryodrake.analysis.map_pair import read_finite, read_like
    from cryodrake.app.export import flipped_map

    if holds_classes(config.job):
        do = f"cryodrake emdb {config.job / 'classes' / 'class_01'}, and so on"
        raise InputError("has classes, each of them a job and an entry of its own", where=config.job, do=do)
    folder = config.job / "maps" if config.state is None else config.job / "maps" / "states"
    prefix = "" if config.state is None else f"state_{config.state:02d}_"
    first = folder / f"{prefix.rstrip('_') or 'consensus'}.mrc"
    paths = [first, *(folder / f"{prefix}half{i}_unfil.mrc" for i in (1, 2))]
    for path in paths:
        if not path.exists():
            raise InputError("no such map", where=path, expected="a finished job; --state needs one with maps of states")
    volume, pixel_size_A = read_finite(first)
    maps = [volume.numpy(), *(read_like(path, volume.shape[0], pixel_size_A, first).numpy() for path in paths[1:])]
    return [flipped_map(v) if config.flip else v for v in maps], pixel_size_A


def chosen_mask(config: EmdbConfig, volume: Float32[np.ndarray, "d d d"], pixel_size_A: float) -> "MapMask":
    """The given mask, or one made of the map; with what it encloses.

    Raises:
        InputError: the given one does not fit.
    """
    from dataclasses import replace

    import torch

    from cryodrake.analysis.map_mask import mask_of_map
    from cryodrake.analysis.map_pair import read_mask
    from cryodrake.app.export import flipped_map
    from cryodrake.app.mask import MaskConfig, default_lowpass_A

    usual = MaskConfig(map=config.job, out=config.out)
    density, lowpass_A = torch.from_numpy(np.ascontiguousarray(volume)), default_lowpass_A(pixel_size_A)
    made = mask_of_map(density, pixel_size_A, lowpass_A, usual.extend_px, usual.edge_px)
    if config.mask is None:
        return made
    given = read_mask(config.mask, volume.shape[0], pixel_size_A, config.job / "maps").numpy()
    return replace(made, mask=torch.from_numpy(np.ascontiguousarray(flipped_map(given) if config.flip else given)))


def write_image(path: Path, volume: Float32[np.ndarray, "d d d"], level: float) -> None:
    """The picture of the entry."""
    import torch

    from cryodrake.analysis.deposition import IMAGE_px
    from cryodrake.analysis.map_folder import write_still

    write_still(path, torch.from_numpy(np.ascontiguousarray(volume)), level, size_px=IMAGE_px)


def facts_of(config: EmdbConfig) -> tuple["JobFacts", "ParticleTable"]:
    """What the checklist says of the job and its particles.

    Raises:
        InputError: the job's files cannot be read.
    """
    from cryodrake.analysis.deposition import JobFacts, angles_of
    from cryodrake.io.job import JobFolder
    from cryodrake.io.particles import read_particles
    from cryodrake.io.toml import load_toml

    saved = load_toml(config.job / "job.toml")[1]
    command, preset = saved.get("command"), saved.get("options", {}).get("preset", "default")
    facts = JobFacts(
        name="consensus" if config.state is None else f"state {config.state}",
        is_mirrored=config.flip,
        has_independent_halves=config.state is None and command == "abinit" and preset == "default",
        verdict=JobFolder(config.job).status["verdict"],
        angles=angles_of(str(command)),
    )
    return facts, read_particles(config.job / "particles.star", need_images=False).table
