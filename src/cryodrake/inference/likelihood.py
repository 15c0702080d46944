"""The search engine's core: log likelihoods of (image, shift, slice) triples as two matrix products.

With Y' = C·Y·exp(-2πi k·s/d)/σ² (CTF and noise folded into the shifted image) and w = C²/σ², the log likelihood ratio of
slice V_R against pure noise is, over the half disc,

    ℓ(s, R) = 2 Re⟨Y'_s, V_R⟩ - ⟨w, |V_R|²⟩,

exact for any CTF, astigmatic ones included: one product of (images × shifts) with slices, and one of images with powers. Grids of
rotations hold their own half turns, which makes of either a few products of a quarter of the points (`physics.turns`).
log Σ exp ℓ is the marginal likelihood; its gradient with respect to the slices is 2 (PᵀY' - (Pᵀw) V), the expected
back-projection with P the posterior, which `expected_sums` returns (Scheres 2012, J. Mol. Biol. 415, 406).

Products may run in bfloat16 (`product_dtype`); the sums over probabilities are always float32.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor

from cryodrake.fields.precision import has_bf16_products
from cryodrake.physics.blocks import at_once
from cryodrake.physics.turns import TURNS, MirrorPairs, Quarters

SCORES_IN_CACHE = 1 << 20


def product_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it faster than float32, else float32."""
    return torch.bfloat16 if has_bf16_products(device) else torch.float32


def shift_phases(shifts_px: Float[Tensor, "*t 2"], kxy: Float[Tensor, "k 2"], box: int) -> Complex[Tensor, "*t k"]:
    """exp(-2πi k·s/d): applies the shift s (px) to an image."""
    angle = (-2 * math.pi / box) * (shifts_px @ kxy.T)
    return torch.polar(torch.ones_like(angle), angle)


@final
@dataclass(frozen=True, eq=False)
class ImageRows:
    """The images' side of the product: moved (b t k) is Y', weight (b k) is w, log_prior (b t) log p(shift)."""

    moved: Complex[Tensor, "b t k"]
    weight: Float[Tensor, "b k"]
    log_prior: Float[Tensor, "b t"]

    @classmethod
    def build(
        cls,
        matched: Complex[Tensor, "b k"],
        weight: Float[Tensor, "b k"],
        phases: Complex[Tensor, "#b t k"],
        log_prior: Float[Tensor, "b t"] | None = None,
    ) -> "ImageRows":
        """matched is C·Y/σ²; phases are those of the candidate shifts; flat prior over them when none is given."""
        moved = matched[:, None] * phases
        if log_prior is None:
            log_prior = weight.new_full(moved.shape[:2], -math.log(moved.shape[1]))
        return cls(moved, weight, log_prior)


@final
@dataclass(frozen=True, eq=False)
class SliceColumns:
    """The references' side: slices of m base rotations, each standing for itself and its half turns (`physics.turns`).

    Attributes:
        quarters: the slices' even and odd numbers, (m e) each, in the product's dtype.
        power: those of their powers |V|².
        log_prior: of each of the q = 4m rotations, turn by turn.
    """

    pairs: MirrorPairs
    quarters: Quarters
    power: tuple[Tensor, Tensor]
    log_prior: Float[Tensor, " q"]

    @classmethod
    def build(
        cls, slices: Float[Tensor, "m k 2"], pairs: MirrorPairs, dtype: torch.dtype, log_prior: Float[Tensor, " q"] | None = None
    ) -> "SliceColumns":
        """Of the base rotations' slices; a flat prior when none is given."""
        n_q = len(TURNS) * len(slices)
        if log_prior is None:
            log_prior = slices.new_full((n_q,), -math.log(n_q))
        re_even, re_odd, im_even, im_odd = (part.to(dtype) for part in pairs.split(torch.view_as_complex(slices.contiguous())))
        even, odd = (part.to(dtype) for part in pairs.split_real(slices.square().sum(-1)))
        return cls(pairs, (re_even, re_odd, im_even, im_odd), (even, odd), log_prior)

    @property
    def n_base(self) -> int:
        return len(self.power[0])


def score_blocks(images: ImageRows, columns: SliceColumns) -> Iterator[tuple[slice, Float[Tensor, "b t q"]]]:
    """ℓ plus the log priors of all triples: four products of a quarter of the points, put together a few images at a time.

    The scores of a few images fit the processor's cache, where the passes over them cost a fraction of what they cost in memory.
    """
    b, t, _ = images.moved.shape
    m, dtype, pairs = columns.n_base, columns.power[0].dtype, columns.pairs
    products = [
        (of_images.flatten(0, 1).to(dtype) @ of_slices.T).view(b, t, m)
        for of_images, of_slices in zip(pairs.split(2 * images.moved), columns.quarters, strict=True)
    ]
    even, odd = (
        (of_images.to(dtype) @ of_slices.T).float()
        for of_images, of_slices in zip(pairs.split_real(images.weight), columns.power, strict=True)
    )
    power = torch.cat([even + odd, even - odd, even + odd, even - odd], 1) - columns.log_prior  # of 1, X, Z, Y
    step = max(1, at_once(SCORES_IN_CACHE, power.device) // (t * len(TURNS) * m))
    for i in range(0, b, step):
        block = slice(i, min(i + step, b))
        # Converted first: mixed-type arithmetic is ~10 × slower on a CPU.
        scores = _of_turns(*(product[block].float() for product in products))
        yield block, scores.flatten(2).sub_(power[block, None]).add_(images.log_prior[block, :, None])


def _of_turns(
    re_even: Float[Tensor, "b t m"], re_odd: Float[Tensor, "b t m"], im_even: Float[Tensor, "b t m"], im_odd: Float[Tensor, "b t m"]
) -> Float[Tensor, "b t 4 m"]:
    """Sums and differences of the four products: X changes the sign of what is odd, Z that of imaginary parts, Y that of either."""
    out = re_even.new_empty(*re_even.shape[:2], len(TURNS), re_even.shape[2])
    re, im = re_even + re_odd, im_even + im_odd
    torch.add(re, im, out=out[:, :, 0])
    torch.sub(re, im, out=out[:, :, 2])
    torch.sub(re_even, re_odd, out=re)
    torch.sub(im_even, im_odd, out=im)
    torch.add(re, im, out=out[:, :, 1])
    torch.sub(re, im, out=out[:, :, 3])
    return out


def log_likelihoods(images: ImageRows, columns: SliceColumns) -> Float[Tensor, "b t q"]:
    """ℓ plus the log priors, for all triples at once."""
    return torch.cat([scores for _, scores in score_blocks(images, columns)])


def log_likelihoods_slow(images: ImageRows, slices: Float[Tensor, "q k 2"], log_prior: Tensor) -> Float[Tensor, "b t q"]:
    """The same by the defining sum of squares, of any slices, one at a time: the obvious twin that tests hold it to."""
    columns = []
    for q in range(slices.shape[0]):
        v = torch.view_as_complex(slices[q].contiguous())
        # |Y - C V|²/σ² - |Y|²/σ², written with Y' and w only.
        loss = (images.weight * v.abs() ** 2)[:, None] - 2 * (images.moved.conj() * v).real
        columns.append(-loss.sum(-1) + images.log_prior + log_prior[q])
    return torch.stack(columns, dim=-1)


@final
@dataclass(frozen=True, eq=False)
class Posterior:
    """Of one block of images: probability (b t q) in the product's dtype, log_marginal (b,)."""

    probability: Tensor
    log_marginal: Float[Tensor, " b"]

    @classmethod
    def build(cls, scores: Float[Tensor, "b t q"], dtype: torch.dtype) -> "Posterior":
        flat = scores.flatten(1)
        peak = flat.amax(1)
        probability = torch.softmax(flat, 1)
        # log Σ exp x = x_max - log p_max.
        log_marginal = peak - torch.log(probability.amax(1))
        return cls(probability.view_as(scores).to(dtype), log_marginal)

    def best(self) -> tuple[Int64[Tensor, " b"], Int64[Tensor, " b"]]:
        """Index of the likeliest shift and rotation."""
        rotation = self.probability.amax(1).float().argmax(1)  # bfloat16's own argmax is far slower
        shift = self.probability[torch.arange(len(rotation), device=rotation.device), :, rotation].float().argmax(1)
        return shift, rotation


def posterior_of(images: ImageRows, columns: SliceColumns) -> Posterior:
    """The posterior of a block of images, made a few images at a time."""
    dtype = columns.power[0].dtype
    parts = [Posterior.build(scores, dtype) for _, scores in score_blocks(images, columns)]
    return Posterior(torch.cat([p.probability for p in parts]), torch.cat([p.log_marginal for p in parts]))


def expected_sums(
    posterior: Posterior, images: ImageRows, pairs: MirrorPairs
) -> tuple[Float[Tensor, "m k 2"], Float[Tensor, "m k"]]:
    """Numerator and denominator of EM's M step on the base rotations' slices: Σ_images,shifts P·Y' and Σ_images P·w, those of half
    turns turned back."""
    p = posterior.probability.unflatten(2, (len(TURNS), -1))
    front, behind = p[:, :, 0] + p[:, :, 2], p[:, :, 1] + p[:, :, 3]
    front_im, behind_im = p[:, :, 0] - p[:, :, 2], p[:, :, 1] - p[:, :, 3]
    shares = front + behind, front - behind, front_im + behind_im, front_im - behind_im
    re_even, re_odd, im_even, im_odd = (
        (share.flatten(0, 1).T @ part.flatten(0, 1).to(p.dtype)).float()
        for share, part in zip(shares, pairs.split(images.moved), strict=True)
    )
    even, odd = pairs.split_real(images.weight)
    weights = (shares[0].sum(1).T @ even.to(p.dtype)).float(), (shares[1].sum(1).T @ odd.to(p.dtype)).float()
    return pairs.join((re_even, re_odd, im_even, im_odd)), pairs.join_real(*weights)


def top_candidates(
    scores: Float[Tensor, "b t q"], keep: int
) -> tuple[Float[Tensor, "b c"], Int64[Tensor, "b c"], Int64[Tensor, "b c"]]:
    """The `keep` best rotations, each with its best shift: scores, shift index, rotation index, best first.

    One shift per rotation, as cryoDRGN2 keeps them: neighbouring shifts of one rotation are no alternatives.
    """
    over_shifts = scores.amax(1)
    value, rotation = over_shifts.topk(min(keep, over_shifts.shape[1]), dim=1)
    at = scores.gather(2, rotation[:, None].expand(-1, scores.shape[1], -1))
    return value, at.argmax(1), rotation
