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


def narrow(fit: SubspaceFit, likelihood: Callable[[SubspaceFit], float], share: float) -> Float[Tensor, "d d d"]:
    """The region in which components, free or under a prior of `share`, make unseen images likeliest; `fit` is left in it, free.

    Args:
        fit: free, and where it converged.
        likelihood: log likelihood of images that it has not seen, whatever it is counted from.
        share: of the mean's power, as in `SubspaceFit.shrink`.
    """
    region, volumes = best_region, best_volumes = fit.region, fit.volumes
    best, highest = -math.inf, [-math.inf, -math.inf]
    for halving in range(HALVINGS + 1):
        if halving:
            fit.free_in(strongest_half(region, volumes), volumes)
            fit.run()
            region, volumes = fit.region, fit.volumes
        found = [likelihood(fit)]
        fit.shrink(share)
        found.append(likelihood(fit))
        if max(found) > best:
            best, best_region, best_volumes = max(found), region, volumes
        if all(new <= old for new, old in zip(found, highest, strict=True)):
            break
        highest = [max(pair) for pair in zip(found, highest, strict=True)]
    fit.free_in(best_region, best_volumes)
    return fit.region


def strongest_half(region: Float[Tensor, "d d d"], volumes: Float[Tensor, "r d d d"]) -> Float[Tensor, "d d d"]:
    """Soft mask of the half of `region` where the components have most power; `volumes` are the mean and the components."""
    power = ndimage.gaussian_filter(volumes[1:].square().sum(0).cpu().numpy(), SMOOTH_PX)
    inside = region.cpu().numpy() > 0.5
    if not inside.any():
        return region
    chosen = inside & (power >= float(torch.from_numpy(power[inside]).median()))
    soft = ndimage.gaussian_filter(chosen.astype("float32"), EDGE_PX)
    return torch.from_numpy(soft * 1.5).clamp(0, 1).to(region)
