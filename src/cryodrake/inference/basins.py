"""A few distinct poses per image, polished and weighed against each other.

A likelihood over orientations has several separate maxima where images are faint. The coarse grid says where they may lie,
not which is highest: its nearest node may be half a cell off, which costs more than what one basin is ahead of another. So
each basin within a margin is climbed, and the tops are compared; the share of the best among them is the pose's confidence.
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from cryodrake.inference import local
from cryodrake.inference.exhaustive import Candidates
from cryodrake.inference.reference import Reference
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.rotations import geodesic_deg

EQUAL = 8.0  # log likelihood within which two basins may be the same view of a symmetric particle


def nearest_deg(a: Float[Tensor, "n 3 3"], b: Float[Tensor, "n 3 3"], operators: Float[Tensor, "o 3 3"]) -> Float[Tensor, " n"]:
    """Angle between a·S and b for the operator S that brings them closest."""
    return torch.stack([geodesic_deg(a @ operator, b) for operator in operators]).amin(0)


@dataclass(frozen=True, eq=False)
class Poses:
    """Poses of n images with their log likelihood, the probability of their basin and the error that the curvature promises.

    rival (n 3 3) turns an image's best rotation into its closest competitor's, R' = R·rival; NaN where nothing competes.
    """

    rotation: Float[Tensor, "n 3 3"]
    shift_px: Float[Tensor, "n 2"]
    score: Float[Tensor, " n"]
    confidence: Float[Tensor, " n"]
    sigma_deg: Float[Tensor, " n"]
    rival: Float[Tensor, "n 3 3"]


@final
@dataclass(frozen=True, eq=False)
class Basins:
    """Alternative poses of `n` images, m in all: image `member` (ascending), log likelihood `score`."""

    n: int
    member: Int64[Tensor, " m"]
    rotation: Float[Tensor, "m 3 3"]
    shift_px: Float[Tensor, "m 2"]
    score: Float[Tensor, " m"]
    sigma_deg: Float[Tensor, " m"]

    @classmethod
    def of(cls, candidates: Candidates, apart_deg: float, most: int, margin: Float[Tensor, " n"]) -> "Basins":
        """Of each image the best candidate, the best one `apart_deg` from it, the best one that far from both, and so on: at most
        `most`, and none that is further behind the first than the image's margin."""
        n, device = len(candidates.score), candidates.score.device
        rows = torch.arange(n, device=device)
        left = torch.where(candidates.score > (candidates.score.amax(1) - margin)[:, None], candidates.score, -torch.inf)
        found, there = [], []
        for _ in range(most):
            value, which = left.max(1)
            found.append(which)
            there.append(torch.isfinite(value))
            chosen = candidates.rotation[rows, which]
            near = geodesic_deg(chosen[:, None].expand_as(candidates.rotation), candidates.rotation) < apart_deg
            left = torch.where(near, -torch.inf, left)
        member, order = torch.nonzero(torch.stack(there, 1), as_tuple=True)
        at = member, torch.stack(found, 1)[member, order]
        score = candidates.score[at]
        return cls(n, member, candidates.rotation[at], candidates.shift_px[at], score, torch.zeros_like(score))

    def joined(self, rotation: Float[Tensor, "n 3 3"], shift_px: Float[Tensor, "n 2"]) -> "Basins":
        """With one more pose for each image, not yet scored."""
        order = torch.argsort(torch.cat([self.member, torch.arange(self.n, device=self.member.device)]), stable=True)
        unknown = self.score.new_zeros(self.n)
        return Basins(
            self.n,
            torch.cat([self.member, torch.arange(self.n, device=self.member.device)])[order],
            torch.cat([self.rotation, rotation])[order],
            torch.cat([self.shift_px, shift_px])[order],
            torch.cat([self.score, unknown])[order],
            torch.cat([self.sigma_deg, unknown])[order],
        )

    def polished(self, images: AbstractImages, rows: Int64[Tensor, " n"], reference: Reference, iterations: int) -> "Basins":
        """Every basin climbed against `reference`."""
        top = local.refine(images, rows[self.member], reference, self.rotation, self.shift_px, iterations)
        return Basins(self.n, self.member, top.rotation, top.shift_px, top.score, top.sigma_deg)

    def distinct(self, apart_deg: float, margin: float) -> "Basins":
        """Without those that climbed to within apart_deg of a better one, or are more than `margin` behind their image's best."""
        count = torch.bincount(self.member, minlength=self.n)
        at = self.member, torch.arange(len(self.member), device=self.member.device) - (count.cumsum(0) - count)[self.member]
        shape = self.n, int(count.max())
        score = self.score.new_full(shape, -torch.inf).index_put_(at, self.score)
        rotation = torch.eye(3, device=score.device).repeat(*shape, 1, 1).index_put_(at, self.rotation)
        shift_px = self.score.new_zeros(*shape, 2).index_put_(at, self.shift_px)
        candidates = Candidates(score, rotation, shift_px)
        return Basins.of(candidates, apart_deg, shape[1], torch.full_like(score[:, 0], margin))

    def settled(self, apart_deg: float, operators: Float[Tensor, "o 3 3"]) -> Poses:
        """The best pose of each image; its confidence is its share among the basins at least `apart_deg` away.

        operators: symmetry of the map, identity included: R and R·S are the same answer.
        """
        best = self._best_index
        rotation = self.rotation[best]
        gap = self.score - self._best_score[self.member]
        apart = nearest_deg(rotation[self.member], self.rotation, operators) >= apart_deg
        share = torch.where(apart, torch.exp(gap), 0.0)
        confidence = 1 / (1 + share.new_zeros(self.n).index_add_(0, self.member, share))
        plain = geodesic_deg(rotation[self.member], self.rotation) >= apart_deg
        others = self._select(plain & (gap > -EQUAL))
        rival = rotation.new_full((self.n, 3, 3), torch.nan)
        if len(others.member):
            there = torch.bincount(others.member, minlength=self.n) > 0
            second = others.rotation[others._best_index[there]]
            rival[there] = rotation[there].transpose(1, 2) @ second
        return Poses(rotation, self.shift_px[best], self.score[best], confidence, self.sigma_deg[best], rival)

    @property
    def _best_score(self) -> Float[Tensor, " n"]:
        worst = self.score.new_full((self.n,), -torch.inf)
        return worst.scatter_reduce_(0, self.member, self.score, "amax")

    @property
    def _best_index(self) -> Int64[Tensor, " n"]:
        by_score = torch.argsort(self.score, descending=True, stable=True)
        order = by_score[torch.argsort(self.member[by_score], stable=True)]
        count = torch.bincount(self.member, minlength=self.n)
        return order[(count.cumsum(0) - count).clamp(max=len(order) - 1)]  # of an image without basins: any

    def _select(self, kept: Bool[Tensor, " m"]) -> "Basins":
        return Basins(self.n, self.member[kept], self.rotation[kept], self.shift_px[kept], self.score[kept], self.sigma_deg[kept])
