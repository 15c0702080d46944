"""Poses of images that hold only a part of the structure, found against that part of the map.

Compared with the whole such an image fits as well elsewhere, for most of what it is compared with is not there. The region is
that of the class that holds the image (`training.parts`). What a complex loses may also be there alone: the images of a class whose
own map, of few images, is too poor to be recognised are tried against the complement of each region, and are a part if they fit
better there than in their own map, which has the advantage of having been made from them.
"""

from collections.abc import Callable
from dataclasses import fields

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.inference.basins import Poses
from cryodrake.inference.reference import in_box
from cryodrake.inference.source import AbstractImages
from cryodrake.training import refinement, searches
from cryodrake.training.events import AbstractReporter
from cryodrake.training.last_polish import SEARCH_COST
from cryodrake.training.mixture import SHARED, Mixture
from cryodrake.training.parts import Structure, region
from cryodrake.training.state import RunState


class PartPoses:
    """Changes the poses of parts in `state`, and marks them there; `poll` raises where the run is to stop."""

    def __init__(
        self,
        images: AbstractImages,
        state: RunState,
        reporter: AbstractReporter,
        particle_radius_px: float,
        seed: int,
        poll: Callable[[], None],
    ):
        self.images, self.state, self.reporter, self.poll = images, state, reporter, poll
        self.radius_px, self.seed = particle_radius_px, seed
        self.label = refinement.fold_labels(state.half)

    def run(self, mixture: Mixture, structures: list[Structure]) -> list[Structure]:
        """Poses of all classes that are parts of the run's own structure, or prove to be what such a part lacks.

        Args:
            mixture: its first class's map is the run's consensus, in the frame of `state.maps`.
            structures: of `parts.structures_of`, the run's own first.

        Returns the structures, those that proved to be complements joined to the run's own.

        Raises:
            JobStopped: from `poll`.
        """
        own, *others = structures
        masks = {c: region(in_box(volume, self.images.disc.box), self.radius_px) for c, volume in own.items() if c > 0}
        if not masks:
            return structures
        tried = [*masks, *(c for other in others for c in other)]
        members = torch.isin(mixture.label, torch.tensor(tried, device=mixture.label.device))
        grid = self._grid(float(members.float().mean()))
        self.reporter.phase("parts", len(masks) + len(others), f"posing {int(members.sum()):,} images against parts of the map")
        for done, (c, mask) in enumerate(masks.items(), 1):
            rows = torch.nonzero(mixture.label == c).squeeze(1)
            self._take(rows, self._poses(rows, mask, grid))
            self.reporter.step(done, particles=len(rows))
        own, left = dict(own), []
        for done, other in enumerate(others, 1 + len(masks)):
            if self._is_complement(mixture, other, [1 - mask for mask in masks.values()], grid):
                own |= other
            else:
                left.append(other)
            self.reporter.step(done)
        return [own, *left]

    def _is_complement(
        self, mixture: Mixture, other: Structure, complements: list[Float[Tensor, "d2 d2 d2"]], grid: refinement.Grid
    ) -> bool:
        """Whether the images of these classes fit better in one of the complements; then they take their poses there."""
        rows = torch.cat([torch.nonzero(mixture.label == c).squeeze(1) for c in other])
        by_itself = torch.cat([self._score_by_itself(mixture, c, grid) for c in other])
        found = [self._poses(rows, mask, grid) for mask in complements]
        gains = [float((poses.score - by_itself).median()) for poses in found]
        best = max(range(len(gains)), key=gains.__getitem__)
        if gains[best] > 0:
            self._take(rows, found[best])
        return gains[best] > 0

    def _score_by_itself(self, mixture: Mixture, c: int, grid: refinement.Grid) -> Float[Tensor, " m"]:
        """Log likelihood of a class's images in the class's own map, each at its best."""
        rows = torch.nonzero(mixture.label == c).squeeze(1)
        volume, radius = in_box(mixture.maps[c], self.images.disc.box), min(SHARED.last_radius, grid.radius)
        return refinement.global_poses(self.images, rows, volume, radius, grid, None, False, self.state.operators).score

    def _grid(self, share: float) -> refinement.Grid:
        state = self.state
        return searches.grid(self.images, state, state.maps[0, 0], state.radius, share, SEARCH_COST, self.seed)

    def _poses(self, rows: Int64[Tensor, " m"], mask: Float[Tensor, "d d d"], grid: refinement.Grid) -> Poses:
        """The likeliest of all poses in this region of the map, each fold's in the map without it."""
        state, order, parts = self.state, [], []
        for number in range(2 * refinement.FOLDS):
            at = torch.nonzero(self.label[rows] == number).squeeze(1)
            if not len(at):
                continue
            volume = state.maps[divmod(number, refinement.FOLDS)] * mask
            known = state.rotation[rows[at]], state.shift_px[rows[at]]
            parts.append(refinement.global_poses(self.images, rows[at], volume, state.radius, grid, known, False, state.operators))
            order.append(at)
            self.poll()
        back = torch.cat(order).argsort()
        return Poses(*(torch.cat([getattr(part, f.name) for part in parts])[back] for f in fields(Poses)))

    def _take(self, rows: Int64[Tensor, " m"], found: Poses) -> None:
        state = self.state
        state.rotation[rows], state.shift_px[rows] = found.rotation, found.shift_px
        state.confidence[rows], state.sigma_deg[rows] = found.confidence, found.sigma_deg
        state.is_part[rows] = True
