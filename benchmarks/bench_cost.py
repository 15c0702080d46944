"""How the cost of a run's parts grows: with the number of images, their size, and the range of shifts.

    python benchmarks/bench_cost.py                     python benchmarks/bench_cost.py --only parts

Two tables, each with the slope of log seconds over log of what varies: 1 is linear.

parts    in this process, on synthetic images: the exhaustive search (15° grid, radius 12), local refinement
         (radius a quarter of the box), back-projection and the map (radius half the box)
runs     `cryodrake abinit` as a command on simulated sets of the built-in complex: seconds of each phase, from events.jsonl; a
         phase that a run repeats counts once, with its median
"""

import argparse
import math
import os
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import commands
import machine
import torch
from phases import running_seconds, seconds_by_phase
from synthetic_images import SyntheticImages
from tables import table, write_json

from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.inference.exhaustive import search
from cryodrake.inference.local import refine
from cryodrake.inference.reconstruct import accumulate, solve
from cryodrake.inference.reference import Reference
from cryodrake.io.job import JobFolder
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.grids import base_rotations, shift_grid
from cryodrake.physics.rotations import axis_angle_to_matrix

OUT = Path(__file__).parent / "out"
SEARCH_RADIUS, STEP_PX, KEPT = 12.0, 2.0, 8
Point = dict[str, Any]


def part_seconds(n: int, box: int, extent_px: float, repeats: int) -> dict[str, float]:
    """Of each part at one point; the least of some repeats."""
    images = SyntheticImages(n, box, box / 2 - 1, torch.device("cpu"))
    rows, coarse = torch.arange(n), min(SEARCH_RADIUS, box / 2 - 1)
    lattice, centre = shift_grid(extent_px, STEP_PX), torch.zeros(n, 2)
    torch.manual_seed(0)
    near = axis_angle_to_matrix(0.03 * torch.randn(n, 3)) @ images.rotation
    ball = BallGrid(box, box / 2)

    def reference(radius: float) -> Reference:
        return Reference.build(images.volume, radius)

    calls: dict[str, Callable[[], Any]] = {
        "search": lambda: search(images, rows, reference(coarse), base_rotations(2), centre, lattice, KEPT),
        "refine": lambda: refine(images, rows, reference(box / 4), near, centre),
        "map": lambda: solve(accumulate(images, rows, near, centre, ball), ball),
    }
    return {name: min(_seconds(call) for _ in range(repeats)) for name, call in calls.items()}


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def phase_seconds(n: int, box: int, options: argparse.Namespace) -> dict[str, float]:
    """Of each phase of one whole run, and of the whole command."""
    data, job = options.work / f"data_{n}_{box}", options.work / f"job_{n}_{box}"
    if not (data / "particles.star").exists():
        simulate(SimulateConfig(out=data, n=n, box=box))
    shutil.rmtree(job, ignore_errors=True)
    line = ["abinit", str(data / "particles.star"), "-o", str(job), "--box", str(box), "--device", "cpu"]
    cost = commands.run(line, options.threads, job.with_suffix(".log"))
    if cost.return_code != 0:
        raise RuntimeError(f"the run failed:\n{commands.end_of(job.with_suffix('.log'))}")
    finished = JobFolder(job)
    rest = cost.wall_s - running_seconds(finished)
    return {**seconds_by_phase(finished), "start-up, figures": rest, "whole command": cost.wall_s}


def slope(xs: list[float], seconds: list[float]) -> float:
    """Least squares through the logarithms."""
    if len(set(xs)) < 2 or min(seconds) <= 0:
        return math.nan
    return statistics.linear_regression([math.log(x) for x in xs], [math.log(s) for s in seconds]).slope


def show(title: str, name: str, points: list[Point]) -> Point:
    """One table, a column for each value of `name`, a row for each part; returns the slopes."""
    parts = list(dict.fromkeys(part for point in points for part in point["seconds"]))
    found, rows = {}, []
    for part in parts:
        have = [point for point in points if part in point["seconds"]]
        found[part] = slope([point[name] for point in have], [point["seconds"][part] for point in have])
        rows.append([part, *[point["seconds"].get(part) for point in points], found[part]])
    print(f"\n{title}\n{table(['seconds', *[f'{name} {point[name]:g}' for point in points], 'slope'], rows)}", flush=True)
    return {"varies": name, "title": title, "points": points, "slopes": found}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+", default=[1000, 2000, 4000], help="images; the first one when others vary")
    parser.add_argument("--box", type=int, nargs="+", default=[64, 96, 128], help="pixels; likewise")
    parser.add_argument("--extent-px", type=float, nargs="+", default=[6.0, 12.0, 18.0], help="range of shifts; likewise")
    parser.add_argument("--repeats", type=int, default=2, help="of each part; the least counts")
    parser.add_argument("--only", choices=("parts", "runs"))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--work", type=Path, default=OUT / "cost", help="folder of the runs' data and jobs")
    parser.add_argument("--out", type=Path, help="JSON")
    return parser.parse_args()


@torch.no_grad()
def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    found = machine.describe()
    print(machine.words(found))
    (n, *_), (box, *_), (extent_px, *_) = options.n, options.box, options.extent_px
    tables = []
    if options.only != "runs":
        first = {"n": n, "box": box, "extent_px": extent_px}
        for name, values in (("n", options.n), ("box", options.box), ("extent_px", options.extent_px)):
            points = [first | {name: value} for value in values]
            points = [point | {"seconds": part_seconds(**point, repeats=options.repeats)} for point in points]
            rest = ", ".join(f"{key} {value:g}" for key, value in first.items() if key != name)
            tables.append(show(f"parts against {name} ({rest})", name, points))
    if options.only != "parts":
        for name, values in (("n", options.n), ("box", options.box)):
            points = [{"n": n, "box": box} | {name: value} for value in values]
            points = [point | {"seconds": phase_seconds(point["n"], point["box"], options)} for point in points]
            tables.append(show(f"whole runs against {name}", name, points))
    write_json(options.out, {"machine": found, "options": vars(options), "tables": tables})


if __name__ == "__main__":
    main()
