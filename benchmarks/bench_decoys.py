"""Does an image hold a structure at all: how much more of a map it holds than of the map's decoy, for images of each kind.

    python benchmarks/bench_decoys.py rough assembly H5          python benchmarks/bench_decoys.py mix5 --of 3 --radius 16

Sets by the names of `benchmarks/datasets.py`, made where they are missing. The map is the true one of a state. Images of that
state, of the others, of which some hold a part of it and some are of other complexes, and empty ones are searched over all poses,
as `abinit` searches. Gains are in log likelihood; of what holds nothing of the map they should be as often below zero as above,
and `held`, the images that `training.decoys` takes in where there are none of another kind, should be none.
"""

import argparse
from pathlib import Path
from typing import Any

import datasets
import machine
import numpy as np
import torch
from tables import table, write_json
from truth import amplitude

from cryodrake.data.coefficients import CoefficientStore
from cryodrake.data.density import resample
from cryodrake.inference.reference import Reference
from cryodrake.io.mrc import read_map
from cryodrake.io.particles import read_particles
from cryodrake.training import refinement
from cryodrake.training.decoys import decoy, hold
from cryodrake.training.images import WeightedImages

OUT = Path(__file__).parent / "out"
SHARES = (0.05, 0.5, 0.95)
HEADER = ("set", "images of", "n", "score: median", "gain: 5 %", "median", "95 %", "below 0", "held")


def measure(name: str, data: Path, options: argparse.Namespace) -> list[list[Any]]:
    """One row for each state's images, and one for the empty ones."""
    truth = read_particles(data / "truth" / "particles.star", datadir=data).table
    store = CoefficientStore.build(read_particles(data / "particles.star"))
    assert truth.shifts_A is not None  # simulated sets have them
    kind, empty = np.load(data / "truth" / "state.npy"), data / "truth" / "empty.npy"
    if empty.exists():
        kind[np.load(empty)] = -1
    images = WeightedImages(store, store.noise, torch.ones(store.n))
    density, pixel_size_A = read_map(data / "truth" / "volumes" / f"state_{options.of:03d}.mrc")
    volume = resample(torch.from_numpy(density), pixel_size_A, store.box, store.pixel_size_A)
    own = torch.from_numpy(np.flatnonzero(kind == options.of)[: options.images])
    poses = torch.from_numpy(truth.rotations).float(), torch.from_numpy(truth.shifts_A / store.pixel_size_A).float()
    of_own = WeightedImages(store.select(own), store.noise, torch.ones(len(own)))
    volume *= amplitude(of_own, Reference.build(volume, options.radius), *(pose[own] for pose in poses))
    coarse = refinement.search_radius(images, own, volume, options.radius)
    grid = refinement.Grid.draw(coarse, store.box, torch.Generator().manual_seed(0), store.device)
    rows = []
    for number in np.unique(kind):
        some = torch.from_numpy(np.flatnonzero(kind == number)[: options.images])
        found, by_chance = (
            refinement.global_poses(images, some, v, options.radius, grid, None, False, torch.eye(3)[None]).score
            for v in (volume, decoy(volume))
        )
        gain = found - by_chance
        what = "nothing" if number < 0 else f"state {number}" + (", the map's" if number == options.of else "")
        quantiles = torch.quantile(gain, torch.tensor(SHARES)).tolist()
        below, held = float((gain < 0).float().mean()), float(hold(gain).float().mean())
        rows.append([name, what, len(some), float(found.median()), *quantiles, below, held])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=["subunits"], help="names of datasets.py; without any one that needs no file")
    parser.add_argument("--of", type=int, default=0, help="the state whose map it is, from 0")
    parser.add_argument("--images", type=int, default=300, help="of each kind, at most")
    parser.add_argument("--radius", type=float, default=24.0, help="cycles per box, up to which images are compared")
    parser.add_argument("--data", type=Path, default=OUT / "data", help="cache of datasets.py")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder that holds data/maps and data/models")
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    found = machine.describe()
    print(machine.words(found))
    rows = []
    for name in options.sets:
        rows += measure(name, datasets.make(name, options.data, options.shared), options)
    print(table(HEADER, rows))
    write_json(options.out, {"machine": found, "results": [dict(zip(HEADER, row, strict=True)) for row in rows]})


if __name__ == "__main__":
    main()
