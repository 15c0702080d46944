"""Where structures differ: half of the particle after half, as long as images that were not asked become likelier.

Components that may be anywhere in the particle are fitted to the noise of all of it, and so are the states that are read with them.
What moves is mostly a part. Components are therefore kept to the half of the particle where they are strongest, learned again, kept
to half of that, and so on; unseen images tell where to stop. Each halving takes half of the noise away and, until a part of what
moves is cut, nothing else.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from cryodrake.training.subspace import SubspaceFit

HALVINGS = 6  # at most: to a 64th of the particle
SMOOTH_PX = 1.5  # of the cropped box: over which the components' power is averaged
EDGE_PX = 1.0


def narrow(fit: SubspaceFit, gain: Callable[[SubspaceFit], float], share: float) -> Float[Tensor, "d d d"]:
    """The region in which components, free or under a prior of `share`, gain the most; `fit` is left there, free.

    Args:
        fit: free, and where it converged.
        gain: log likelihood of images that it has not seen, whatever it is counted from.
    """
    best, kept = -math.inf, (fit.region, fit.volumes)
    highest = [-math.inf, -math.inf]
    for _ in range(HALVINGS + 1):
        here, smaller = (fit.region, fit.volumes), strongest_half(fit)
        gains = [gain(fit)]
        fit.shrink(share)
        gains.append(gain(fit))
        if max(gains) > best:
            best, kept = max(gains), here
        if all(new <= old for new, old in zip(gains, highest, strict=True)):
            break
        highest = [max(pair) for pair in zip(gains, highest, strict=True)]
        fit.free_in(smaller, here[1])
        fit.run()
    fit.free_in(*kept)
    return fit.region


def strongest_half(fit: SubspaceFit) -> Float[Tensor, "d d d"]:
    """Soft mask of the half of the fit's region where the components have most power."""
    power = ndimage.gaussian_filter(fit.volumes[1:].square().sum(0).cpu().numpy(), SMOOTH_PX)
    inside = fit.region.cpu().numpy() > 0.5
    if not inside.any():
        return fit.region
    chosen = inside & (power >= float(torch.from_numpy(power[inside]).median()))
    soft = ndimage.gaussian_filter(chosen.astype("float32"), EDGE_PX)
    return torch.from_numpy(soft * 1.5).clamp(0, 1).to(fit.region)
