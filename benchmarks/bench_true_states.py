"""Where poses *and* states are known: maps of the states, each from its own images, and how well they tell other images apart.

    python benchmarks/bench_true_states.py H2          python benchmarks/bench_true_states.py H2 H1spike

No method that learns its maps from the images of the set can be expected to do much better. A state's map is the map of all images
and what differs from it, each filtered by where it stands out from the noise that half sets tell, as `abinit` filters components.

    told apart     images of half set 2 by the maps of half set 1: adjusted Rand index, share of right answers
    maps           of all images, `evaluate`'s area under the FSC with the true map, mean over images, whole and of the moving part;
                   `static`: with the map of all in place of each
"""

import argparse
from pathlib import Path

import datasets
import machine
import numpy as np
import torch
from bench_components import Known, told_apart
from tables import table
from torch import Tensor

from cryodrake.analysis.evaluate_maps import cryobench_auc
from cryodrake.inference.alignment import within_ball
from cryodrake.inference.reconstruct import accumulate, solve
from cryodrake.io.mrc import read_map
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.fsc import fsc
from cryodrake.training.conformations import RADIUS, Conformations
from cryodrake.training.events import QuietReporter
from cryodrake.training.loading import MASK_RADIUS
from cryodrake.training.local_filter import band_noise, filter_locally
from cryodrake.training.refinement import half_maps
from cryodrake.training.solvent import flatten_solvent
from cryodrake.training.state import RunState

OUT = Path(__file__).parent / "out"


class StateMaps:
    """Unfiltered maps of half sets 1 and 2 and of all images (0), of each state and of all."""

    def __init__(self, known: Known):
        self.known, store = known, known.store
        halves = half_maps(known.images, known.half, known.rotation, known.shift_px, store.box / 2, MASK_RADIUS * store.box)
        state = RunState.first(known.half, store.noise, store.box, 1)
        self.mask = Conformations(store, state, QuietReporter(), halves, MASK_RADIUS * store.box, 0, search_all=False).mask
        own = torch.from_numpy(known.state)
        of_half = [torch.ones_like(known.half, dtype=torch.bool), known.half == 1, known.half == 2]
        self.of_all = [self._map(chosen) for chosen in of_half]
        self.of_state = [[self._map(chosen & (own == i)) for chosen in of_half] for i in range(len(known.maps))]

    def _map(self, chosen: Tensor) -> Tensor:
        known, rows = self.known, torch.nonzero(chosen).squeeze(1)
        grid = BallGrid(known.store.box, known.store.box / 2 - 1)
        sums = accumulate(known.images, rows, known.rotation[rows], known.shift_px[rows], grid)
        return flatten_solvent(solve(sums, grid), self.mask)

    def filtered(self, which: int) -> tuple[Tensor, list[Tensor]]:
        """Map of all and those of the states, of half set 1 or of all images (0)."""
        # Half the difference of the half maps is the noise of their mean; either of them has twice that variance.
        more = 2.0 if which else 1.0
        mean = self._filter(self.of_all, which, more)
        apart = [[own - of_all for own, of_all in zip(maps, self.of_all, strict=True)] for maps in self.of_state]
        return mean, [mean + self._filter(maps, which, more) for maps in apart]

    def _filter(self, maps: list[Tensor], which: int, more: float) -> Tensor:
        return filter_locally(maps[which], more * band_noise(torch.stack(maps[1:]), self.mask))


def areas(known: Known, maps: list[Tensor], moving: Tensor | None) -> float:
    """Mean over images of the area under their state's FSC."""
    share = np.bincount(known.state) / known.store.n
    found = [cryobench_auc(fsc(within_ball(own), true, moving)) for own, true in zip(maps, known.maps, strict=True)]
    return float(share @ np.array(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=["H3"], help="names of datasets.py; without any H3, which needs no file")
    parser.add_argument("--data", type=Path, default=OUT / "data", help="cache of datasets.py")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder that holds data/maps and data/models")
    options = parser.parse_args()
    print(machine.words(machine.describe() | {"threads": torch.get_num_threads()}))
    for name in options.sets:
        data = datasets.make(name, options.data, options.shared)
        known = Known(data, None)
        maps = StateMaps(known)
        second = torch.nonzero(known.half == 2).squeeze(1)
        _, of_first = maps.filtered(1)
        apart = [told_apart(known, radius, of_first, second) for radius in (RADIUS, known.store.box / 2 - 1)]
        static, own = maps.filtered(0)
        masks = {"whole": None, "moving part": torch.from_numpy(read_map(data / "truth" / "moving.mrc")[0]).clamp(0, 1)}
        rows = [[what, areas(known, own, mask), areas(known, [static] * len(own), mask)] for what, mask in masks.items()]
        print(f"\n{name}, {known.store.n} images, {len(own)} states")
        print(table(["radius", "states", "ARI", "right"], apart))
        print(table(["AUC", "own maps", "static"], rows))


if __name__ == "__main__":
    main()
