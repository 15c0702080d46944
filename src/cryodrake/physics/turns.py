"""Half turns about the axes of the image frame, and what they make of slices.

With X = diag(1, -1, -1), Z = diag(-1, -1, 1) and Y = XZ, and V_R the slice at R,

    V_XR(kx, ky) = V_R(kx, -ky)  (the particle seen from behind),   V_ZR = V_R* (the image turned by 180°),   V_YR = both.

So in the basis of sums and differences of mirror points k = (kx, ±ky), real and imaginary parts apart, a half turn changes nothing
but signs. The four slices' products with an image are sums and differences of four products of a quarter of the length: a search
over a grid of rotations that holds its own half turns costs a quarter of what it would. (The turns are a commutative group, and
the four kinds of numbers its characters.)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor

TURNS = torch.diag_embed(torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, -1.0, 1.0], [-1.0, 1.0, -1.0]]))
"""1, X, Z, Y."""


def turned(base: Float[Tensor, "q 3 3"]) -> Float[Tensor, "q4 3 3"]:
    """The rotations and their half turns, turn by turn: number t·q + i is TURNS[t]·base[i]."""
    return (TURNS.to(base)[:, None] @ base).flatten(0, 1)


Quarters = tuple[Tensor, Tensor, Tensor, Tensor]
"""Of real and imaginary parts, the even and the odd combinations: re even, re odd, im even, im odd."""


@dataclass(frozen=True, eq=False)
class MirrorPairs:
    """Points of a half disc sorted into pairs (kx, ky), (kx, -ky), and those on the axes, which are their own mirrors.

    A point (0, ky) is mirrored to the other half: its real part is even, its imaginary part odd.
    """

    here: Int64[Tensor, " p"]
    there: Int64[Tensor, " p"]
    on_x: Int64[Tensor, " a"]
    on_y: Int64[Tensor, " b"]

    @classmethod
    def of(cls, kxy: Float[Tensor, "k 2"]) -> "MirrorPairs":
        """Of whole frequencies, cycles per box, all points with their mirrors.

        Raises:
            ValueError: a point's mirror is not there.
        """
        kx, ky = kxy.round().long().unbind(1)
        number = kx * (2 * int(ky.abs().max()) + 3) + ky
        above, below = (torch.nonzero((kx > 0) & side).squeeze(1) for side in (ky > 0, ky < 0))
        mirrored = kx * (2 * int(ky.abs().max()) + 3) - ky
        here = above[number[above].argsort()]
        there = below[mirrored[below].argsort()]
        if len(here) != len(there) or not torch.equal(number[here], mirrored[there]):
            raise ValueError("points without their mirror points")
        return cls(here, there, torch.nonzero((kx > 0) & (ky == 0)).squeeze(1), torch.nonzero(kx == 0).squeeze(1))

    def split(self, values: Complex[Tensor, "*b k"]) -> Quarters:
        """In the basis where half turns are signs; lengths and products stay what they are."""
        re, im = torch.view_as_real(values).unbind(-1)
        re_even, re_odd = self.split_real(re)
        half = 0.5**0.5
        a, b = im.index_select(-1, self.here), im.index_select(-1, self.there)
        im_even = torch.cat([(a + b) * half, im.index_select(-1, self.on_x)], -1)
        im_odd = torch.cat([(a - b) * half, im.index_select(-1, self.on_y)], -1)
        return re_even, re_odd, im_even, im_odd

    def split_real(self, values: Float[Tensor, "*b k"]) -> tuple[Float[Tensor, "*b e"], Float[Tensor, "*b o"]]:
        """The same of numbers that a half turn Z leaves alone."""
        half = 0.5**0.5
        a, b = values.index_select(-1, self.here), values.index_select(-1, self.there)
        axes = values.index_select(-1, self.on_x), values.index_select(-1, self.on_y)
        return torch.cat([(a + b) * half, *axes], -1), (a - b) * half

    def join(self, parts: Quarters) -> Float[Tensor, "*b k 2"]:
        """The inverse of `split`; (re, im) last."""
        re_even, re_odd, im_even, im_odd = parts
        n, half = len(self.here), 0.5**0.5
        out = re_even.new_empty(*re_even.shape[:-1], 2 * n + len(self.on_x) + len(self.on_y), 2)
        out[..., 0] = self.join_real(re_even, re_odd)
        a, b = im_even[..., :n], im_odd[..., :n]
        out[..., self.here, 1], out[..., self.there, 1] = (a + b) * half, (a - b) * half
        out[..., self.on_x, 1], out[..., self.on_y, 1] = im_even[..., n:], im_odd[..., n:]
        return out

    def join_real(self, even: Float[Tensor, "*b e"], odd: Float[Tensor, "*b o"]) -> Float[Tensor, "*b k"]:
        """The inverse of `split_real`."""
        n, half = len(self.here), 0.5**0.5
        out = even.new_empty(*even.shape[:-1], even.shape[-1] + n)
        out[..., self.here], out[..., self.there] = (even[..., :n] + odd) * half, (even[..., :n] - odd) * half
        out[..., self.on_x], out[..., self.on_y] = even[..., n : n + len(self.on_x)], even[..., n + len(self.on_x) :]
        return out
