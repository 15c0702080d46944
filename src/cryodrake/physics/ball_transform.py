"""A density's transform on the half ball, and back: Fourier sums as matrix products, one axis after the other.

The lattice of the half ball is that of a box `oversampling` times as large, of which the density fills an eighth and the ball
less than a half. An FFT of that box is mostly of zeros and mostly thrown away; sums over what there is, at what is wanted, are
fewer operations in a form that processors are best at (docs/log.md).
"""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from cryodrake.physics.ball_grid import BallGrid


def ball_of(density: Float[Tensor, "d d d"], grid: BallGrid) -> Float[Tensor, "v 2"]:
    """(1/d) Σ_x f(x) exp(-2πi k·(x - d//2)/d) on the half ball; zero beyond the lattice's Nyquist frequency."""
    d, m, c = density.shape[-1], grid.half, density.shape[-1] * grid.oversampling // 2
    below, above, right = min(m, c), min(m, c - 1), min(m + 1, c - 1)  # what there is of the half ball in the padded box
    waves = _waves(-below, max(above, right), d, grid.oversampling, density).conj().resolve_conj()
    along_zy, along_x = waves[: below + above + 1], torch.view_as_real(waves[below : below + right + 1])
    half = density.reshape(d * d, d) @ along_x.permute(1, 0, 2).reshape(d, -1)  # real: re and im side by side
    half = torch.view_as_complex(half.reshape(d, d, right + 1, 2))
    half = along_zy @ (along_zy @ half).reshape(d, -1) / d
    cut = half.new_zeros(*grid.shape)
    zy = slice(m - below, m + above + 1)
    cut[zy, zy, : right + 1] = half.reshape(len(along_zy), len(along_zy), right + 1)
    return torch.view_as_real(cut.reshape(-1))


def density_of(ball: Float[Tensor, "v 2"], grid: BallGrid) -> Float[Tensor, "d d d"]:
    """The density of the grid's box whose transform, in the padded box, is the ball and its conjugate mate, and zero elsewhere.

    Of the plane kx = 0, which the ball holds twice, the mean of either value and its mate's conjugate counts.
    """
    d, m = grid.box, grid.half
    reach = min(m, d * grid.oversampling // 2 - 1)
    kept = slice(m - reach, m + reach + 1)
    half = torch.view_as_complex(ball.contiguous()).reshape(grid.shape)[kept, kept, : reach + 1]
    waves = _waves(-reach, reach, d, grid.oversampling, ball)
    onto_zy, along_x = waves.T.contiguous(), 2 * waves[reach:].conj().resolve_conj()
    along_x[0] /= 2
    half = onto_zy @ (onto_zy @ half.reshape(len(waves), -1)).reshape(d, len(waves), -1)
    # The real part of a product with exp(+i…) is a real product of (re, im) with that of exp(-i…).
    density = torch.view_as_real(half).reshape(d * d, -1) @ torch.view_as_real(along_x).transpose(1, 2).reshape(-1, d)
    return density.reshape(d, d, d) / (d**2 * grid.oversampling**3)


def _waves(first: int, last: int, box: int, oversampling: int, like: Tensor) -> Complex[Tensor, "q d"]:
    """exp(2πi q (x - box//2)/(oversampling·box)), q = first … last, where `like` is and as precise."""
    q = torch.arange(first, last + 1, device=like.device, dtype=torch.float64)
    x = torch.arange(box, device=like.device, dtype=torch.float64) - box // 2
    angle = torch.outer(q, x) * (2 * math.pi / (box * oversampling))
    return torch.polar(torch.ones_like(angle), angle).to(like.dtype.to_complex())
