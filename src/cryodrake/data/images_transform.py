"""From images of any size and pixel size straight to the half disc of the common frame, by two matrix products.

    F(k) = (a/L) Σ_x f(x) exp(-2πi k·x a/L),   x in pixels of a Å from the image's centre, k in cycles per L Å

For L = d·a this is `physics.fourier.image_to_coeff`. Written as products with the two separate axes' exponentials it costs
no more than an FFT at these sizes, gives only the points that are kept (so Fourier cropping is free), and needs no common
grid: images of another pixel size are exact, with nothing left over by which their scale would be wrong.
White noise of variance σ² per pixel has E|F|² = σ², whatever the pixel size.
"""

import torch
from jaxtyping import Complex64, Float
from torch import Tensor

from cryodrake.physics.disc import Disc


class FrameTransform:
    """Transform of p × p pixels, of which pixel (centre, centre) is the origin, to the disc's points.

    Args:
        step: pixel size over the frame's field of view, a/L.
    """

    def __init__(self, disc: Disc, px: int, centre: int, step: float):
        device = disc.kxy.device
        half = disc.box // 2
        x = (torch.arange(px, dtype=torch.float64) - centre) * step
        angle = 2 * torch.pi * x[:, None] * torch.arange(half, dtype=torch.float64)
        # Columns: cos then -sin of kx = 0…half-1. Rows: cos then sin of ky = 0…half-1; those of -ky differ by a sign.
        self._right = (torch.cat([angle.cos(), -angle.sin()], dim=1) * step).float().to(device)
        self._left = torch.cat([angle.cos(), angle.sin()], dim=1).T.float().contiguous().to(device)
        kx, ky = disc.kxy.round().long().unbind(1)
        self._index = ((ky < 0) * half * half + ky.abs() * half + kx).to(device)
        self._half = half
        # Beyond the image's own Nyquist frequency its transform only repeats itself: nothing was measured there.
        self.known = disc.length * step < 0.5
        self._all_known = bool(self.known.all())

    def __call__(self, images: Float[Tensor, "b p p"]) -> Complex64[Tensor, "b k"]:
        """The images' coefficients at the disc's points; zero beyond their own Nyquist frequency."""
        b, half = len(images), self._half
        # Batched, not folded into one product: each image's result must not depend on how many come with it.
        columns = torch.bmm(images, self._right.expand(b, -1, -1))
        products = torch.bmm(self._left.expand(b, -1, -1), columns)
        cos_re, cos_im = products[:, :half, :half], products[:, :half, half:]
        sin_re, sin_im = products[:, half:, :half], products[:, half:, half:]
        plane = images.new_empty(b, 2, half, half, 2)  # ky and -ky, |ky|, kx, real and imaginary
        torch.add(cos_re, sin_im, out=plane[:, 0, :, :, 0])
        torch.sub(cos_im, sin_re, out=plane[:, 0, :, :, 1])
        torch.sub(cos_re, sin_im, out=plane[:, 1, :, :, 0])
        torch.add(cos_im, sin_re, out=plane[:, 1, :, :, 1])
        points = torch.view_as_complex(plane).flatten(1).index_select(1, self._index)
        return points if self._all_known else points * self.known
