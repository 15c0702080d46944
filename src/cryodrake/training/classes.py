"""Several structures in one set of images. Classes are told apart first (`training.mixture`), as many as `--classes` asks for;
without it the images are taken to be of one structure until they prove to be of several. Then each class is a job of its own in
JOB/classes/class_01, class_02, …, on its images alone, with all that a job leaves, states included.

Class 1 has the most images. The job itself holds what belongs to all images: particles.star with every pose and rlnClassNumber,
classes.npy (from 0), class_posterior.npy, latents.npy (each class's in the frame of its own model); the largest class's maps; and
each class's map in maps/states. Poses are in the frames of their classes' maps. A class's job starts anew, from random poses: the
map that told its images apart is a poorer start (docs/log.md). Only where all images had been refined as one structure's does the
class of that structure go on from there.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.errors import InputError, JobStopped
from cryodrake.io.atomic import write_bytes_atomic, write_npy_atomic
from cryodrake.io.cryodrgn import write_indices
from cryodrake.io.job import JobFolder
from cryodrake.io.particles import ParticleFile, read_particles
from cryodrake.training.abinit import reconstruct
from cryodrake.training.config import AbinitConfig
from cryodrake.training.events import AbstractReporter, JobReporter, StopRequest
from cryodrake.training.loading import load, particle_radius_px
from cryodrake.training.mixture import Classification, Mixture, Several
from cryodrake.training.output import write_particles
from cryodrake.training.part_reporter import PartReporter
from cryodrake.training.state import RunState

LEAST_IMAGES = 100  # of a class: fewer make no map, and go to their next likeliest class
MIXTURE = "mixture"  # name of a checkpoint
OWN = "own."  # names there of what is of the run before
OF_LARGEST = ("consensus.mrc", "half1_unfil.mrc", "half2_unfil.mrc", "fsc.csv")
SEVERAL = "not all images are of one structure: "
NONE = "NOT converged, neither all images together nor apart: "
OpenPart = Callable[[AbinitConfig], JobFolder]


def run(config: AbinitConfig, job: JobFolder, reporter: AbstractReporter, open_part: OpenPart) -> None:
    """The whole job. `open_part` makes or resumes the folder of a class's job from its options.

    Raises:
        InputError: unusable particles, or a folder that cannot be used.
        JobStopped: where the reporter asks for it; resumable.
    """
    torch.manual_seed(config.seed)
    particles, store = load(config, job, reporter)
    several = _saved(job, store.device)
    if config.classes is not None:
        saved = several.mixture if several is not None else None
        several = Several(_told_apart(config, config.classes, saved, job, reporter, store), None)
    elif several is None:
        several = reconstruct(config, job, reporter, particles, store)
        if several is None:
            return
        _save(job, several)
    mixture = by_size(several.mixture)
    first = _where_most_are(mixture.label[several.mixture.label == 0])
    if config.classes is not None and len(mixture.maps) < config.classes:
        reporter.warn(f"only {len(mixture.maps)} of {config.classes} classes are left: the others had too few images")
    folders = [job.path / "classes" / f"class_{c + 1:02d}" for c in range(len(mixture.maps))]
    for c, folder in enumerate(folders):
        rows = torch.nonzero(mixture.label == c).squeeze(1)
        start = several.own.on_images(rows) if several.own is not None and c == first else None
        _reconstruct_class(config, folder, rows, reporter, particles, store, open_part, start)
    _write_maps(job, folders)
    _write_particles(job, folders, mixture, particles)
    _judge(reporter, folders, mixture.label, all_must=config.classes is not None)


def _told_apart(
    config: AbinitConfig, wanted: int, mixture: Mixture | None, job: JobFolder, reporter: AbstractReporter, store: CoefficientStore
) -> Mixture:
    """So many classes, on from a mixture that was saved; each class more is saved."""
    making = Classification(store, particle_radius_px(config, store) / store.box, config.seed, reporter)
    if mixture is None:
        mixture = making.first()
        _save(job, Several(mixture, None))
    while len(mixture.maps) < wanted:
        before, mixture = len(mixture.maps), making.with_another(mixture)
        if len(mixture.maps) == before:
            break
        _save(job, Several(mixture, None))
    return mixture


def _where_most_are(label: Int64[Tensor, " m"]) -> int | None:
    """The class of most of these images; None of none."""
    return int(torch.bincount(label).argmax()) if len(label) else None


def _saved(job: JobFolder, device: torch.device) -> Several | None:
    """The last checkpoint, where it is of a mixture."""
    saved = job.load_latest()
    if saved is None or saved[0] != MIXTURE:
        return None
    tensors, meta = {name: tensor.to(device) for name, tensor in saved[1].items()}, saved[2]
    own = {name.removeprefix(OWN): tensors.pop(name) for name in list(tensors) if name.startswith(OWN)}
    return Several(Mixture(**tensors), RunState.restore(own, meta, device) if own else None)


def _save(job: JobFolder, several: Several) -> None:
    own = several.own
    tensors = {} if own is None else {OWN + name: tensor for name, tensor in own.tensors().items()}
    job.save_checkpoint(MIXTURE, vars(several.mixture) | tensors, {} if own is None else own.meta())


def by_size(mixture: Mixture) -> Mixture:
    """The largest class first; those of fewer than LEAST_IMAGES images dissolved, the smallest first."""
    posterior, maps = mixture.posterior, mixture.maps
    while True:
        count = torch.bincount(posterior.argmax(1), minlength=len(maps))
        order = count.argsort(descending=True, stable=True)
        if len(maps) == 1 or int(count.min()) >= LEAST_IMAGES:
            break
        kept = order[:-1].sort().values
        posterior, maps = posterior[:, kept], maps[kept]
    # Of an image that was nearly certain of a dissolved class, what is left may be zero: any class will do.
    posterior = posterior[:, order].clamp(min=torch.finfo(posterior.dtype).tiny)
    return replace(mixture, maps=maps[order], posterior=posterior / posterior.sum(1, keepdim=True))


def _reconstruct_class(
    config: AbinitConfig,
    folder: Path,
    rows: Int64[Tensor, " m"],
    reporter: AbstractReporter,
    particles: ParticleFile,
    store: CoefficientStore,
    open_part: OpenPart,
    start: RunState | None = None,
) -> None:
    """The job of one class, unless it is finished; `start` as in `reconstruct`."""
    if JobFolder(folder).status["state"] == "finished":
        return
    members = rows.cpu().numpy()
    folder.parent.mkdir(exist_ok=True)
    kept = folder.with_suffix(".pkl")  # with --ind, job.toml of the class can be run again as it is
    write_indices(kept, particles.rows[members])
    own = replace(config, out=folder, classes=1, ind=kept)
    part = open_part(own)
    try:
        speaks = JobReporter(part, StopRequest(), PartReporter(reporter, folder.name.replace("_", " ")))
        reconstruct(own, part, speaks, particles.select(members), store.select(rows), start)
        part.write_status(state="finished")
    except (JobStopped, KeyboardInterrupt):
        part.write_status(state="stopped", eta_s=None)
        raise
    except BaseException as error:
        with suppress(InputError, OSError):  # on a full disk
            part.write_status(state="failed", eta_s=None, verdict=str(error) or type(error).__name__)
        raise
    finally:
        part.close()


def _write_maps(job: JobFolder, folders: list[Path]) -> None:
    """The largest class's maps as the job's, and one map of each class."""
    for name in OF_LARGEST:
        write_bytes_atomic(job.maps / name, (folders[0] / "maps" / name).read_bytes())
    states = job.maps / "states"
    states.mkdir(exist_ok=True)
    for c, folder in enumerate(folders):
        write_bytes_atomic(states / f"state_{c:02d}.mrc", (folder / "maps" / "consensus.mrc").read_bytes())


def _write_particles(job: JobFolder, folders: list[Path], mixture: Mixture, particles: ParticleFile) -> None:
    """All images' poses, classes, latents and scales, gathered from the classes' jobs."""
    label, n = mixture.label.cpu().numpy(), particles.n
    rotations, shifts_A = np.zeros((n, 3, 3)), np.zeros((n, 2))
    half, confidence = np.zeros(n, dtype=np.int64), np.zeros(n)
    arrays: dict[str, np.ndarray] = {}
    for c, folder in enumerate(folders):
        mine, table = label == c, read_particles(folder / "particles.star", need_images=False).table
        for whole, of_class in (
            (rotations, table.rotations), (shifts_A, table.shifts_A), (half, table.half_set), (confidence, table.confidence)
        ):  # fmt: skip
            assert of_class is not None  # the job has just written it
            whole[mine] = of_class
        for path in (*sorted(folder.glob("latents*.npy")), folder / "scales.npy"):
            known = np.load(path, allow_pickle=False)
            arrays.setdefault(path.name, np.zeros((n, *known.shape[1:]), dtype=known.dtype))[mine] = known
    for name, values in arrays.items():
        write_npy_atomic(job.path / name, values)
    write_npy_atomic(job.path / "classes.npy", label)
    write_npy_atomic(job.path / "class_posterior.npy", mixture.posterior.cpu().numpy())
    write_particles(
        job, particles, torch.from_numpy(rotations), torch.from_numpy(shifts_A), torch.from_numpy(half),
        torch.from_numpy(confidence), label,
    )  # fmt: skip


def _judge(reporter: AbstractReporter, folders: list[Path], label: Int64[Tensor, " n"], all_must: bool) -> None:
    """The verdict is the classes' own.

    Classes that were asked for must all converge; of those that images ask for only the largest, as others may hold no particles.
    """
    parts = [JobFolder(folder).status for folder in folders]
    share = (torch.bincount(label, minlength=len(folders)) / len(label)).tolist()
    words = [f"class {c + 1} ({share[c]:.0%} of the images) {part['verdict']}" for c, part in enumerate(parts)]
    bad = [f"class {c + 1}" for c, part in enumerate(parts) if not part["converged"]]
    if bad:
        do = "see `cryodrake abinit` with fewer --classes" if all_must else "images that fit no map are often of no particle"
        reporter.warn(f"{', '.join(bad)} did not converge; {do}")
    converged = not bad if all_must else parts[0]["converged"]
    begins = "" if all_must else SEVERAL if len(bad) < len(parts) else NONE
    reporter.finish(
        converged,
        begins + "; ".join(words),
        resolution_A=parts[0]["resolution_A"],
        confident_share=sum(s * (part["confident_share"] or 0.0) for s, part in zip(share, parts, strict=True)),
        mean_pose_change_deg=parts[0]["mean_pose_change_deg"],
    )
