"""Neural field against back-projection: FSC-AUC of the maps from the same sums, and what the fit costs.

    python benchmarks/bench_fields.py          python benchmarks/bench_fields.py --map ribosome.mrc --snr 0.1 0.03 --out fields.json

A map (the built-in complex unless one is given) is Fourier-cropped to --box, sliced at random with CTFs of 1 to 2.5 µm, given white
noise, and back-projected with the true poses in two half sets. From those sums: the map with a small ridge, the Wiener map with
τ² from the half-set FSC (both under the solvent mask), cryoDRGN2's network and the default network.
AUC is the mean FSC with the truth over shells 1 to Nyquist, unmasked. No data set is needed.
"""

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import torch
from tables import table, write_json
from torch import Tensor

from cryodrake.data.density import gaussian_density
from cryodrake.data.procedural import procedural_complex
from cryodrake.fields import statistics
from cryodrake.fields.base import AbstractField
from cryodrake.fields.fit import fit_network
from cryodrake.fields.mlp import MLPField
from cryodrake.fields.target import FieldTarget, from_sums
from cryodrake.io.mrc import read_map
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.ctf import CTFParams, ctf
from cryodrake.physics.disc import Disc
from cryodrake.physics.fourier import resample_volume
from cryodrake.physics.fsc import area_under, fsc
from cryodrake.physics.rotations import random_rotations
from cryodrake.physics.slices import backproject, raster, slice_ball, symmetrise

RADIUS = 0.425  # of the box: the command's default
BLOCK = 100  # images at once


def true_density(path: Path | None, box: int) -> tuple[Tensor, float]:
    """(density, box_A): a map's, or the built-in complex in a box half as wide again."""
    if path is not None:
        volume, pixel_size_A = read_map(path)
        return resample_volume(torch.tensor(volume), box), volume.shape[-1] * pixel_size_A
    atoms = torch.from_numpy(procedural_complex()).float()
    box_A = 3.0 * float(atoms.norm(dim=1).max())
    return gaussian_density(atoms, torch.ones(len(atoms)), box, box_A / box, 3 * box_A / box), box_A


def simulate_sums(density: Tensor, box_A: float, n: int, snr: float, grid: BallGrid, seed: int = 0) -> Tensor:
    """(2 v 3) sums of two half sets of n/2 images each, at signal-to-noise `snr` (over all pixels of the images)."""
    g = torch.Generator().manual_seed(seed)
    disc, ball = Disc.build(grid.box, device=density.device), raster(density, grid)
    rotation, zero = random_rotations(n, g).to(density.device), torch.zeros(n)
    defocus_A = 1e4 + 1.5e4 * torch.rand(n, generator=g)
    angle = 180 * torch.rand(n, generator=g)
    optics = CTFParams(zero + box_A / grid.box, zero + 300, zero + 2.7, zero + 0.1, defocus_A, defocus_A - 200, angle, zero, zero)

    def clean(rows: slice) -> tuple[Tensor, Tensor]:
        transfer = ctf(optics[rows], disc.kxy.cpu(), zero[rows] + box_A).to(density.device)
        return slice_ball(ball, grid, rotation[rows], disc.kxy) * transfer[..., None], transfer

    blocks = [slice(i, i + BLOCK) for i in range(0, n, BLOCK)]
    power = sum(float((clean(rows)[0] ** 2).sum()) for rows in blocks[:: max(1, len(blocks) // 10)])
    images = sum(len(rotation[rows]) for rows in blocks[:: max(1, len(blocks) // 10)])
    variance = 2 * power / images / grid.box**2 / snr
    sums = torch.zeros(2, grid.n_voxels, 3, device=density.device)
    for i, rows in enumerate(blocks):
        image, transfer = clean(rows)
        image += math.sqrt(variance / 2) * torch.randn(image.shape, generator=g).to(image.device)
        weights = transfer**2 / variance
        backproject(image * transfer[..., None] / variance, weights, grid, rotation[rows], disc.kxy, onto=sums[i % 2])
    return torch.stack([symmetrise(half, grid) for half in sums])


def timed(make: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """The result, and wall and CPU seconds."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    result = make()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result, {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def volume_of(field: AbstractField) -> Tensor:
    with torch.no_grad():
        return field.to_volume()[0]


def compare(density: Tensor, box_A: float, n: int, snr: float) -> list[dict[str, Any]]:
    """One row per method on one simulated set."""
    box = density.shape[-1]
    grid, radius_px = BallGrid(box, box / 2, 2), RADIUS * box
    sums = simulate_sums(density, box_A, n, snr, grid)
    rows = []

    def add(name: str, volume: Tensor, cost: dict[str, float]) -> None:
        rows.append({"snr": snr, "method": name, "auc": area_under(fsc(volume, density)), **cost})

    def wiener() -> FieldTarget:
        ssnr = statistics.signal_to_noise(sums[0], sums[1], grid, radius_px)
        return from_sums(sums.sum(0), grid, radius_px, ssnr)

    def published() -> MLPField:
        field = MLPField.cryodrgn2(box, box_A).to(density.device)
        fit_network(field, target)
        return field

    def default() -> MLPField:
        field = MLPField.for_particle(box, box_A, radius_px).to(density.device)
        fit_network(field, target)
        return field

    ridge, cost = timed(lambda: from_sums(sums.sum(0), grid, radius_px))
    add("back-projection, ridge", ridge.density[0], cost)
    target, cost = timed(wiener)
    add("back-projection, Wiener", target.density[0], cost)
    field, cost = timed(published)
    add("cryoDRGN2's network", volume_of(field), cost)
    field, cost = timed(default)
    add("default network", volume_of(field), cost)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--map", type=Path, help="MRC map; default: the built-in complex")
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--snr", type=float, nargs="+", default=[0.1, 0.03])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    found = machine.describe(options.device)
    print(machine.words(found))
    density, box_A = true_density(options.map, options.box)
    rows = [row for snr in options.snr for row in compare(density.to(options.device), box_A, options.images, snr)]
    print(
        table(
            ["method", "SNR", "FSC-AUC", "wall s", "CPU s"],
            [[r["method"], r["snr"], f"{r['auc']:.4f}", r["wall_s"], r["cpu_s"]] for r in rows],
        )
    )
    settings = {"map": str(options.map), "box": options.box, "box_A": box_A, "images": options.images}
    write_json(options.out, {"machine": found, **settings, "results": rows})


if __name__ == "__main__":
    main()
