"""How much of the poses the images hold at all: searched against the mean map of the true poses, to ever larger radii.

    python benchmarks/bench_true_map.py drawn24 drawn25 H1

Sets by the names of `benchmarks/datasets.py`, made where they are missing. The map is that of all images at their true poses,
filtered by what its half maps agree on, and every IMAGES-th part of them is searched over all poses as in a run's global pass, at
each radius in cycles per box: share within 15° of the truth (of poses that a symmetry makes equal, one is right), median error,
and the share of images that are sure. What a run reaches cannot exceed it by much: its map is poorer.
"""

import argparse
from pathlib import Path
from typing import Any

import datasets
import machine
import torch
from bench_components import Known
from tables import table, write_json

from cryodrake.inference.basins import nearest_deg
from cryodrake.physics.symmetry import operators as operators_of
from cryodrake.training import refinement, searches
from cryodrake.training.loading import MASK_RADIUS
from cryodrake.training.solvent import apply_filter, flatten_solvent

OUT = Path(__file__).parent / "out"
RADII = (8.0, 10.0, 12.0, 14.0, 18.0, 24.0)
IMAGES = 500
HEADER = ("set", "radius", "grid", "within 15°", "median °", "sure")


def found(known: Known, operators: torch.Tensor, seed: int) -> list[list[Any]]:
    """A row for each radius, without the set's name."""
    store, rows = known.store, torch.arange(0, known.store.n, max(1, known.store.n // IMAGES))
    halves = refinement.half_maps(known.images, known.half, known.rotation, known.shift_px, store.box / 2, MASK_RADIUS * store.box)
    volume = apply_filter(flatten_solvent(halves.raw.mean(0), halves.particle), halves.joint_fsc)
    generator, results = torch.Generator().manual_seed(seed), []
    for radius in RADII:
        if radius > store.box / 2:
            break
        coarse = refinement.search_radius(known.images, torch.arange(store.n), volume, radius)
        grid = refinement.Grid.draw(min(radius, coarse), store.box, generator, volume.device)
        poses = refinement.global_poses(known.images, rows, volume, radius, grid, None, False, operators)
        error_deg = nearest_deg(known.rotation[rows], poses.rotation, operators)
        within = float((error_deg < searches.MOVED_DEG).float().mean())
        sure = float((poses.confidence > searches.SURE).float().mean())
        results.append([radius, grid.radius, within, float(error_deg.median()), sure])
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=["H3"], help="names of datasets.py; without any H3, which needs no file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=OUT / "data", help="cache of datasets.py")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder that holds data/maps and data/models")
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    here, results = machine.describe(), []
    print(machine.words(here))
    for name in options.sets:
        known = Known(datasets.make(name, options.data, options.shared), None)
        operators = operators_of(datasets.entry(name)[1])
        results += [[name, *row] for row in found(known, operators, options.seed)]
        print(table(HEADER, [row for row in results if row[0] == name]), flush=True)
        write_json(options.out, {"machine": here, "results": results})


if __name__ == "__main__":
    main()
