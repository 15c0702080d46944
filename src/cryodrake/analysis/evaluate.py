"""`evaluate`: how near a reconstruction is to a known truth, map and poses, after the best global alignment.

FSC-AUC is the mean of the unmasked FSC over shells 1 … d/2; `fsc_auc_cryobench` is CryoBench's number: the area under
the curve over frequency in 1/px from 0 to (d/2 - 1)/d, the origin counted as 1 (so at most 0.492 for 128 px).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from cryodrake.analysis.compare_poses import PoseFit, fit_offset, fit_rotation
from cryodrake.data.density import resample
from cryodrake.errors import InputError
from cryodrake.inference.alignment import Alignment, align, move, within_ball
from cryodrake.io.mrc import read_map
from cryodrake.io.particles import ParticleFile, read_particles
from cryodrake.physics.fsc import area_under, fsc, resolution_A
from cryodrake.physics.masks import around
from cryodrake.physics.symmetry import operators


@dataclass(frozen=True)
class EvaluateConfig:
    """A reconstruction against the truth of a simulation."""

    job: tyro.conf.Positional[Path]
    """Job folder (maps/consensus.mrc, particles.star), or any folder when map and poses are given."""
    truth: Path
    """Simulated folder: truth/particles.star and truth/volumes/."""
    map: Path | None = None
    """Map to compare instead of JOB/maps/consensus.mrc."""
    poses: Path | None = None
    """Poses instead of those of JOB/particles.star: .star, .cs, or cryoDRGN's pose.pkl (in the order of the truth)."""
    symmetry: str = "C1"
    """Point group of the truth (C4, D2, O …): poses that differ by it are the same."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON instead of words."""


@dataclass(frozen=True)
class EvaluationResult:
    """What was found; None where the job has no map, or no poses.

    Attributes:
        n: particles compared.
        fsc: unmasked FSC for shells 0 … d/2 of a box of box_A Å; `fsc_masked` in a soft mask around the true density.
        fsc05_A, fsc0143_A: resolutions at which it falls below the threshold.
        rotation_error_…_deg: angle to the true pose after the best global rotation and hand.
        shift_error_…_px: distance to the true position, in pixels of the images, after the best global offset.
        hand: "same" or "mirrored", of the map, or of the poses where there is no map; `hand_of_poses` is theirs.
        global_rotation: A of `inference.alignment`, of the map where there is one.
        map_offset_px: o of the map, in its voxels.
    """

    n: int
    box_A: float | None = None
    fsc: tuple[float, ...] | None = None
    fsc_auc: float | None = None
    fsc_auc_cryobench: float | None = None
    fsc05_A: float | None = None
    fsc0143_A: float | None = None
    fsc_masked: tuple[float, ...] | None = None
    fsc_auc_masked: float | None = None
    fsc05_masked_A: float | None = None
    fsc0143_masked_A: float | None = None
    rotation_error_mean_deg: float | None = None
    rotation_error_median_deg: float | None = None
    rotation_error_p90_deg: float | None = None
    share_within_10_deg: float | None = None
    shift_error_median_px: float | None = None
    shift_error_mean_px: float | None = None
    hand: str | None = None
    hand_of_poses: str | None = None
    global_rotation: tuple[tuple[float, ...], ...] | None = None
    map_offset_px: tuple[float, ...] | None = None

    def to_json(self) -> str:
        """One JSON object, the attributes as keys."""
        return json.dumps(asdict(self), indent=1)

    def summary(self) -> str:
        """The same for people."""
        return "\n".join([*_words_on_map(self), *_words_on_poses(self)])


def evaluate(config: EvaluateConfig) -> EvaluationResult:
    """Compare the job's map and poses with the truth; a job may have only one of them.

    Raises:
        InputError: the truth is incomplete, the job has neither map nor poses, or its particles are not the truth's.
    """
    map_path = config.map or config.job / "maps" / "consensus.mrc"
    poses_path = config.poses or config.job / "particles.star"
    found: dict = {"n": 0}
    alignment = None
    if config.map is not None or map_path.exists():
        alignment = _evaluate_map(map_path, config.truth / "truth", found)
    if config.poses is not None or poses_path.exists():
        _evaluate_poses(poses_path, config, alignment, found)
    elif alignment is None:
        raise InputError("has neither a map nor poses", where=config.job, expected="maps/consensus.mrc, particles.star")
    return EvaluationResult(**found)


def true_map(folder: Path) -> tuple[Float[Tensor, "d d d"], float]:
    """The truth's density and pixel size; where it has several states, their mean by number of particles.

    Raises:
        InputError: no volumes are there.
    """
    paths = sorted((folder / "volumes").glob("state_*.mrc"))
    if not paths:
        raise InputError("has no true maps", where=folder / "volumes", expected="state_000.mrc, as simulate writes it")
    count = np.ones(len(paths))
    if len(paths) > 1:
        count = np.bincount(np.load(folder / "state.npy", allow_pickle=False), minlength=len(paths)).astype(float)
    total, pixel_size_A = torch.zeros(()), 0.0
    for path, weight in zip(paths, count / count.sum(), strict=True):
        volume, pixel_size_A = read_map(path)
        total = total + torch.from_numpy(volume) * float(weight)
    return total, pixel_size_A


def _evaluate_map(path: Path, truth: Path, found: dict) -> Alignment:
    volume, pixel_size_A = read_map(path)
    map_ = torch.from_numpy(volume)
    if not torch.isfinite(map_).all() or float(map_.std()) == 0:
        raise InputError("the map is empty or holds values that are not finite", where=path)
    density, truth_pixel_A = true_map(truth)
    density = resample(density, truth_pixel_A, map_.shape[-1], pixel_size_A)
    alignment = align(map_, density)
    moved, seen = move(density, alignment), within_ball(map_)
    box_A = map_.shape[-1] * pixel_size_A
    mask = around(moved, 0.1 * float(moved.max()), 0.02 * len(moved), 0.05 * len(moved))
    for suffix, curve in (("", fsc(seen, moved)), ("_masked", fsc(seen, moved, mask))):
        found |= {
            f"fsc{suffix}": tuple(round(value, 6) for value in curve.tolist()),
            f"fsc_auc{suffix}": area_under(curve),
            f"fsc05{suffix}_A": resolution_A(curve, 0.5, box_A),
            f"fsc0143{suffix}_A": resolution_A(curve, 0.143, box_A),
        }
    found |= {
        "box_A": box_A,
        "fsc_auc_cryobench": cryobench_auc(fsc(seen, moved)),
        "hand": _hand(alignment.mirrored),
        "global_rotation": tuple(map(tuple, alignment.rotation.tolist())),
        "map_offset_px": tuple(alignment.offset_px.tolist()),
    }
    return alignment


def cryobench_auc(curve: Float[Tensor, " s"]) -> float:
    """Trapezoids over frequency in 1/px, shells 0 … d/2 - 1, shell 0 counted as 1."""
    box = 2 * (len(curve) - 1)
    values = torch.cat([torch.ones(1), curve[1:-1]])
    return float(torch.trapezoid(values, dx=1 / box))


def _evaluate_poses(path: Path, config: EvaluateConfig, alignment: Alignment | None, found: dict) -> None:
    truth = read_particles(config.truth / "truth" / "particles.star", need_images=False)
    if path.suffix == ".pkl":
        particles = read_particles(truth.path, poses=path, need_images=False)
    else:
        particles = read_particles(path, need_images=False)
    truth = truth.select(match_rows(particles, truth))
    ours, true = particles.table, truth.table
    if ours.rotations is None or true.rotations is None:
        raise InputError("has no poses", where=path if ours.rotations is None else truth.path)
    try:
        group = operators(config.symmetry)
    except ValueError as error:
        raise InputError(str(error), where="--symmetry", expected="C1, C2 …, D2 …, T, O or I") from None
    rotations = torch.from_numpy(ours.rotations).float()
    guesses = () if alignment is None else (alignment.rotation,)
    fit = fit_rotation(rotations, torch.from_numpy(true.rotations).float(), group, guesses)
    error_deg = fit.error_deg.numpy()
    found |= {
        "n": len(rotations),
        "rotation_error_mean_deg": float(error_deg.mean(dtype=np.float64)),
        "rotation_error_median_deg": float(np.median(error_deg)),
        "rotation_error_p90_deg": float(np.quantile(error_deg, 0.9)),
        "share_within_10_deg": float((error_deg < 10).mean()),
        "hand_of_poses": _hand(fit.mirrored),
        **_shift_errors(fit, rotations, particles, truth),
    }
    if alignment is None:
        found |= {"hand": _hand(fit.mirrored), "global_rotation": tuple(map(tuple, fit.rotation.tolist()))}


def _shift_errors(fit: PoseFit, rotations: Tensor, particles: ParticleFile, truth: ParticleFile) -> dict:
    stored, true_stored = particles.table.shifts_A, truth.table.shifts_A
    if stored is None or true_stored is None:
        return {}
    # A stored shift centres the particle: the particle is at minus the shift.
    pixel_size_A = truth.table.pixel_size_A[:, None]
    at, true_at = (torch.from_numpy(-shifts_A / pixel_size_A).float() for shifts_A in (stored, true_stored))
    trusted = fit.error_deg <= torch.clamp(2 * fit.error_deg.median(), max=20)
    if int(trusted.sum()) < 3:
        trusted = torch.ones_like(trusted)
    _, off = fit_offset(rotations, at, true_at, trusted)
    length = off.norm(dim=1)
    return {"shift_error_median_px": float(length.median()), "shift_error_mean_px": float(length.mean())}


def match_rows(particles: ParticleFile, truth: ParticleFile) -> np.ndarray:
    """The truth's row of each particle: by order where the images agree row by row, else by image and stack name.

    Raises:
        InputError: an image that the truth does not have.
    """
    if len(particles) == len(truth) and np.array_equal(particles.index, truth.index):
        return np.arange(len(truth))
    rows = {key: row for row, key in enumerate(_image_keys(truth))}
    try:
        return np.array([rows[key] for key in _image_keys(particles)])
    except KeyError as missing:
        index, name = missing.args[0]
        raise InputError(
            f"image {index + 1} of {name} is not among those of the truth", where=particles.path, do="check --truth"
        ) from None


def _image_keys(particles: ParticleFile) -> list[tuple[int, str]]:
    names = [path.name for path in particles.stack_paths]
    return [(int(i), names[s]) for i, s in zip(particles.index, particles.stack_of, strict=True)]


def _hand(mirrored: bool) -> str:
    return "mirrored" if mirrored else "same"


def _words_on_map(result: EvaluationResult) -> list[str]:
    if result.fsc_auc is None:
        return []
    nyquist_A = 2 * result.box_A / (2 * (len(result.fsc) - 1))  # type: ignore[operator, arg-type]
    to = f"{result.fsc05_A:.1f} Å (FSC 0.5) and {result.fsc0143_A:.1f} Å (0.143)"
    return [
        f"Map: agrees with the true one to {to}; the pixels allow {nyquist_A:.1f} Å.",
        f"  FSC-AUC {result.fsc_auc:.3f}, within a mask {result.fsc_auc_masked:.3f} (1 would be perfect); "
        f"hand: {'the true one' if result.hand == 'same' else 'the mirror image, as good as any without tilted data'}.",
    ]


def _words_on_poses(result: EvaluationResult) -> list[str]:
    if result.rotation_error_median_deg is None:
        return []
    median = result.rotation_error_median_deg
    if median <= 3:
        verdict = "right"
    elif median <= 10:
        verdict = "nearly right"
    elif result.share_within_10_deg > 0.2:  # type: ignore[operator]
        verdict = "right for some particles only"
    else:
        verdict = "wrong: the structure was not found"
    lines = [
        f"Poses: {verdict}. Rotations are off by {median:.2f}° (median), {result.rotation_error_mean_deg:.2f}° (mean), "
        f"{result.rotation_error_p90_deg:.2f}° (90 %); {result.share_within_10_deg:.1%} of {result.n:,} within 10°."
    ]
    if result.shift_error_median_px is not None:
        lines.append(f"  Shifts are off by {result.shift_error_median_px:.2f} px (median).")
    if result.hand_of_poses != result.hand:
        lines.append("  Map and poses fit the truth with opposite hands: at least one of them is wrong.")
    return lines
