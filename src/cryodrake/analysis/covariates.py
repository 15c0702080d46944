"""What is known of each particle besides its state: pose, defocus, scale, confidence."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from cryodrake.io.particles import ParticleFile
from cryodrake.io.relion import RelionSource
from cryodrake.physics.rotations import matrix_to_euler_deg

SCALES = ("rlnNormCorrection", "rlnGroupScaleCorrection")  # a particle's own brightness, as RELION writes it


@dataclass(frozen=True, eq=False)
class Covariates:
    """Per particle; None where the file does not say.

    Attributes:
        view: unit vector (x, y, z), the direction of view in the map: R's third row.
        psi_deg: angle in the image plane.
        defocus_A: mean of U and V.
        shift_A: (x, y) as stored.
        scale: factor on the particle's signal.
        confidence: of its pose.
    """

    view: Float[np.ndarray, "n 3"] | None = None
    psi_deg: Float[np.ndarray, " n"] | None = None
    defocus_A: Float[np.ndarray, " n"] | None = None
    shift_A: Float[np.ndarray, "n 2"] | None = None
    scale: Float[np.ndarray, " n"] | None = None
    confidence: Float[np.ndarray, " n"] | None = None


def covariates_of(particles: ParticleFile, scale: Float[np.ndarray, " n"] | None = None) -> Covariates:
    """From a particle file; a column that is the same for all says nothing, and is None.

    Args:
        scale: each particle's, as a job found it; None: what RELION says of it, if it does.
    """
    table = particles.table
    rotations, ctf, source = table.rotations, table.ctf, particles.raw.source
    psi_deg = None if rotations is None else matrix_to_euler_deg(torch.from_numpy(rotations).double()).numpy()[:, 2]
    if scale is None and isinstance(source, RelionSource):
        columns = (source.values(name) for name in SCALES)
        scale = next((values[particles.rows] for values in columns if values is not None), None)
    return Covariates(
        view=_varying(None if rotations is None else rotations[:, 2, :].astype(np.float64)),
        psi_deg=_varying(psi_deg),
        defocus_A=_varying(None if ctf is None else (ctf.defocus_u_A + ctf.defocus_v_A) / 2),
        shift_A=_varying(table.shifts_A),
        scale=_varying(scale),
        confidence=_varying(table.confidence),
    )


def _varying(values: np.ndarray | None) -> np.ndarray | None:
    return None if values is None or len(values) == 0 or (values == values[0]).all() else values
