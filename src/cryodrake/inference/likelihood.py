"""The search engine's core: log likelihoods of (image, shift, slice) triples as two matrix products.

With Y' = C·Y·exp(-2πi k·s/d)/σ² (CTF and noise folded into the shifted image) and w = C²/σ², the log likelihood ratio of
slice V_R against pure noise is, over the half disc,

    ℓ(s, R) = 2 Re⟨Y'_s, V_R⟩ - ⟨w, |V_R|²⟩,

exact for any CTF, astigmatic ones included: one product of (images × shifts) with slices, and one of images with powers.
log Σ exp ℓ is the marginal likelihood; its gradient with respect to the slices is 2 (PᵀY' - (Pᵀw) V), the expected
back-projection with P the posterior, which `expected_sums` returns (Scheres 2012, J. Mol. Biol. 415, 406).

Products may run in bfloat16 (`Precision`); the sums over probabilities are always float32.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor

SCORES_IN_CACHE = 1 << 20
SCORES_ON_CARD = 1 << 28


def product_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it faster than float32 (CUDA; CPUs with AVX512-BF16 or AMX), else float32."""
    if device.type == "cuda":
        return torch.bfloat16
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32


def shift_phases(shifts_px: Float[Tensor, "*t 2"], kxy: Float[Tensor, "k 2"], box: int) -> Complex[Tensor, "*t k"]:
    """exp(-2πi k·s/d): applies the shift s (px) to an image."""
    angle = (-2 * math.pi / box) * (shifts_px @ kxy.T)
    return torch.polar(torch.ones_like(angle), angle)


@final
@dataclass(frozen=True, eq=False)
class ImageRows:
    """The images' side of the product. rows (b t 2k) hold Y' as (re, im) pairs; weight (b k) is w; prior (b t) log p(shift)."""

    rows: Float[Tensor, "b t k2"]
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
        moved = torch.view_as_real(matched[:, None] * phases).flatten(2)
        if log_prior is None:
            log_prior = moved.new_full(moved.shape[:2], -math.log(moved.shape[1]))
        return cls(moved, weight, log_prior)


@final
@dataclass(frozen=True, eq=False)
class SliceColumns:
    """The references' side: slices (q 2k) in the product's dtype, their powers (q k), log prior over rotations (q,)."""

    slices: Tensor
    power: Tensor
    log_prior: Float[Tensor, " q"]

    @classmethod
    def build(
        cls, slices: Float[Tensor, "q k c"], dtype: torch.dtype, log_prior: Float[Tensor, " q"] | None = None
    ) -> "SliceColumns":
        if log_prior is None:
            log_prior = slices.new_full((slices.shape[0],), -math.log(slices.shape[0]))
        return cls(slices.flatten(1).to(dtype), slices.square().sum(-1).to(dtype), log_prior)


def score_blocks(images: ImageRows, columns: SliceColumns) -> Iterator[tuple[slice, Float[Tensor, "b t q"]]]:
    """ℓ plus the log priors of all triples: one large product, handed out a few images at a time.

    The scores of a few images fit the processor's cache, where the passes over them cost a fraction of what they cost in memory.
    """
    b, t, _ = images.rows.shape
    dtype = columns.slices.dtype
    cross = ((2 * images.rows).flatten(0, 1).to(dtype) @ columns.slices.T).view(b, t, -1)
    power = (images.weight.to(dtype) @ columns.power.T).float() - columns.log_prior
    limit = SCORES_IN_CACHE if cross.device.type == "cpu" else SCORES_ON_CARD
    step = max(1, limit // (t * cross.shape[2]))
    for i in range(0, b, step):
        block = slice(i, min(i + step, b))
        # Converted first, then in place: mixed-type arithmetic is ~10 × slower on a CPU.
        scores = cross[block].to(torch.float32, copy=True)
        yield block, scores.sub_(power[block, None]).add_(images.log_prior[block, :, None])


def log_likelihoods(images: ImageRows, columns: SliceColumns) -> Float[Tensor, "b t q"]:
    """ℓ plus the log priors, for all triples at once."""
    return torch.cat([scores for _, scores in score_blocks(images, columns)])


def log_marginal_of(scores: Float[Tensor, "b t q"], peak: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """log Σ exp over shifts and rotations; `peak` is their maximum. Through log_softmax, the one fused pass that torch has."""
    return peak - torch.log_softmax(scores.flatten(1), 1).amax(1)


def log_likelihoods_slow(images: ImageRows, slices: Float[Tensor, "q k c"], log_prior: Tensor) -> Float[Tensor, "b t q"]:
    """The same by the defining sum of squares, one slice at a time: the obvious twin that tests hold `log_likelihoods` to."""
    y = torch.view_as_complex(images.rows.unflatten(-1, (-1, 2)).contiguous())  # C Y shifted /σ²
    columns = []
    for q in range(slices.shape[0]):
        v = torch.view_as_complex(slices[q].contiguous())
        # |Y - C V|²/σ² - |Y|²/σ², written with Y' and w only.
        loss = images.weight[:, None] * v.abs() ** 2 - 2 * (y.conj() * v).real
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
        flat = self.probability.flatten(1).argmax(1)
        q = self.probability.shape[2]
        return flat // q, flat % q


def posterior_of(images: ImageRows, columns: SliceColumns) -> Posterior:
    """The posterior of a block of images, made a few images at a time."""
    dtype = columns.slices.dtype
    parts = [Posterior.build(scores, dtype) for _, scores in score_blocks(images, columns)]
    return Posterior(torch.cat([p.probability for p in parts]), torch.cat([p.log_marginal for p in parts]))


def expected_sums(posterior: Posterior, images: ImageRows) -> tuple[Float[Tensor, "q k c"], Float[Tensor, "q k"]]:
    """Σ_images,shifts P·Y' and Σ_images P·w per slice: numerator and denominator of EM's M step on the slices."""
    p = posterior.probability
    numerator = p.flatten(0, 1).T @ images.rows.flatten(0, 1).to(p.dtype)
    denominator = p.sum(1).T @ images.weight.to(p.dtype)
    return numerator.float().unflatten(-1, (-1, 2)), denominator.float()


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
