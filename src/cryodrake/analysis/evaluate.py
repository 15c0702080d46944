"""`evaluate`: how near a reconstruction is to a known truth: map, poses and, where the truth has several, states.

FSC-AUC is the mean of the unmasked FSC over shells 1 … d/2; `fsc_auc_cryobench` is CryoBench's number: the area under
the curve over frequency in 1/px from 0 to (d/2 - 1)/d, the origin counted as 1 (so at most 0.492 for 128 px).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from jaxtyping import Int

from cryodrake.analysis.evaluate_classes import ClassMap
from cryodrake.analysis.evaluate_maps import AlignedMap, evaluate_map
from cryodrake.analysis.evaluate_poses import MatchedParticles, evaluate_poses
from cryodrake.analysis.evaluate_result import EvaluationResult
from cryodrake.analysis.evaluate_states import evaluate_states
from cryodrake.analysis.job_states import read_array
from cryodrake.errors import InputError


@dataclass(frozen=True)
class EvaluateConfig:
    """A reconstruction against the truth of a simulation."""

    job: tyro.conf.Positional[Path]
    """Job folder (maps/consensus.mrc, particles.star, latents.npy), or any folder when map and poses are given."""
    truth: Path
    """Simulated folder: truth/particles.star and truth/volumes/."""
    map: Path | None = None
    """Map to compare instead of JOB/maps/consensus.mrc."""
    poses: Path | None = None
    """Poses instead of those of JOB/particles.star: .star, .cs, or cryoDRGN's pose.pkl (in the order of the truth)."""
    symmetry: tuple[str, ...] = ("C1",)
    """Point group of the truth (C4, D2, O …): poses that differ by it are the same. With classes, one for all or one for each."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON instead of words."""


def evaluate(config: EvaluateConfig) -> EvaluationResult:
    """Compare the job's map, poses and states with the truth; a job may have only one of them, and one of classes is compared
    class by class, each in the place of its own.

    Raises:
        InputError: the truth is incomplete, the job has neither map nor poses, its particles are not the truth's, or symmetries
            are neither one nor one a class.
    """
    folders = sorted((config.job / "classes").glob("class_*/"))
    if not folders or config.map is not None or config.poses is not None:
        return _of_job(config, *_symmetries(config, 1))[0]
    symmetries = _symmetries(config, len(folders))
    parts = [_of_job(replace(config, job=folder), symmetry) for folder, symmetry in zip(folders, symmetries, strict=True)]
    truth = config.truth / "truth"
    of_all = MatchedParticles.read(config.job / "particles.star", truth).truth_rows
    maps = [ClassMap(folder, map_) for folder, (_, map_) in zip(folders, parts, strict=True)]
    states = evaluate_states(config.job, truth, None, of_all, None, maps)
    classes = tuple(result for result, _ in parts)
    return EvaluationResult(n=len(of_all), n_empty=_n_empty(truth, of_all), states=states, classes=classes)


def _symmetries(config: EvaluateConfig, n_classes: int) -> tuple[str, ...]:
    given = config.symmetry
    if len(given) not in (1, n_classes):
        of = f"{n_classes} classes" if n_classes > 1 else "one structure"
        raise InputError(f"{len(given)} point groups for {of}", where="--symmetry", expected="one for all, or one for each class")
    return given if len(given) == n_classes else given * n_classes


def _of_job(config: EvaluateConfig, symmetry: str) -> tuple[EvaluationResult, AlignedMap | None]:
    """What was found of a job of one frame, and its map in its place."""
    truth = config.truth / "truth"
    map_path = config.map or config.job / "maps" / "consensus.mrc"
    poses_path = config.poses or config.job / "particles.star"
    has_map = config.map is not None or map_path.exists()
    has_poses = config.poses is not None or poses_path.exists()
    if not (has_map or has_poses):
        raise InputError("has neither a map nor poses", where=config.job, expected="maps/consensus.mrc, particles.star")
    matched = MatchedParticles.read(poses_path, truth) if has_poses else None
    rows = None if matched is None else matched.truth_rows
    on_map, map_ = evaluate_map(map_path, truth, rows) if has_map else ({}, None)
    rotation = None if map_ is None else map_.alignment.rotation
    on_poses, errors = ({}, None) if matched is None else evaluate_poses(matched, symmetry, rotation)
    error_deg = None if errors is None else errors.numpy().astype(np.float64)
    states = evaluate_states(config.job, truth, map_, rows, error_deg)
    # The map's hand and rotation stand where there is a map.
    n_empty = 0 if rows is None else _n_empty(truth, rows)
    return EvaluationResult(**{"n": 0, "n_empty": n_empty, "states": states} | on_poses | on_map), map_


def _n_empty(truth: Path, rows: Int[np.ndarray, " n"]) -> int:
    """How many of these rows of the truth hold no particle.

    Raises:
        InputError: truth/empty.npy is damaged, or does not say it of each of them.
    """
    empty = read_array(truth / "empty.npy", "yes or no for each particle (n,)")
    if empty is None:
        return 0
    if empty.ndim != 1 or empty.dtype != bool or len(empty) <= rows.max(initial=-1):
        what = f"holds {empty.dtype} of shape {empty.shape}"
        raise InputError(what, where=truth / "empty.npy", expected="yes or no for each particle of the truth")
    return int(empty[rows].sum())
