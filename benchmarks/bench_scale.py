"""How reading and cleaning scale: seconds and peak memory against the number of images and their size.

    python benchmarks/bench_scale.py                     python benchmarks/bench_scale.py --quick --out scale.json

Each case reads a stack of white noise from a temporary folder in a process of its own, so that peak memory is its own; the
file has just been written, so the disk's own speed is mostly not measured. The last case is a stack ten times its memory
setting: coefficients go to a scratch file, and peak memory must not grow with the stack.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

CASES = ((2500, 64, 4.0), (5000, 64, 4.0), (10000, 64, 4.0), (5000, 128, 4.0), (10000, 128, 4.0), (20000, 128, 4.0))
STREAMED = (16384, 128, 0.1)  # 1 GiB of images
QUICK = ((500, 64, 4.0), (1000, 64, 4.0), (1000, 64, 0.0015))
ROWS_READ = 2000


def write_stack(path: Path, n: int, box: int) -> None:
    """White noise; a few images repeated, since only their number matters."""
    from cryodrake.io.mrc import StackWriter

    some = np.random.default_rng(0).standard_normal((250, box, box), dtype=np.float32)
    with StackWriter(path, n, box, 3.0) as writer:
        for start in range(0, n, len(some)):
            writer.write(some[: n - start])


def measure(path: Path, memory_gib: float) -> dict[str, float | str]:
    """Build a store from the stack and read some of it back; meant for a process of its own."""
    import torch

    from cryodrake.data.coefficients import CoefficientStore
    from cryodrake.io.particles import read_particles

    particles = read_particles(path)
    before_mib = _peak_mib()
    start, before = time.perf_counter(), os.times()
    store = CoefficientStore.build(particles, memory_gib=memory_gib, scratch=path.parent)
    seconds, after = time.perf_counter() - start, os.times()
    rows = torch.randint(0, store.n, (ROWS_READ,), generator=torch.Generator().manual_seed(0))
    start = time.perf_counter()
    store.images(rows, store.disc.count(12))
    return {
        "seconds": seconds,
        "cpu_seconds": after.user + after.system - before.user - before.system,
        "read_us_per_row": (time.perf_counter() - start) / ROWS_READ * 1e6,
        "peak_mib": _peak_mib(),
        "grown_mib": _peak_mib() - before_mib,
        "storage": type(store._storage).__name__,
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(n: int, box: int, memory_gib: float) -> dict[str, float | str]:
    """One case, its stack written first and removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise.mrcs"
        write_stack(path, n, box)
        command = [sys.executable, __file__, "--child", str(path), str(memory_gib)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    case = {"n": n, "box": box, "memory_gib": memory_gib, "stack_mib": n * box * box * 4 / 2**20}
    return {**case, **json.loads(done.stdout)}


def slope(results: list[dict[str, Any]], box: int) -> float | None:
    """Exponent of CPU seconds against n at this box; 1 is linear."""
    mine = [r for r in results if r["box"] == box and r["storage"] == "TensorStorage"]
    if len(mine) < 2:
        return None
    n, seconds = (np.log([r[name] for r in mine]) for name in ("n", "cpu_seconds"))
    return float(np.polyfit(n, seconds, 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the results here")
    parser.add_argument("--quick", action="store_true", help="small cases, a few seconds")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(Path(options.child[0]), float(options.child[1]))))
        return
    print(f"{'n':>7} {'box':>4} {'stack':>9} {'setting':>9} {'seconds':>8} {'CPU s':>7} {'µs/row':>7} {'peak':>9} {'grown':>9}")
    results = []
    for n, box, memory_gib in QUICK if options.quick else (*CASES, STREAMED):
        r: dict[str, Any] = run(n, box, memory_gib)
        results.append(r)
        print(
            f"{n:7d} {box:4d} {r['stack_mib']:5.0f} MiB {memory_gib * 1024:5.0f} MiB {r['seconds']:8.2f} {r['cpu_seconds']:7.2f}"
            f" {r['read_us_per_row']:7.1f} {r['peak_mib']:5.0f} MiB {r['grown_mib']:5.0f} MiB  {r['storage']}",
            flush=True,
        )
    exponents = {box: slope(results, box) for box in sorted({r["box"] for r in results})}
    print("CPU seconds grow as n to the power", {box: round(e, 2) for box, e in exponents.items() if e is not None})
    if options.out:
        summary = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "results": results, "exponents": exponents}
        options.out.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
