"""The poses of a job against the true ones, after the best global rotation, hand and offset."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryodrake.analysis.compare_poses import PoseFit, fit_offset, fit_rotation
from cryodrake.analysis.evaluate_maps import hand_word
from cryodrake.errors import InputError
from cryodrake.io.particles import ParticleFile, read_particles
from cryodrake.physics.symmetry import operators


@dataclass(frozen=True, eq=False)
class MatchedParticles:
    """The job's particles, the same of the truth in their order, and the truth's row of each."""

    ours: ParticleFile
    true: ParticleFile
    truth_rows: Int[np.ndarray, " n"]

    @classmethod
    def read(cls, path: Path, truth_folder: Path) -> "MatchedParticles":
        """From .star, .cs, or cryoDRGN's pose.pkl in the order of the truth.

        Raises:
            InputError: a file that cannot be read, an image that the truth does not have.
        """
        truth = read_particles(truth_folder / "particles.star", need_images=False)
        if path.suffix == ".pkl":
            particles = read_particles(truth.path, poses=path, need_images=False)
        else:
            particles = read_particles(path, need_images=False)
        rows = match_rows(particles, truth)
        return cls(particles, truth.select(rows), rows)


def evaluate_poses(
    matched: MatchedParticles, symmetry: str, guess: Float[Tensor, "3 3"] | None
) -> tuple[dict[str, Any], Float[Tensor, " n"]]:
    """Entries of `EvaluationResult` on poses, and each pose's angle to the true one.

    Args:
        guess: a global rotation that is tried too: that of the map.

    Raises:
        InputError: no poses, an unknown symmetry.
    """
    particles, truth = matched.ours, matched.true
    ours, true = particles.table, truth.table
    if ours.rotations is None or true.rotations is None:
        raise InputError("has no poses", where=particles.path if ours.rotations is None else truth.path)
    try:
        group = operators(symmetry)
    except ValueError as error:
        raise InputError(str(error), where="--symmetry", expected="C1, C2 …, D2 …, T, O or I") from None
    rotations = torch.from_numpy(ours.rotations).float()
    guesses = () if guess is None else (guess,)
    fit = fit_rotation(rotations, torch.from_numpy(true.rotations).float(), group, guesses)
    error_deg = fit.error_deg.numpy()
    found = {
        "n": len(rotations),
        "rotation_error_mean_deg": float(error_deg.mean(dtype=np.float64)),
        "rotation_error_median_deg": float(np.median(error_deg)),
        "rotation_error_p90_deg": float(np.quantile(error_deg, 0.9)),
        "share_within_10_deg": float((error_deg < 10).mean()),
        "hand": hand_word(fit.mirrored),
        "hand_of_poses": hand_word(fit.mirrored),
        "global_rotation": tuple(map(tuple, fit.rotation.tolist())),
        **_shift_errors(fit, rotations, particles, truth),
    }
    return found, fit.error_deg


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
