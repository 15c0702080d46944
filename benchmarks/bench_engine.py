"""How much of the machine's own matrix-product rate the search engine reaches; and the rates of the parts beside it.

    python benchmarks/bench_engine.py                     python benchmarks/bench_engine.py --device cuda

Useful operations of an exhaustive search of n images, t shifts, q rotations and k half-disc points, whatever the program does to
get there: 2·(n·t)·q·2k for the scores and 2·n·q·k for the powers; the EM step's sums cost as much again. Time is that of the
whole call: slices, shifted images, products, best candidates; posteriors and their sums in the EM step.

The machine's rate is the best of several large products, timed between the calls in the same process. Ratios are taken
round by round and the median is shown, so that a machine that is slow for a while is slow for both.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import machine
import torch
from synthetic_images import SyntheticImages
from tables import table, write_json
from torch import Tensor

from cryodrake.inference.exhaustive import images_per_block, search
from cryodrake.inference.likelihood import ImageRows, SliceColumns, expected_sums, posterior_of, product_dtype, shift_phases
from cryodrake.inference.local import refine
from cryodrake.inference.reconstruct import accumulate
from cryodrake.inference.reference import Reference
from cryodrake.physics.ball_grid import BallGrid
from cryodrake.physics.grids import base_rotations, n_rotations
from cryodrake.physics.rotations import axis_angle_to_matrix
from cryodrake.physics.turns import MirrorPairs

PRODUCTS = {"cpu": ((1024,) * 3, (2048,) * 3, (4096, 1024, 2048)), "cuda": ((4096,) * 3, (8192,) * 3, (16384, 4096, 8192))}
SLOW_PRODUCTS = ((512,) * 3,)  # of a type that the processor does not multiply itself
BAR: dict[str, Any] = {"box": 128, "shifts": 196, "order": 2, "radius": 12.0}  # with 100,000 images, on a card
KEPT = 8


class Products:
    """Operands of the machine's own products; `rates` measures them: operations per second, the best shape of each type."""

    def __init__(self, device: torch.device):
        self.device, self.operands = device, {}
        fast = (torch.float32, product_dtype(device))
        for dtype in (torch.float32, torch.bfloat16):
            shapes = PRODUCTS[device.type] if dtype in fast else SLOW_PRODUCTS
            self.operands[dtype] = [
                (torch.randn(m, k, device=device).to(dtype), torch.randn(k, n, device=device).to(dtype)) for m, k, n in shapes
            ]

    def rates(self) -> dict[torch.dtype, float]:
        return {dtype: max(self._rate(a, b) for a, b in pairs) for dtype, pairs in self.operands.items()}

    def _rate(self, a: Tensor, b: Tensor, least_s: float = 0.05) -> float:
        def multiply(times: int) -> None:
            for _ in range(times):
                a @ b

        calls = 1
        while (s := seconds(partial(multiply, calls), self.device)) < least_s:
            calls *= 2
        return calls * 2 * a.shape[0] * a.shape[1] * b.shape[1] / s


def seconds(call: Callable[[], Any], device: torch.device) -> float:
    """Of one call, the card's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def efficiency(call: Callable[[], Any], operations: float, products: Products, rounds: int) -> dict[str, float]:
    """Seconds, operations per second and their ratios to the products', medians over rounds; the first call is not counted."""
    call()
    taken: list[float] = []
    ratios: dict[torch.dtype, list[float]] = {dtype: [] for dtype in products.operands}
    for _ in range(rounds):
        own = products.rates()
        taken.append(seconds(call, products.device))
        after = products.rates()
        for dtype, found in ratios.items():
            found.append(operations / taken[-1] / max(own[dtype], after[dtype]))
    s = statistics.median(taken)
    return {
        "seconds": s,
        "gflops": operations / s / 1e9,
        "of_fp32": statistics.median(ratios[torch.float32]),
        "of_bf16": statistics.median(ratios[torch.bfloat16]),
    }


def some_shifts(t: int, device: torch.device) -> Tensor:
    """t shifts within ±5 px; (t 2)."""
    return (10 * torch.rand(t, 2, generator=torch.Generator().manual_seed(1)) - 5).to(device)


def search_case(
    images: SyntheticImages, order: int, radius: float, t: int, products: Products, options: argparse.Namespace
) -> dict:
    """One exhaustive search of all images."""
    n, q, k = len(images.coeff), n_rotations(order), images.disc.count(radius)
    device = products.device
    rows, around = torch.arange(n, device=device), torch.zeros(n, 2, device=device)
    lattice, grid = some_shifts(t, device), base_rotations(order, device)
    reference = Reference.build(images.volume, radius)
    memory = {} if options.block_mib is None else {"block_bytes": options.block_mib << 20}
    result = efficiency(
        lambda: search(images, rows, reference, grid, around, lattice, KEPT, **memory), flop(n, t, q, k), products, options.rounds
    )
    return {"radius": radius, "order": order, "n": n, "t": t, "q": q, "k": k, **result}


def em_case(images: SyntheticImages, order: int, radius: float, t: int, products: Products, options: argparse.Namespace) -> dict:
    """Scores, posteriors and expected sums of all images, block by block, slices ready."""
    n, q, k = len(images.coeff), n_rotations(order), images.disc.count(radius)
    device = products.device
    kxy, dtype = images.disc.kxy[:k], product_dtype(device)
    pairs, slices = MirrorPairs.of(kxy), Reference.build(images.volume, radius).slices(base_rotations(order, device), kxy)
    columns = SliceColumns.build(slices, pairs, dtype)
    block = images_per_block(t, q, (options.block_mib or 128) << 20)
    phases = shift_phases(some_shifts(t, device), kxy, images.disc.box)[None]

    def step() -> Tensor:
        numerator, denominator = torch.zeros(q // 4, k, 2, device=device), torch.zeros(q // 4, k, device=device)
        for rows in torch.arange(n, device=device).split(block):
            images_ = ImageRows.build(*images.matched(rows, k), phases)
            add_numerator, add_denominator = expected_sums(posterior_of(images_, columns), images_, pairs)
            numerator += add_numerator
            denominator += add_denominator
        return numerator

    result = efficiency(step, 2 * flop(n, t, q, k), products, options.rounds)
    return {"radius": radius, "order": order, "n": n, "t": t, "q": q, "k": k, **result}


def flop(n: int, t: int, q: int, k: int) -> float:
    """Of the scores and powers, taken one by one: half turns share most of it, so rates may exceed the products' own."""
    return 2.0 * n * t * q * 2 * k + 2.0 * n * q * k


def parts_case(images: SyntheticImages, radius: float, rounds: int) -> dict[str, float]:
    """Rates of what surrounds the products, median over rounds: images per second, slice points per second."""
    n, k, device = len(images.coeff), images.disc.count(radius), images.coeff.device
    rows, kxy, reference = torch.arange(n, device=device), images.disc.kxy[:k], Reference.build(images.volume, radius)
    torch.manual_seed(1)
    off = axis_angle_to_matrix(0.03 * torch.randn(n, 3, device=device)) @ images.rotation
    shift = 0.3 * torch.randn(n, 2, device=device)
    calls: dict[str, tuple[float, Callable[[], Any]]] = {
        "slice_points_per_s": (n * k, lambda: reference.slices(off, kxy)),
        "refined_per_s": (n, lambda: refine(images, rows, reference, off, shift)),
        "backprojected_per_s": (n, lambda: accumulate(images, rows, off, shift, BallGrid(images.disc.box, radius))),
    }
    taken = {name: [seconds(call, device) for _ in range(rounds + 1)][1:] for name, (_, call) in calls.items()}
    return {"radius": radius, "k": k, **{name: amount / statistics.median(taken[name]) for name, (amount, _) in calls.items()}}


def show(title: str, cases: list[dict]) -> None:
    """One table of efficiencies."""
    names = ("radius", "order", "n", "t", "q", "k", "seconds", "gflops", "of_fp32", "of_bf16")
    header = ("radius", "order", "images", "shifts", "rotations", "points", "seconds", "GFLOP/s", "of fp32 rate", "of bf16 rate")
    print(f"\n{title}\n{table(header, [[case[name] for name in names] for case in cases])}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--n", type=int, help="images (1024; on a card 16384)")
    parser.add_argument("--box", type=int, default=64, help="pixels")
    parser.add_argument("--shifts", type=int, default=37, help="shifts of the search (the first global pass at 64 px has 37)")
    parser.add_argument("--em-shifts", type=int, nargs="+", default=[8, 37], help="shifts of the EM step")
    parser.add_argument("--radii", type=float, nargs="+", default=[8, 10, 12, 16])
    parser.add_argument("--orders", type=int, nargs="+", default=[1, 2], help="rotation grids: 1 is 30°, 2 is 15°")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--block-mib", type=int, help="memory for a block of scores (the engine's own default; on a card 4096)")
    parser.add_argument(
        "--bar-n", type=int, help="images of the card's bar, 128 px × 4608 rotations × 196 shifts (100,000; 0 on a CPU)"
    )
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    on_card = torch.device(options.device).type == "cuda"
    options.n = options.n or (16384 if on_card else 1024)
    options.bar_n = options.bar_n if options.bar_n is not None else (100_000 if on_card else 0)
    options.block_mib = options.block_mib or (4096 if on_card else None)
    return options


@torch.no_grad()
def main() -> None:
    options = arguments()
    device = torch.device(options.device)
    result: dict[str, Any] = {"options": vars(options), "machine": machine.describe(options.device)}
    print(machine.words(result["machine"]))
    products = Products(device)
    own = products.rates()
    result["product_gflops"] = {str(dtype).removeprefix("torch."): rate / 1e9 for dtype, rate in own.items()}
    print("own products, GFLOP/s: " + ", ".join(f"{name} {rate:.0f}" for name, rate in result["product_gflops"].items()))
    print(f"the engine multiplies in {str(product_dtype(device)).removeprefix('torch.')}")
    images = SyntheticImages(options.n, options.box, max(options.radii), device)
    cases = [(order, radius) for order in options.orders for radius in options.radii]
    result["search"] = [search_case(images, *case, options.shifts, products, options) for case in cases]
    show("exhaustive search with best candidates", result["search"])
    em = [(*case, t) for t in options.em_shifts for case in cases]
    result["em_step"] = [em_case(images, *case, products, options) for case in em]
    show("EM step: scores, posteriors, expected sums", result["em_step"])
    result["parts"] = [parts_case(images, radius, options.rounds) for radius in options.radii]
    header = ("radius", "points", "slice points/s", "refined/s", "back-projected/s")
    print(f"\nimages per second of the other parts\n{table(header, [list(row.values()) for row in result['parts']])}")
    if options.bar_n:
        images = SyntheticImages(options.bar_n, BAR["box"], BAR["radius"], device)
        result["bar"] = search_case(images, BAR["order"], BAR["radius"], BAR["shifts"], products, options)
        show(f"the bar's case, {BAR['box']} px, data resident", [result["bar"]])
    write_json(options.out, result)


if __name__ == "__main__":
    main()
