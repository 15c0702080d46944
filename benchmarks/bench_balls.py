"""A map to its half ball and back, by matrix products over what there is, against fast transforms of the padded box: milliseconds.

    python benchmarks/bench_balls.py                     python benchmarks/bench_balls.py --boxes 64 256 --threads 4

By box and radius (cycles per box). The best of some repeats; the transforms are rid of their zeros and their surplus as cheaply as
slices and shifts of the origin allow. The error is the largest difference, relative to the largest value.
"""

import argparse
import os
from functools import partial
from pathlib import Path

import machine
import torch
from bench_loops import seconds
from tables import table, write_json
from torch import Tensor

from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.ball_transform import ball_of, density_of
from cryodrake.physics.fourier import centred_resize, half_to_volume, volume_to_half

HEADER = ["box", "radius", *("FFT ms", "ball ms", "ratio", "error"), *("FFT ms", "back ms", "ratio", "error")]


def ball_by_fft(density: Tensor, grid: BallGrid) -> Tensor:
    half = volume_to_half(centred_resize(density, grid.box * grid.oversampling, 3)) * grid.oversampling
    m, c = grid.half, grid.box * grid.oversampling // 2
    kept, width = min(m, c - 1), min(m + 1, c - 1) + 1
    ball = half.new_zeros(*grid.shape)
    ball[m - kept : m + kept + 1, m - kept : m + kept + 1, :width] = half[c - kept : c + kept + 1, c - kept : c + kept + 1, :width]
    return torch.view_as_real(ball.reshape(-1))


def density_by_fft(ball: Tensor, grid: BallGrid) -> Tensor:
    m, c = grid.half, grid.box * grid.oversampling // 2
    kept = min(m, c - 1)
    half = torch.view_as_complex(ball).reshape(grid.shape)[m - kept : m + kept + 1, m - kept : m + kept + 1, : kept + 1]
    whole = half.new_zeros(2 * c, 2 * c, c + 1)
    whole[c - kept : c + kept + 1, c - kept : c + kept + 1, : kept + 1] = half
    return centred_resize(half_to_volume(whole), grid.box, 3) / grid.oversampling


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out" / "balls.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine.words(machine.describe() | {"threads": options.threads}))
    rows = []
    for box in options.boxes:
        for radius in (box / 8, box / 4, box / 2 - 1):
            grid = BallGrid(box, radius)
            density = torch.randn(box, box, box, generator=torch.Generator().manual_seed(0))
            ball = ball_of(density, grid)
            row: list[float] = [box, radius]
            for slow, fast, given in ((ball_by_fft, ball_of, density), (density_by_fft, density_of, ball)):
                expected, found = slow(given, grid), fast(given, grid)
                ms = [1e3 * seconds(partial(call, given, grid), options.repeats) for call in (slow, fast)]
                row += [*ms, ms[0] / ms[1], float((found - expected).abs().max() / expected.abs().max())]
            rows.append(row)
    print(table(HEADER, rows))
    write_json(options.out, {"header": HEADER, "rows": rows, "machine": machine.describe() | {"threads": options.threads}})


if __name__ == "__main__":
    main()
