"""Small finished jobs, made by the functions that write them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryodrake.io.particles import read_particles
from cryodrake.io.relion_write import write_new_star
from cryodrake.io.table import CTFColumns, ParticleTable

N_PARTICLES = 6


@pytest.fixture
def finished_job(tmp_path: Path) -> Callable[..., Path]:
    """A job of six particles of a.star with poses, two latents and what more is asked for."""

    def make(options: str = "", rows: np.ndarray | None = None, **arrays: np.ndarray) -> Path:
        star, i = tmp_path / "a.star", np.arange(N_PARTICLES)
        table = ParticleTable(
            np.full(N_PARTICLES, 1.5), np.zeros(N_PARTICLES, np.int64), np.full(N_PARTICLES, 8), CTFColumns(
                voltage_kV=np.full(N_PARTICLES, 300.0), cs_mm=np.full(N_PARTICLES, 2.7),
                amplitude_contrast=np.full(N_PARTICLES, 0.1), defocus_u_A=15000.25 + 100 * i,
                defocus_v_A=14000.25 + 100 * i, defocus_angle_deg=np.full(N_PARTICLES, 30.0),
                phase_shift_deg=np.zeros(N_PARTICLES), bfactor_A2=np.zeros(N_PARTICLES),
            ),
        )  # fmt: skip
        extra = {"rlnMicrographName": np.array([f"m{k // 3}.mrc" for k in i]), "rlnAutopickFigureOfMerit": i / 10}
        write_new_star(star, table, ("a.mrcs",), np.zeros(N_PARTICLES, np.int64), i, extra)
        job = tmp_path / "job"
        (job / "analysis").mkdir(parents=True)
        particles = read_particles(star, need_images=False)
        particles = particles if rows is None else particles.select(rows)
        n, rng = len(particles), np.random.default_rng(0)
        particles.write_star(
            job / "particles.star",
            rotations=Rotation.random(n, rng=rng).as_matrix(),
            shifts_A=rng.normal(size=(n, 2)) * 3,
            half_set=np.arange(n) % 2 + 1,
            confidence=np.linspace(0, 1, n),
        )
        for name, array in ({"latents": np.arange(2.0 * n).reshape(n, 2)} | arrays).items():
            np.save(job / f"{name}.npy", array)
        (job / "job.toml").write_text(f'[options]\nparticles = "{star}"\n{options}\n')
        return job

    return make
