"""Poses of images that hold only a part of the structure, found against that part of the map.

Compared with the whole such an image fits as well elsewhere, for most of what it is compared with is not there. The region is
that of the class that holds the image (`training.parts`). What a complex loses may also be there alone, and a class that is of too
few images for a map, or whose map is of chance, holds any images that fit the whole badly: its images are tried against the
whole, each region and each region's complement, and those that hold more of one than of its decoy (`training.decoys`) are of it.
"""

from collections.abc import Callable
from dataclasses import fields, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.inference.basins import Poses
from cryodrake.inference.reference import in_box
from cryodrake.inference.source import AbstractImages
from cryodrake.training import refinement, searches
from cryodrake.training.decoys import decoy, hold
from cryodrake.training.events import AbstractReporter
from cryodrake.training.last_polish import SEARCH_COST
from cryodrake.training.mixture import LEAST_IMAGES, Mixture
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

    def run(self, mixture: Mixture, structures: list[Structure]) -> tuple[Mixture, list[Structure]]:
        """Poses of all classes that are parts of the run's own structure, and of other classes' images that prove to be.

        Args:
            mixture: its first class's map is the run's consensus, in the frame of `state.maps`.
            structures: of `parts.structures_of`, the run's own first.

        Returns both, with images that proved to be of the run's own structure in class 0, and structures of which none is left
        joined to it.

        Raises:
            JobStopped: from `poll`.
        """
        own, *others = structures
        own, left, posterior = dict(own), [], mixture.posterior.clone()
        masks = {c: region(in_box(volume, self.images.disc.box), self.radius_px) for c, volume in own.items() if c > 0}
        members = {c: torch.nonzero(mixture.label == c).squeeze(1) for c in range(len(mixture.maps)) if c in masks or c not in own}
        if not members:
            return mixture, structures
        tried = sum(len(rows) for rows in members.values())
        grid = self._grid(tried / len(mixture.label))
        self.reporter.phase("parts", len(masks) + len(others), f"posing {tried:,} images against parts of the map")
        for done, (c, mask) in enumerate(masks.items(), 1):
            self._take(members[c], self._poses(members[c], mask, grid))
            self.reporter.step(done, particles=len(members[c]))
        regions = [torch.ones_like(self.state.maps[0, 0]), *masks.values(), *(1 - mask for mask in masks.values())]
        for done, other in enumerate(others, 1 + len(masks)):
            rows = torch.cat([members[c] for c in other])
            found = self._take_those_that_hold(rows, regions, grid)
            posterior[found] = 0
            posterior[found, 0] = 1
            if len(found) == len(rows):
                own |= other
            else:
                left.append(other)
            self.reporter.step(done, particles=len(rows))
        return replace(mixture, posterior=posterior), [own, *left]

    def _take_those_that_hold(
        self, rows: Int64[Tensor, " m"], regions: list[Float[Tensor, "d d d"]], grid: refinement.Grid
    ) -> Int64[Tensor, " m2"]:
        """Give the images that hold one of the regions their poses there: all, where most do and few are left. Which they are.

        Their present poses do not compete: they are the best of many searches of the map, and of none of the decoy.
        """
        found = [self._poses(rows, mask, grid, anew=True) for mask in regions]
        score = torch.stack([poses.score for poses in found])
        by_chance = torch.stack([self._poses(rows, mask, grid, anew=True, made_of=decoy).score for mask in regions]).amax(0)
        held = hold(score.amax(0) - by_chance)
        if int((~held).sum()) < min(LEAST_IMAGES, int(held.sum())):
            held[:] = True
        if bool(held.any()):  # of one region, the likeliest for them all: one by one noise chooses
            poses = found[int(score[:, held].median(1).values.argmax())]
            self._take(rows[held], Poses(*(getattr(poses, f.name)[held] for f in fields(Poses))))
        return rows[held]

    def _grid(self, share: float) -> refinement.Grid:
        state = self.state
        return searches.grid(self.images, state, state.maps[0, 0], state.radius, share, SEARCH_COST, self.seed)

    def _poses(
        self,
        rows: Int64[Tensor, " m"],
        mask: Float[Tensor, "d d d"],
        grid: refinement.Grid,
        anew: bool = False,
        made_of: Callable[[Tensor], Tensor] = lambda volume: volume,
    ) -> Poses:
        """The likeliest of all poses in this region of the map, or in what is made of it, each fold's in the map without it.

        anew: whether present poses do not compete.
        """
        state, order, parts = self.state, [], []
        for number in range(2 * refinement.FOLDS):
            at = torch.nonzero(self.label[rows] == number).squeeze(1)
            if not len(at):
                continue
            volume = made_of(state.maps[divmod(number, refinement.FOLDS)] * mask)
            known = None if anew else (state.rotation[rows[at]], state.shift_px[rows[at]])
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
