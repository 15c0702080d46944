"""Small finished jobs, made by the functions that write them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryodrake.io.particles import read_particles

STAR = """
data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
_rlnImageSize #7
1 krios 300.0 2.70 0.10 1.500 8

data_particles

loop_
_rlnImageName #1
_rlnMicrographName #2
_rlnDefocusU #3
_rlnDefocusV #4
_rlnDefocusAngle #5
_rlnAutopickFigureOfMerit #6
_rlnOpticsGroup #7
"""
N_PARTICLES = 6


@pytest.fixture
def finished_job(tmp_path: Path) -> Callable[..., Path]:
    """A job of six particles of a.star with poses, two latents and what more is asked for."""

    def make(options: str = "", rows: np.ndarray | None = None, **arrays: np.ndarray) -> Path:
        lines = [
            f"00000{i + 1}@a.mrcs m{i // 3}.mrc {15000.25 + 100 * i} {14000.25 + 100 * i} 30.0 0.{i}00 1"
            for i in range(N_PARTICLES)
        ]
        star = tmp_path / "a.star"
        star.write_text(STAR + "\n".join(lines) + "\n")
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
