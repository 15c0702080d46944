"""Likelihood, gradient and curvature of images at poses by a compiled loop on a CPU: `inference.expansion` is its twin in torch."""

import math

import numpy as np
import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor

from cryodrake.inference.reference import Reference
from cryodrake.physics import loops
from cryodrake.physics.compiled import over
from cryodrake.physics.slices_compiled import lattice_of, lines


def expand(
    matched: Complex[Tensor, "n k"],
    weight: Float[Tensor, "n k"],
    which: Int64[Tensor, " b"],
    reference: Reference,
    kxy: Float[Tensor, "k 2"],
    box: int,
    rotation: Float[Tensor, "b 3 3"],
    shift_px: Float[Tensor, "b 2"],
) -> tuple[Float[Tensor, " b"], Float[Tensor, "b 5"], Float[Tensor, "b 5 5"]]:
    """As `expansion.expand`; kxy are whole numbers."""
    b = len(which)
    out = weight.new_empty(b), weight.new_empty(b, 5), weight.new_empty(b, 5, 5)
    unit, reach = np.float32(2 * math.pi / box), int(kxy.abs().max())
    poses = rotation.contiguous().numpy(), shift_px.contiguous().numpy()
    images = torch.view_as_real(matched.contiguous()).numpy(), weight.contiguous().numpy(), which.numpy()
    ball, lattice = reference.ball.contiguous().numpy(), lattice_of(reference.grid)
    over(
        loops.expand, b, b * len(kxy), ball, lattice, unit, reach, *poses, *lines(kxy), *images, *(x.numpy() for x in out)
    )  # fmt: skip
    return out
