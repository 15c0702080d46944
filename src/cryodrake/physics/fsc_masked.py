"""FSC under a mask, corrected for what the mask itself makes agree (Chen et al. 2013, Ultramicroscopy 135, 24).

A mask worn by both maps correlates neighbouring coefficients, and with them its own shape, in both maps alike. Beyond a shell
all phases are replaced by random ones, on each map its own: what still agrees under the mask there is the mask's doing, FSC_n,
and with FSC_t the curve as measured, eq. 4 gives FSC_true = (FSC_t - FSC_n)/(1 - FSC_n).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.physics.fourier import coeff_to_volume, volume_to_coeff
from cryodrake.physics.fsc import fsc, shell_index

RANDOM_BELOW = 0.8  # of the unmasked FSC: where phases begin to be random, as in RELION's post-processing
MARGIN = 2  # shells behind that which still hold something of the true phases: the mask blurs them


@dataclass(frozen=True, eq=False)
class MaskedFSC:
    """Curves for shells 0 … d/2.

    Attributes:
        unmasked: of the maps as they are.
        masked: of both under the mask.
        randomised: under the mask, phases random from `first_shell` on.
        corrected: eq. 4; as `masked` before `first_shell + MARGIN`, where phases are still true.
        first_shell: the first whose phases were made random.
    """

    unmasked: Float[Tensor, " s"]
    masked: Float[Tensor, " s"]
    randomised: Float[Tensor, " s"]
    corrected: Float[Tensor, " s"]
    first_shell: int


def masked_fsc(a: Float[Tensor, "d d d"], b: Float[Tensor, "d d d"], mask: Float[Tensor, "d d d"], seed: int = 0) -> MaskedFSC:
    """FSC of two maps with independent noise under a soft mask, and what of it is theirs."""
    bare = fsc(a, b)
    low = torch.nonzero(bare[1:] < RANDOM_BELOW)
    first = 1 + int(low[0]) if len(low) else len(bare)
    generator = torch.Generator().manual_seed(seed)
    masked = fsc(a, b, mask)
    random = fsc(with_random_phases(a, first, generator), with_random_phases(b, first, generator), mask)
    corrected = (masked - random) / (1 - random).clamp(min=1e-6)
    is_true = torch.arange(len(bare), device=bare.device) < first + MARGIN
    return MaskedFSC(bare, masked, random, torch.where(is_true, masked, corrected), first)


def with_random_phases(volume: Float[Tensor, "d d d"], first_shell: int, generator: torch.Generator) -> Float[Tensor, "d d d"]:
    """The map with its amplitudes as they are and, from this shell on, phases of white noise (which are those of a real map)."""
    noise = torch.randn(volume.shape, generator=generator).to(volume)
    coeff, phase = volume_to_coeff(volume), volume_to_coeff(noise)
    random = coeff.abs() * phase / phase.abs().clamp(min=1e-30)
    return coeff_to_volume(torch.where(shell_index(volume.shape[-1], volume.device) >= first_shell, random, coeff))
