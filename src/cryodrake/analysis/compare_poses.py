"""Two sets of poses of the same images: one global rotation (and hand, and offset) between them, and what is left.

With A and the hand of `inference.alignment` (map(k) = truth(B k), B = A or A·P, P = diag(1, 1, -1)) a pose R of the map is

    R Aᵀ (same hand)     or     P R P Aᵀ (opposite hand)

in the frame of the truth; after a symmetry operator S it is as good. An offset o of the map moves the particle in the
image: t_truth = t_map + (R o)_xy, R the map's own pose, in either hand.
"""

from dataclasses import dataclass

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cryodrake.inference.alignment import MIRROR

_SEEDS = 400  # poses whose own rotation is tried as the global one
_JURY = 2000  # poses that vote on each
_VOTE_DEG = 8.0
_ROUNDS = 25
_ROWS_PER_CHUNK = 50_000


@dataclass(frozen=True, eq=False)
class PoseFit:
    """Attributes:
    rotation: A.
    mirrored: the poses belong to the opposite hand.
    error_deg: (n,) angle between each pose and its truth, the smallest over the symmetry operators.
    """

    rotation: Float[Tensor, "3 3"]
    mirrored: bool
    error_deg: Float[Tensor, " n"]


def fit_rotation(
    rotations: Float[Tensor, "n 3 3"],
    truth: Float[Tensor, "n 3 3"],
    operators: Float[Tensor, "m 3 3"],
    guesses: tuple[Float[Tensor, "3 3"], ...] = (),
) -> PoseFit:
    """The global rotation and hand that most poses agree on.

    Every pose votes for a rotation, A_i = S R_truthᵀ R. Those of `_SEEDS` poses, and the guesses, are tried in both
    hands; the one with the most votes near it is refined as a chordal mean in which far votes count nothing. So half
    of the poses may be wrong, or more, and the fit holds to the other half.
    """
    best: tuple[float, PoseFit] | None = None
    for mirrored in (False, True):
        own = MIRROR @ rotations @ MIRROR if mirrored else rotations
        some = torch.linspace(0, len(own) - 1, min(len(own), _JURY)).long()
        votes = _votes(own[some], truth[some], operators)
        seeds = votes[:: max(1, len(some) // _SEEDS), 0]
        seeds = torch.cat([seeds, *(guess[None] for guess in guesses)])
        support = torch.exp(-((_angle_deg(seeds, votes)[0] / _VOTE_DEG) ** 2) / 2).sum(1)
        rotation = _refine(seeds[support.argmax()], votes)
        error_deg = _errors_deg(rotation, own, truth, operators)
        # Votes are counted with a wide tail as well: where no pose is right the less wrong hand wins.
        score = float((1 / (1 + (error_deg / _VOTE_DEG) ** 2)).mean())
        if best is None or score > best[0]:
            best = (score, PoseFit(rotation, mirrored, error_deg))
    assert best is not None
    return best[1]


def _votes(
    own: Float[Tensor, "n 3 3"], truth: Float[Tensor, "n 3 3"], operators: Float[Tensor, "m 3 3"]
) -> Float[Tensor, "n m 3 3"]:
    return operators @ (truth.transpose(1, 2) @ own)[:, None]


def _angle_deg(rotation: Float[Tensor, "q 3 3"], votes: Float[Tensor, "n m 3 3"]) -> tuple[Float[Tensor, "q n"], Tensor]:
    """Angle from each rotation to each pose's nearest vote, and which of the votes that is."""
    trace = rotation.flatten(1) @ votes.flatten(2).flatten(0, 1).T
    nearest, which = trace.view(len(rotation), *votes.shape[:2]).max(2)
    # From the chord |A - B|² = 6 - 2 trace: exact enough near 0 in float32 for votes, not for reported errors.
    return torch.rad2deg(2 * torch.asin(((6 - 2 * nearest).clamp(min=0, max=8) / 8).sqrt())), which


def _refine(rotation: Float[Tensor, "3 3"], votes: Float[Tensor, "n m 3 3"]) -> Float[Tensor, "3 3"]:
    """Chordal mean (projected weighted mean matrix; Hartley et al. 2013, IJCV 103, 267) of the votes near it."""
    rows = torch.arange(len(votes))
    for _ in range(_ROUNDS):
        angle, which = _angle_deg(rotation[None], votes)
        angle, which = angle[0], which[0]
        near = angle[angle < 3 * _VOTE_DEG]
        scale = float(near.median().clamp(0.01, _VOTE_DEG)) if len(near) else _VOTE_DEG
        weight = torch.exp(-((angle / (2 * scale)) ** 2) / 2)
        mean = (weight[:, None, None] * votes[rows, which]).double().sum(0)
        rotation = roma.special_procrustes(mean).float()
    return rotation


def _errors_deg(
    rotation: Float[Tensor, "3 3"], own: Tensor, truth: Tensor, operators: Float[Tensor, "m 3 3"]
) -> Float[Tensor, " n"]:
    errors = []
    for start in range(0, len(own), _ROWS_PER_CHUNK):
        votes = _votes(own[start : start + _ROWS_PER_CHUNK], truth[start : start + _ROWS_PER_CHUNK], operators)
        which = _angle_deg(rotation[None], votes)[1][0]
        difference = rotation.double() - votes[torch.arange(len(votes)), which].double()
        chord = difference.flatten(1).norm(dim=1)
        errors.append(torch.rad2deg(2 * torch.asin((chord / 8**0.5).clamp(max=1))).float())
    return torch.cat(errors)


def fit_offset(
    rotations: Float[Tensor, "n 3 3"],
    particle_at: Float[Tensor, "n 2"],
    truth_at: Float[Tensor, "n 2"],
    trusted: Bool[Tensor, " n"],
) -> tuple[Float[Tensor, " 3"], Float[Tensor, "n 2"]]:
    """The offset o with t_truth = t_map + (R o)_xy, and what each image is off after it, in the unit of the positions.

    Least absolute deviations over the trusted images, by reweighting (a shift far off counts little).
    """
    wanted = (truth_at - particle_at).double()
    design = rotations[:, :2, :].double()
    weight = trusted.double()
    offset = torch.zeros(3, dtype=torch.float64)
    for _ in range(20):
        weighted = design * weight[:, None, None]
        normal = torch.einsum("nij,nik->jk", weighted, design) + 1e-9 * torch.eye(3, dtype=torch.float64)
        offset = torch.linalg.solve(normal, torch.einsum("nij,ni->j", weighted, wanted))
        off = wanted - design @ offset
        length = off.norm(dim=1)
        weight = trusted.double() / length.clamp(min=float(length.median()) * 0.1 + 1e-6)
    return offset.float(), off.float()
