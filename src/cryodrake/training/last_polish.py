"""The last polish of each image, against the map of all others of both half sets.

Parts are small where poses are polished, for a map hardly worse than that of all, and larger where they are searched: a search
costs something however few its images are.
"""

import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from cryodrake.inference.reconstruct import accumulate
from cryodrake.inference.source import AbstractImages
from cryodrake.physics.blocks import at_once
from cryodrake.training import refinement, searches
from cryodrake.training.events import AbstractReporter
from cryodrake.training.state import RunState

SEARCH_COST = 1.0  # of the finer searches of a few images, in searches of all: the last time is worth more
SEARCHED_PER_MISPLACED = 20  # images searched for each that the last search of all has found misplaced
POLISHED_PARTS, SEARCHED_PARTS = 20, 8  # of all images


class LastPolish:
    """Fills `state.joint_rotation` and `joint_shift_px`, and the confidence of images that it searches."""

    def __init__(self, images: AbstractImages, state: RunState, reporter: AbstractReporter, seed: int, poll: Callable[[], None]):
        """`poll` is called between parts, and raises where the run is to stop."""
        self.images, self.state, self.reporter, self.seed, self.poll = images, state, reporter, seed, poll
        self.done = 0

    def run(self, halves: refinement.HalfMaps) -> None:
        """A part of the images at a time, those in doubt first."""
        state, n = self.state, len(self.state.half)
        radius = refinement.seen_radius(halves.joint_fsc)  # all of it: once, and what it brings stays
        state.history[-1]["joint_radius"] = radius
        state.joint_rotation, state.joint_shift_px = state.rotation.clone(), state.shift_px.clone()
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self.seed * 1000 + 498)).to(state.half.device)
        doubtful = self.doubtful()[order]
        share, grid = float(doubtful.float().mean()), None
        for rows, volume in self._parts(halves, order[doubtful], math.ceil(share * SEARCHED_PARTS)):
            grid = grid or searches.grid(self.images, state, volume, radius, share, SEARCH_COST, self.seed)
            self._search(rows, volume, radius, grid)
        for rows, volume in self._parts(halves, order[~doubtful], POLISHED_PARTS):
            self._polish(rows, volume, radius)

    def doubtful(self) -> Bool[Tensor, " n"]:
        """The images to be searched once more: more than those in doubt where the last search of all has found many misplaced."""
        state, n = self.state, len(self.state.half)
        doubtful = ~searches.is_sure(state, torch.arange(n, device=state.half.device))
        misplaced = next(pass_["moved_share"] for pass_ in reversed(state.history) if pass_["whole"])
        doubtful[state.surprise.argsort()[: int(min(SEARCHED_PER_MISPLACED * misplaced, 1.0) * n)]] = True
        return doubtful & ~state.is_part  # in the map of the whole those would be lost again

    def _parts(
        self, halves: refinement.HalfMaps, rows: Int64[Tensor, " m"], number: int
    ) -> Iterator[tuple[Int64[Tensor, " m2"], Float[Tensor, "d d d"]]]:
        """The images in at most so many parts, a few thousand at a time, each with the map of all images but its part."""
        state = self.state
        for part in rows.tensor_split(min(number, len(rows))) if len(rows) else ():  # none is empty
            sums = accumulate(self.images, part, state.rotation[part], state.shift_px[part], halves.grid)
            volume = refinement.joint_reference(halves, sums)
            for some in part.split(at_once(searches.ROWS_PER_PROGRESS, part.device)):
                yield some, volume
                self.done += len(some)
                self.reporter.step(self.done, particles=len(some))
                self.poll()

    def _search(self, rows: Tensor, volume: Tensor, radius: float, grid: refinement.Grid) -> None:
        """The likeliest of all poses of these images."""
        state = self.state
        known = state.rotation[rows], state.shift_px[rows]
        found = refinement.global_poses(self.images, rows, volume, radius, grid, known, False, state.operators)
        state.joint_rotation[rows], state.joint_shift_px[rows] = found.rotation, found.shift_px
        state.confidence[rows] = found.confidence

    def _polish(self, rows: Tensor, volume: Tensor, radius: float) -> None:
        """The poses of these images, a little better."""
        state = self.state
        found = refinement.local_poses(self.images, rows, volume, radius, state.rotation[rows], state.shift_px[rows])
        state.joint_rotation[rows], state.joint_shift_px[rows] = found.rotation, found.shift_px
