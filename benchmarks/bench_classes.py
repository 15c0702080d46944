"""Telling structures apart: how many images end in the class of their structure, one class after another.

    python benchmarks/bench_classes.py ../data/H5 --classes 3 --counts 2000 1000 300          python benchmarks/bench_classes.py

Sets are folders of `benchmarks/datasets.py` or of `cryodrake simulate` with several structures; without any, a set of the built-in
complex with and without some of its parts is made. Rows of the tables are true structures, columns classes. For comparison
K maps begin together from random poses: with a flat prior, and held at equal shares (`training.bootstrap`). The share of images
in the right class is after the best assignment of classes to structures, each class to one. With `--gain` all images are shared
among two maps, and the relative gain of likelihood is told, which a run without `--classes` compares with WORTHWHILE.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import machine
import numpy as np
import torch
from tables import table, write_json

from cryodrake.analysis.agreement import share_in_right_class
from cryodrake.data.coefficients import CoefficientStore
from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.io.particles import read_particles
from cryodrake.training.bootstrap import SCHEDULE, Bootstrap
from cryodrake.training.events import QuietReporter
from cryodrake.training.images import WeightedImages
from cryodrake.training.loading import MASK_RADIUS
from cryodrake.training.mixture import BALANCED, Classification

OUT = Path(__file__).parent / "out"


def chosen_rows(state: np.ndarray, counts: list[int]) -> np.ndarray:
    """The first so many images of each structure; all without counts."""
    if not counts:
        return np.arange(len(state))
    return np.sort(np.concatenate([np.flatnonzero(state == s)[:count] for s, count in enumerate(counts)]))


def judged(how: str, seconds: float, label: torch.Tensor, state: np.ndarray) -> dict[str, Any]:
    counts = np.zeros((state.max() + 1, int(label.max()) + 1), dtype=int)
    np.add.at(counts, (state, label.numpy()), 1)
    return {"how": how, "s": seconds, "right": share_in_right_class(label.numpy(), state), "table": counts.tolist()}


def measure(data: Path, options: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    state = np.load(data / "truth" / "state.npy")
    rows = chosen_rows(state, options.counts)
    state = state[rows]
    store = CoefficientStore.build(read_particles(data / "particles.star").select(rows))
    making = Classification(store, MASK_RADIUS, seed, QuietReporter())
    results = []
    began = time.perf_counter()
    mixture = making.first()
    if options.gain:
        gain, two = making.in_two(mixture, 0)
        label = two.posterior.argmax(1)
        return [
            {"set": data.name, "seed": seed, "n": len(state)}
            | judged(f"in two: {gain:+.3f}", time.perf_counter() - began, label, state)
        ]
    while len(mixture.maps) < options.classes:
        mixture = making.with_another(mixture)
        results.append(judged(f"{len(mixture.maps)} found in turn", time.perf_counter() - began, mixture.label, state))
    images = WeightedImages(store, store.noise, torch.ones(store.n))
    for how, schedule in (("at random", SCHEDULE), ("at random, equal shares", BALANCED)):
        began = time.perf_counter()
        run = Bootstrap(images, store.n, making.lattice_px, MASK_RADIUS, seed, schedule, options.classes)
        while not run.done:
            run.step()
        results.append(judged(how, time.perf_counter() - began, run.class_probability.argmax(1), state))
    return [{"set": data.name, "seed": seed, "n": len(state)} | result for result in results]


def default_set() -> Path:
    """The built-in complex, whole, and without all but two of its parts."""
    folder = OUT / "data" / "parts"
    if (folder / "particles.star").exists():
        return folder
    return simulate(SimulateConfig(out=folder, motion="composition", subsets=("full=*", "part=A,B"), n=2000, box=48, snr=0.2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs="*", help="simulated folders")
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--counts", type=int, nargs="*", default=[], help="images of each structure that are used")
    parser.add_argument(
        "--gain", action="store_true", help="only a split of all images in two, and what likelihood that brings, relatively"
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    found = machine.describe()
    print(machine.words(found))
    results = []
    for data in options.sets or [default_set()]:
        for seed in range(options.seeds):
            results += measure(data, options, seed)
    rows = [[*(r[name] for name in ("set", "seed", "n", "how", "s", "right")), r["table"]] for r in results]
    print(table(("set", "seed", "n", "classes", "s", "right", "images of each structure in each class"), rows))
    write_json(options.out, {"machine": found, "results": results})


if __name__ == "__main__":
    main()
