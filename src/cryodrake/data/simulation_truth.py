"""What is true of each simulated particle: pose, state, optics. Drawn whole, before any image is formed."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.data.simulation_optics import draw_ctf, draw_groups
from cryodrake.data.simulation_views import preferred_rotations, uniform_rotations, uniform_shifts_px
from cryodrake.errors import InputError
from cryodrake.io.particles import read_particles
from cryodrake.io.table import CTFColumns, ParticleTable
from cryodrake.physics.ctf import CTFParams


@dataclass(frozen=True, eq=False)
class Truth:
    """Per particle; row i is image i.

    Attributes:
        pixel_size_A: of the images as written.
        shifts_A: (x, y) as stored: applied to the image it centres the particle, which sits at minus this.
        state: index of the density.
        contrast: factor on the particle's signal, sign of the contrast included; 0 where there is no particle.
        noise: factor on the noise's amplitude.
    """

    pixel_size_A: Float[np.ndarray, " n"]
    group: Int[np.ndarray, " n"]
    ctf: CTFColumns
    rotations: Float[np.ndarray, "n 3 3"]
    shifts_A: Float[np.ndarray, "n 2"]
    state: Int[np.ndarray, " n"]
    contrast: Float[np.ndarray, " n"]
    noise: Float[np.ndarray, " n"]

    def table(self, box: int, with_poses: bool) -> ParticleTable:
        """As a particle file has it."""
        table = ParticleTable(self.pixel_size_A, self.group, np.full(len(self.group), box), self.ctf)
        return replace(table, rotations=self.rotations, shifts_A=self.shifts_A) if with_poses else table

    def optics(self, rows: Int[np.ndarray, " b"]) -> CTFParams:
        """The CTF parameters of some particles as tensors, for images as written."""
        names = [name for name in CTFParams.__dataclass_fields__ if name != "pixel_size_A"]
        columns = {name: torch.from_numpy(getattr(self.ctf, name)[rows]) for name in names}
        return CTFParams(pixel_size_A=torch.from_numpy(self.pixel_size_A[rows]), **columns)


def draw_truth(config: SimulateConfig, n_states: int, pixel_size_A: float) -> Truth:
    """Everything that is drawn per particle but the noise. `pixel_size_A` is the nominal one of the written images.

    Raises:
        InputError: poses_from or ctf_from cannot be read, or has no poses or CTFs, or shares do not fit the states.
    """
    n, seed, recipe = config.n, config.seed, config.recipe()
    group, factor = draw_groups(n, seed, config.optics_groups, config.group_spread)
    poses = None if config.poses_from is None else _sample(config.poses_from, config)
    if poses is not None and poses.rotations is None:
        raise InputError("has no orientations", where=config.poses_from, do="give --poses-from a refined file")
    if poses is not None and poses.shifts_A is not None and config.shift_px is None:
        shifts_A = poses.shifts_A
    else:
        form_pixel_A = pixel_size_A * factor[group] * recipe.box / recipe.form_box
        shifts_A = -uniform_shifts_px(n, seed, recipe.shift_px) * form_pixel_A[:, None]
    rng = np.random.default_rng([seed, 6])
    state = rng.permutation(np.repeat(np.arange(n_states), state_counts(n, n_states, config.shares)))
    contrast = np.exp(config.scale_jitter * rng.standard_normal(n)) * (-1 if config.invert else 1)
    empty = min(round(config.empty_share * n), n - 1)
    contrast[np.random.default_rng([seed, 8]).permutation(n)[:empty]] = 0
    return Truth(
        pixel_size_A=pixel_size_A * factor[group],
        group=group,
        ctf=_ctf(config),
        rotations=_rotations(config) if poses is None or poses.rotations is None else poses.rotations,
        shifts_A=shifts_A,
        state=state,
        contrast=contrast,
        noise=factor[group],
    )


def state_counts(n: int, n_states: int, shares: tuple[float, ...]) -> Int[np.ndarray, " states"]:
    """Images of each state, by the largest remainders of n × its share; without shares they are equal.

    Raises:
        InputError: there are not as many shares as states.
    """
    if shares and len(shares) != n_states:
        raise InputError(f"{len(shares)} numbers for {n_states} states", where="--shares", expected="one for each state")
    wanted = n * np.array(shares or (1.0,) * n_states) / sum(shares or (1.0,) * n_states)
    counts = np.floor(wanted).astype(int)
    # Of equal remainders the first states get the images that are left; rounding hides what arithmetic adds to them.
    counts[np.argsort(np.round(counts - wanted, 9), kind="stable")[: n - counts.sum()]] += 1
    return counts


def _rotations(config: SimulateConfig) -> Float[np.ndarray, "n 3 3"]:
    if config.orientations == "uniform":
        return uniform_rotations(config.n, config.seed).double().numpy()
    rotations = preferred_rotations(
        config.n, config.seed, config.preferred_views, config.preferred_spread_deg, config.preferred_share
    )
    return rotations.double().numpy()


def _ctf(config: SimulateConfig) -> CTFColumns:
    if config.ctf_from is None:
        return draw_ctf(config)
    ctf = _sample(config.ctf_from, config).ctf
    if ctf is None:
        raise InputError("has no CTFs", where=config.ctf_from, do="give --ctf-from a file with CTF columns")
    if config.bfactor_A2 is not None:
        ctf = replace(ctf, bfactor_A2=np.full(config.n, config.bfactor_A2))
    return ctf


def _sample(path: Path, config: SimulateConfig) -> ParticleTable:
    """n rows in file order, without repeats where the file has enough; the same rows for poses and for CTFs."""
    table = read_particles(path, need_images=False).table
    rng = np.random.default_rng([config.seed, 7])
    return table.select(np.sort(rng.choice(len(table), config.n, replace=config.n > len(table))))
