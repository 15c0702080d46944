"""Symmetry that the images speak of, found from their rival poses, and the poses that it makes equal.

An image of a symmetric particle is as likely in several orientations, R and R·S with the same S whatever the view. Rivals of
any other kind, such as views that look alike by chance, scatter over all rotations. So a rotation on which the rivals of many
images agree is an operator of the map, exact or as good as exact at this resolution; such poses are one answer, and nothing is
in doubt about them.
"""

import roma
import torch
from jaxtyping import Bool, Float
from skimage.registration import phase_cross_correlation
from torch import Tensor

from cryodrake.inference.alignment import Alignment, move
from cryodrake.physics.rotations import geodesic_deg

VOTES = 2000
SEEDS = 300
NEAR_DEG = 8.0
LEAST_SHARE = 0.05  # of the images must speak for an operator
LEAST_VOTES = 15
UPSAMPLING = 20  # of the correlation that finds how far an axis is off the centre
MOST_OPERATORS = 60  # the icosahedron's


def operators_of(rival: Float[Tensor, "n 3 3"]) -> Float[Tensor, "o 3 3"]:
    """The identity, and every rotation that the rivals (NaN where an image has none) of enough images agree on."""
    device = rival.device
    found = [torch.eye(3, device=device)]
    voters = rival[:: max(1, len(rival) // VOTES)]
    votes = voters[torch.isfinite(voters).all((1, 2))]
    needed = max(LEAST_VOTES, LEAST_SHARE * len(voters))
    while len(votes) >= needed and len(found) < MOST_OPERATORS:
        seeds = votes[:: max(1, len(votes) // SEEDS)]
        support = (_near(seeds, votes) | _near(seeds, votes.transpose(1, 2))).sum(1)
        best = int(support.argmax())
        if int(support[best]) < needed:
            break
        operator = roma.special_procrustes(votes[_near(seeds[best : best + 1], votes)[0]].mean(0))
        # A rotation and its inverse are operators together, and one where they are the same.
        new = torch.stack([operator, operator.T]) if float(geodesic_deg(operator, operator.T)) > NEAR_DEG else operator[None]
        found += list(new)
        votes = votes[~_near(new, votes, 2 * NEAR_DEG).any(0)]
    return torch.stack(found)


def offsets_px(volume: Float[Tensor, "d d d"], operators: Float[Tensor, "o 3 3"]) -> Float[Tensor, "o 3"]:
    """By how much (x, y, z) a map turned by each operator S, V(Sᵀk), lies beside itself: axes need not go through the centre.

    The peak of the cross-correlation, to 1/UPSAMPLING of a voxel (Guizar-Sicairos, Thurman & Fienup 2008, Opt. Lett. 33, 156).
    """
    volume, found = volume.cpu(), []
    for operator in operators.cpu():
        turned = move(volume, Alignment(operator.T, False, torch.zeros(3), 1.0, 0.0))
        moved, *_ = phase_cross_correlation(turned.numpy(), volume.numpy(), upsample_factor=UPSAMPLING, normalization=None)
        found.append(torch.from_numpy(moved[::-1].copy()).float())  # from (z, y, x)
    return torch.stack(found).to(operators.device)


def mates(
    rotation: Float[Tensor, "n 3 3"],
    shift_px: Float[Tensor, "n 2"],
    operators: Float[Tensor, "o 3 3"],
    offset_px: Float[Tensor, "o 3"],
) -> tuple[Float[Tensor, "o n 3 3"], Float[Tensor, "o n 2"]]:
    """The poses at which a map of this symmetry looks the same: R·S with the shift t + (R o)xy, for R with the shift t.

    Shifts are applied to the image and centre the particle; o is that of `offsets_px`.
    """
    return rotation @ operators[:, None], shift_px + torch.einsum("nij,oj->oni", rotation, offset_px)[..., :2]


def _near(a: Float[Tensor, "a 3 3"], b: Float[Tensor, "b 3 3"], within_deg: float = NEAR_DEG) -> Bool[Tensor, "a b"]:
    return geodesic_deg(a[:, None].expand(-1, len(b), 3, 3), b.expand(len(a), -1, 3, 3)) < within_deg
