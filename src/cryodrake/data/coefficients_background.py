"""The noise's spectrum undone of the region it was measured through.

Only the corners of an image are free of signal. The spectrum of noise times a region is the noise's own, smeared by the
region's transform W and with its lowest frequencies taken off together with the mean:

    E P(k) = Σ_k' σ²(k') [W(k - k') - W(k) W(k')/W(0)]² / (d² Σ w²)

Averaged over shells this is a matrix (the pseudo-C_l method: Hivon et al. 2002, Astrophys. J. 567, 2, eq. 14; the second
term is that of a weighted mean removed), which is undone by a few Richardson-Lucy steps: they keep σ² positive, and stop
long before noise is amplified.
"""

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from cryodrake.physics.disc import Disc

STEPS = 10


def coupling(outside: Float[Tensor, "d d"], disc: Disc) -> Float64[Tensor, "s s2"]:
    """Expected shell spectrum through the region `outside`, for unit noise power in each shell (corners included).

    The region has to be symmetric about the centre. Sums over a row are 1, but for what goes with the mean.
    """
    d = disc.box
    fft2, ifft2 = np.fft.fft2, np.fft.ifft2  # numpy's: these are too small to divide among threads
    w = np.fft.ifftshift(outside.double().cpu().numpy())  # centre (d//2, d//2) to the FFT's origin
    transform = fft2(w).real
    axis = np.fft.fftfreq(d, 1 / d)
    shell = np.hypot(axis[:, None], axis).round().astype(np.int64)
    half = ((axis > 0) | ((axis == 0) & (axis[:, None] > 0))) & (np.hypot(axis[:, None], axis) < d / 2)
    n_points = np.bincount(shell[half], minlength=disc.n_shells).clip(min=1)
    # A convolution over frequency is d² times the transform of a product over x.
    squared, plain = ifft2(transform**2), ifft2(transform)
    part = transform / transform[0, 0]
    columns = []
    for s in range(int(shell.max()) + 1):
        inside = (shell == s).astype(np.float64)
        power = fft2(squared * ifft2(inside)).real * d**2
        power -= 2 * part * fft2(plain * ifft2(transform * inside)).real * d**2
        power += part**2 * (transform**2 * inside).sum()
        columns.append(np.bincount(shell[half], power[half], disc.n_shells) / n_points)
    return torch.from_numpy(np.stack(columns, axis=1) / (d**2 * (w**2).sum()))


def undo_region(measured: Float[Tensor, " s"], matrix: Float64[Tensor, "s s2"]) -> Float[Tensor, " s"]:
    """σ² per shell that the spectrum measured through the region came from; shell 0 takes its neighbour's value."""
    spectrum = measured.double().clone()
    spectrum[0] = spectrum[1]
    n = len(spectrum)
    used = matrix[1:]  # the mean tells nothing
    weight = torch.arange(1, n, dtype=torch.float64)  # points in a shell
    estimate = torch.cat([spectrum, spectrum[-1].expand(matrix.shape[1] - n)])
    for _ in range(STEPS):
        ratio = smooth(spectrum[1:] / (used @ estimate))
        step = (used.T @ (weight * ratio)) / (used.T @ weight).clamp(min=1e-12)
        estimate = estimate * step
        estimate[n:] = estimate[n - 1]  # beyond the disc nothing was measured
        estimate[0] = estimate[1]
    return estimate[:n].to(measured.dtype)


def smooth(values: Float[Tensor, " s"]) -> Float[Tensor, " s"]:
    """Weights 1/4, 1/2, 1/4; the ends are their own neighbours."""
    padded = torch.cat([values[:1], values, values[-1:]])
    return 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
