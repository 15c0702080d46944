"""The compiled loops of a CPU against their twins in torch: nanoseconds a point, by radius, columns and threads.

    python benchmarks/bench_loops.py                     python benchmarks/bench_loops.py --box 128 --threads 4

read: slices of c columns from a half ball (`physics.slices`); add: back-projection of c columns and a weight; expand: likelihood,
gradient and curvature of images at poses (`inference.expansion`). The best of some repeats, first calls (compilation) left out.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import torch
from tables import table, write_json

from cryodrake.inference import expansion, expansion_compiled
from cryodrake.inference.reference import Reference
from cryodrake.physics import cells, slices_compiled
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.disc import Disc
from cryodrake.physics.rotations import random_rotations
from cryodrake.physics.slices import raster

HEADER = ["loop", "radius", "columns", "torch ns", "compiled ns", "ratio"]
POINTS = 1 << 19


def seconds(call: Callable[[], Any], repeats: int) -> float:
    call()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def cases(box: int, radius: float, columns: int) -> dict[str, tuple[int, Callable[[], Any], Callable[[], Any]]]:
    """Name: points, torch, compiled."""
    g = torch.Generator().manual_seed(0)
    kxy, grid = Disc.build(box, radius).kxy, BallGrid(box, radius)
    k, r = len(kxy), columns // 2
    n = max(1, POINTS // (k * r))
    volumes, rotations = torch.randn(r, box, box, box, generator=g), random_rotations(n, g)
    ball, where = raster(volumes, grid), (grid, rotations, kxy)
    values, weights = torch.randn(n, k, columns, generator=g), torch.rand(n, k, generator=g)
    onto = torch.zeros(grid.n_voxels, columns + 1)
    found: dict[str, tuple[int, Callable[[], Any], Callable[[], Any]]] = {
        "read": (n * k, lambda: cells.read(ball, *where), lambda: slices_compiled.read(ball, *where)),
        "add": (
            n * k,
            lambda: cells.add(values, weights, *where, onto),
            lambda: slices_compiled.add(values, weights, *where, onto),
        ),
    }
    if r == 1:
        matched, shift_px = torch.view_as_complex(values), torch.randn(n, 2, generator=g)
        args = matched, weights, torch.arange(n), Reference.build(volumes[0], radius), kxy, box, rotations, shift_px
        found["expand"] = (n * k, lambda: expansion.expand(*args), lambda: expansion_compiled.expand(*args))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out" / "loops.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine.words(machine.describe() | {"threads": options.threads}))
    rows = []
    for radius in (12.0, options.box / 2 - 1):
        for columns in (2, 10):
            for name, (points, slow, fast) in cases(options.box, radius, columns).items():
                ns = [1e9 * seconds(call, options.repeats) / points for call in (slow, fast)]
                rows.append([name, radius, columns, *ns, ns[0] / ns[1]])
    print(table(HEADER, rows))
    write_json(options.out, {"header": HEADER, "rows": rows, "machine": machine.describe() | {"threads": options.threads}})


if __name__ == "__main__":
    main()
