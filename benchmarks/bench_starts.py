"""Random starts of the bootstrap: which share of them ends at the true map, and whether those that do not could be told.

    python benchmarks/bench_starts.py R1 rough --starts 10          python benchmarks/bench_starts.py rough --without-empty
    python benchmarks/bench_starts.py drawn3 --starts 5 --continued

Sets by the names of `benchmarks/datasets.py`, made where they are missing. Each start runs to its end. It is right if its map,
aligned, agrees with the truth's mean map as starts must agree with each other (mean FSC of AGREEMENT). Of pairs of starts, which
is what a run begins with: those that agree, and of these the pairs of wrong ones. The gap is the log marginal likelihood of the
right starts' median less that of the likeliest wrong one, per image. With `--continued` the two likeliest go on, as in a run where
no two agree: what their maps have in common with the truth before and after, and with each other.
"""

import argparse
import time
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import datasets
import machine
import numpy as np
import torch
from tables import table, write_json

from cryodrake.analysis.evaluate_maps import true_map
from cryodrake.data.coefficients import CoefficientStore
from cryodrake.data.density import resample
from cryodrake.inference.reference import in_box
from cryodrake.io.particles import read_particles
from cryodrake.physics.grids import shift_grid
from cryodrake.training import refinement, starts
from cryodrake.training.bootstrap import Bootstrap
from cryodrake.training.images import WeightedImages
from cryodrake.training.loading import MASK_RADIUS

OUT = Path(__file__).parent / "out"
HEADER = ("set", "starts", "right", "FSC of right", "of wrong", "pairs agree", "both wrong", "gap", "s a start")
CONTINUED = ("set", "FSC of the two likeliest", "continued", "with each other", "steps", "s")


def measure(data: Path, n: int, seed: int, device: str, without_empty: bool, continued: bool) -> dict[str, Any]:
    particles = read_particles(data / "particles.star")
    if without_empty:
        particles = particles.select(np.flatnonzero(~np.load(data / "truth" / "empty.npy")))
    store = CoefficientStore.build(particles, device=device)
    images = WeightedImages(store, store.noise, torch.ones(store.n, device=store.device))
    lattice = shift_grid(refinement.SHIFT_EXTENT * store.box, starts.SHIFT_STEP_PX)
    maps, log_marginals = [], []
    began = time.perf_counter()
    for i in range(n):
        start = Bootstrap(images, store.n, lattice, MASK_RADIUS, 1000 * seed + i)
        while not start.done:
            start.step()
        maps.append(start.volumes[0])
        log_marginals.append(sum(start.log_marginals[-starts.AVERAGED_STEPS :]) / starts.AVERAGED_STEPS)
    seconds = (time.perf_counter() - began) / n
    density, pixel_size_A = true_map(data / "truth")
    truth = in_box(resample(density, pixel_size_A, store.box, store.pixel_size_A), len(maps[0]))
    same = [starts.agreement(truth, map_, start.radius) for map_ in maps]
    right = [value >= starts.AGREEMENT for value in same]
    pairs = {(i, j): starts.agreement(maps[i], maps[j], start.radius) for i, j in combinations(range(n), 2)}
    agreed = [pair for pair, value in pairs.items() if value >= starts.AGREEMENT]
    of_right = [value for value, is_right in zip(log_marginals, right, strict=True) if is_right]
    of_wrong = [value for value, is_right in zip(log_marginals, right, strict=True) if not is_right]
    result = {
        "set": data.name,
        "starts": n,
        "right": sum(right),
        "fsc_right": median(value for value, is_right in zip(same, right, strict=True) if is_right) if any(right) else None,
        "fsc_wrong": max((value for value, is_right in zip(same, right, strict=True) if not is_right), default=None),
        "pairs_agree": len(agreed),
        "pairs_wrong": sum(not right[i] and not right[j] for i, j in agreed),
        "gap": median(of_right) - max(of_wrong) if of_right and of_wrong else None,
        "s": seconds,
        "fsc": same,
        "log_marginal": log_marginals,
        "agreement": [[*pair, value] for pair, value in pairs.items()],
    }
    return result | {"continued": go_on(images, store, maps, result, seed, truth)} if continued else result


def go_on(
    images: WeightedImages,
    store: CoefficientStore,
    maps: list[torch.Tensor],
    result: dict[str, Any],
    seed: int,
    truth: torch.Tensor,
) -> dict[str, Any]:
    """The two likeliest starts, continued; for CONTINUED."""
    pair = starts.likeliest_two([{"log_marginal": value} for value in result["log_marginal"]])
    maker = starts.StartMaker(images, store.n, refinement.SHIFT_EXTENT * store.box, MASK_RADIUS, lambda *_: None)
    began = time.perf_counter()
    found, same = maker.go_on([1000 * seed + len(maps) + i for i in pair], torch.stack([maps[i] for i in pair]))
    seconds = time.perf_counter() - began
    radius = starts.CONTINUED[-1].last_radius
    return {
        "set": result["set"],
        "fsc_before": " ".join(f"{result['fsc'][i]:.2f}" for i in pair),
        "fsc": " ".join(f"{starts.agreement(truth, start.volume, radius):.2f}" for start in found),
        "agreement": float(same.max()),
        "steps": sum(start.record["steps"] for start in found),
        "s": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=["procedural"], help="names of datasets.py")
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-empty", action="store_true", help="only of images that hold a particle")
    parser.add_argument("--continued", action="store_true", help="the two likeliest go on")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", type=Path, default=OUT / "data", help="cache of datasets.py")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder that holds data/maps and data/models")
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    found = machine.describe(options.device)
    print(machine.words(found))
    results = []
    for name in options.sets:
        data = datasets.make(name, options.data, options.shared)
        results.append(measure(data, options.starts, options.seed, options.device, options.without_empty, options.continued))
        print(table(HEADER, [list(results[-1].values())[: len(HEADER)]]), flush=True)
        if options.continued:
            print(table(CONTINUED, [list(results[-1]["continued"].values())]), flush=True)
        write_json(options.out, {"machine": found, "results": results})


if __name__ == "__main__":
    main()
