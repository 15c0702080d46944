"""Every number that a job has of its particles, by name: what to filter by, and what to colour a page by.

    row                                         from 0, of JOB/particles.star
    confidence, half_set                        half sets are 1 and 2
    class_number, state_group, cluster          of the job, the last one of `analyze`; from 1, while their files count from 0
    class_probability                           of the particle's class, in a job with --classes
    latent_1 …, pc_1 …, umap_1, umap_2          states; the last two of `analyze`
    defocus_A, defocus_u_A, defocus_v_A, astigmatism_A, defocus_angle_deg, phase_shift_deg, voltage_kV, cs_mm,
    amplitude_contrast, bfactor_A2, pixel_size_A, optics_group
    rot_deg, tilt_deg, psi_deg, shift_x_A, shift_y_A, shift_A
    view_density                                how crowded the particle's direction of view is, 1 being even; not with --classes
    rln…, and alignments3D/…                    each column of the user's own .star, and field of his .cs

A column that the job does not know is not there. Text (rlnMicrographName) is an array of Python strings.
"""

from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from cryodrake.analysis.job_particles import read_job_particles
from cryodrake.analysis.job_states import check_rows, holds_classes, read_array, read_classes, read_groups, read_latents
from cryodrake.analysis.viewing import coverage, view_density
from cryodrake.errors import InputError
from cryodrake.io.cryosparc import CsFile
from cryodrake.io.dispatch import read_raw
from cryodrake.io.relion import RelionSource
from cryodrake.io.star import strings
from cryodrake.io.table import ParticleTable
from cryodrake.physics.rotations import matrix_to_euler_deg

FROM_1 = ("class_number", "state_group", "cluster")  # their files count from 0


def job_columns(job: Path) -> dict[str, np.ndarray]:
    """Arrays (n,) by name, row i the particle i of JOB/particles.star; numbers, or strings (dtype object).

    Raises:
        InputError: the job is not finished, or a file of it is damaged or has not one row a particle.
    """
    particles = read_job_particles(job)
    source = particles.raw.source
    columns = {"row": np.arange(len(particles))} | _states(job, len(particles)) | _of_table(particles.table)
    rotations = particles.table.rotations
    if rotations is not None and len(rotations) and not holds_classes(job):
        columns["view_density"] = view_density(rotations, coverage(rotations))
    own = _of_star(source) if isinstance(source, RelionSource) else {}
    if (job / "particles.cs").exists():
        of_cs = read_raw(job / "particles.cs", with_ctf=False)
        check_rows(job, "particles.cs", of_cs.n, len(particles))
        own |= _of_cs(of_cs.source)
    return columns | {name: values for name, values in own.items() if name not in columns}


def _states(job: Path, n: int) -> dict[str, np.ndarray]:
    """Of the job and of `analyze`."""
    files: dict[str, tuple[str, np.ndarray | None]] = {
        "classes.npy": ("class_number", read_classes(job)),
        "latents.npy": ("latent", read_latents(job)),
        "groups.npy": ("state_group", read_groups(job)),
    }
    posterior = read_array(job / "class_posterior.npy")
    if posterior is not None and posterior.size and posterior.ndim == 2 and posterior.dtype.kind in "fiu":
        posterior = posterior.max(axis=1)
    files["class_posterior.npy"] = ("class_probability", posterior)
    for file, name in (("labels", "cluster"), ("pca", "pc"), ("umap", "umap")):
        files[f"analysis/{file}.npy"] = (name, read_array(job / "analysis" / f"{file}.npy"))
    columns: dict[str, np.ndarray] = {}
    for file, (name, values) in files.items():
        if values is None:
            continue
        if values.ndim not in (1, 2) or values.dtype.kind not in "fiu":
            raise InputError(
                f"holds {values.dtype} of shape {values.shape}", where=job / file, expected="numbers, a row a particle"
            )
        check_rows(job, file, len(values), n)
        values = values + 1 if name in FROM_1 else values
        columns |= {name: values} if values.ndim == 1 else _numbered(name, values)
    return columns


def _of_table(table: ParticleTable) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray | None] = {"confidence": table.confidence, "half_set": table.half_set}
    if table.ctf is not None:
        u, v = table.ctf.defocus_u_A, table.ctf.defocus_v_A
        columns |= {"defocus_A": (u + v) / 2, "astigmatism_A": np.abs(u - v)}
        columns |= {field.name: getattr(table.ctf, field.name) for field in fields(table.ctf)}
    columns |= {"pixel_size_A": table.pixel_size_A, "optics_group": table.optics_group}
    if table.rotations is not None:
        euler = matrix_to_euler_deg(torch.from_numpy(table.rotations).double()).numpy()
        columns |= dict(zip(("rot_deg", "tilt_deg", "psi_deg"), euler.T, strict=True))
    if table.shifts_A is not None:
        x, y = table.shifts_A.T
        columns |= {"shift_x_A": x, "shift_y_A": y, "shift_A": np.hypot(x, y)}
    return {name: values for name, values in columns.items() if values is not None}


def _of_star(source: RelionSource) -> dict[str, np.ndarray]:
    return {name: _numbers_or_text(strings(source.particles, name)) for name in source.particles.columns}


def _of_cs(source: CsFile) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {}
    for name in source.array.dtype.names or ():
        values = source.array[name]
        if values.ndim == 2:
            columns |= _numbered(name, values)
        elif values.dtype.kind == "S":
            columns[name] = np.char.decode(values, "utf-8", "replace").astype(object)
        elif values.ndim == 1:
            columns[name] = values
    return columns


def _numbered(name: str, matrix: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{name}_{i + 1}": column for i, column in enumerate(matrix.T)}


def _numbers_or_text(cells: list[str]) -> np.ndarray:
    column = np.array(cells, dtype=object)
    try:
        return column.astype(np.float64)
    except ValueError:
        return column
