"""What a graphics card would have to do, counted on a machine without one, and whether a job there ends as on a processor.

    python benchmarks/bench_card.py                          python benchmarks/bench_card.py H1 --abinit "--zdim 8"

`cryodrake abinit` on the pretend card (`pretend_card.py`), phase by phase: operations, each of which a card begins on its own;
those that wait for their result on the host; bytes read and written, as if no cache held them; products; and the most memory that
tensors take at once. Seconds are what these come to at the rates given by the options (by default about those of an H200 under
torch without graphs): an estimate that tells where a card would lose its time, not a measurement. The last lines compare with the
same job on the processor.
"""

import argparse
import shlex
import sys
import weakref
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import machine
import pretend_card
import torch
from tables import table, write_json
from torch import Tensor
from torch.utils._pytree import tree_leaves

from cryodrake.analysis.evaluate import EvaluateConfig, evaluate
from cryodrake.app import cli
from cryodrake.training.events import JobReporter

OUT = Path(__file__).parent / "out"
GIB = 1 << 30
PRODUCTS = {"aten::mm": (0, 1), "aten::bmm": (0, 1), "aten::addmm": (1, 2), "aten::baddbmm": (1, 2)}  # where their factors are
READS_PARTS = {"aten::index", "aten::gather", "aten::index_select", "aten::_embedding_bag_forward_only"}  # of their first tensor
WRITES_PARTS = {
    "aten::index_add_",
    "aten::scatter_add_",
    "aten::index_put_",
    "aten::index_copy_",
}  # the same, which is their answer
WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select"}


@dataclass
class Work:
    """Of one phase, or of one line of the code."""

    operations: int = 0
    waits: int = 0
    bytes: int = 0
    flop32: int = 0
    flop16: int = 0
    peak: int = 0

    def seconds(self, rates: argparse.Namespace) -> float:
        """As if nothing ran while something else does."""
        begun = self.operations * rates.launch_us + self.waits * rates.wait_us
        return (
            begun * 1e-6
            + self.bytes / (rates.tb_s * 1e12)
            + self.flop32 / (rates.tflop32_s * 1e12)
            + self.flop16 / (rates.tflop16_s * 1e12)
        )


class Count:
    """Listens to the card."""

    def __init__(self) -> None:
        self.phase = "start"
        self.phases: dict[str, Work] = defaultdict(Work)
        self.lines: dict[str, Work] = defaultdict(Work)
        self._holders: dict[int, int] = defaultdict(int)
        self._size: dict[int, int] = {}
        self._held = 0

    def __call__(self, op: Any, args: Any, kwargs: Any, answer: Any, seconds: float) -> None:
        """One operation."""
        for made in tree_leaves(answer):
            if isinstance(made, pretend_card.CardTensor):
                self._hold(made)
        returns = op._schema.returns
        if returns and returns[0].alias_info is not None and not returns[0].alias_info.is_write:
            return  # a view: nothing is done
        name, tensors = op._schema.name, [leaf for leaf in tree_leaves((args, kwargs, answer)) if isinstance(leaf, Tensor)]
        is_waiting = name in WAITS or (name == "aten::_to_copy" and kwargs.get("device") == torch.device("cpu"))
        if name in READS_PARTS:
            tensors = [*tensors[1:], *(leaf for leaf in tree_leaves(answer) if isinstance(leaf, Tensor))]
        if name in WRITES_PARTS:
            tensors = tensors[1:-1]
        moved = sum(map(_bytes, tensors))
        flop, is_half = _product(args, PRODUCTS.get(name))
        for work in (self.phases[self.phase], self.lines[_line()]):
            work.operations, work.waits, work.bytes = work.operations + 1, work.waits + is_waiting, work.bytes + moved
            work.flop16, work.flop32 = work.flop16 + flop * is_half, work.flop32 + flop * (not is_half)

    def _hold(self, tensor: pretend_card.CardTensor) -> None:
        """Its memory is held until the last tensor on it is gone."""
        if _is_sparse(tensor):
            return
        storage = tensor.host.untyped_storage()
        key = storage.data_ptr()
        if not self._holders[key]:
            self._size[key] = storage.nbytes()
            self._held += self._size[key]
            work = self.phases[self.phase]
            work.peak = max(work.peak, self._held)
        self._holders[key] += 1
        weakref.finalize(tensor, self._let_go, key)

    def _let_go(self, key: int) -> None:
        self._holders[key] -= 1
        if not self._holders[key]:
            self._held -= self._size[key]


def _is_sparse(tensor: Tensor) -> bool:
    return getattr(tensor, "host", tensor).layout != torch.strided


def _bytes(tensor: Tensor) -> int:
    """Of its numbers, and of their places in a sparse one, which are int32."""
    host = getattr(tensor, "host", tensor)
    return host._nnz() * (host.element_size() + 4) if _is_sparse(tensor) else host.numel() * host.element_size()


def _product(args: Any, factors: tuple[int, int] | None) -> tuple[int, bool]:
    """Multiplications and additions of a matrix product, and whether it is one of bfloat16; sparse ones are mostly reading."""
    if factors is None or _is_sparse(args[factors[0]]):
        return 0, False
    one, other = args[factors[0]], args[factors[1]]
    return 2 * one.numel() * other.shape[-1] * (4 if one.is_complex() else 1), one.dtype == torch.bfloat16


def _line() -> str:
    """The innermost line of cryodrake's that is at work."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        _, found, file = frame.f_code.co_filename.partition("/src/cryodrake/")
        if found:
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return "-"


def listen() -> Count:
    """To the card, and to the phases of the job."""
    count, tell = Count(), JobReporter.phase

    def phase(self: JobReporter, name: str, *args: Any, **kwargs: Any) -> None:
        count.phase = name.rstrip("0123456789 ")
        tell(self, name, *args, **kwargs)

    JobReporter.phase = phase  # type: ignore[method-assign]
    pretend_card.CARD.listeners.append(count)
    return count


def rows_of(works: dict[str, Work], rates: argparse.Namespace) -> list[list[Any]]:
    """Of the table, the costliest first."""
    ordered = sorted(works.items(), key=lambda item: -item[1].seconds(rates))
    return [
        [
            name,
            work.operations,
            work.waits,
            work.bytes / 1e12,
            (work.flop32 + work.flop16) / 1e12,
            work.seconds(rates),
            work.peak / GIB,
        ]
        for name, work in ordered
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", nargs="?", default="H3", help="a name of datasets.py")
    parser.add_argument("--abinit", default="--zdim 4", help="options of the command, in one string")
    parser.add_argument("--images", type=int, default=600, help="how many of the set's images, from its beginning")
    parser.add_argument("--launch-us", type=float, default=6.0, help="microseconds to begin an operation")
    parser.add_argument("--wait-us", type=float, default=10.0, help="more of them where the host waits for the result")
    parser.add_argument("--tb-s", type=float, default=3.0, help="10¹² bytes a second from memory")
    parser.add_argument("--tflop32-s", type=float, default=40.0, help="10¹² operations a second in products of float32")
    parser.add_argument("--tflop16-s", type=float, default=400.0, help="those of bfloat16")
    parser.add_argument("--lines", type=int, default=25, help="how many lines of the code to list")
    parser.add_argument("--data", type=Path, default=OUT / "data", help="cache of datasets.py")
    parser.add_argument(
        "--shared", type=Path, default=Path(__file__).parents[2] / "shared", help="folder that holds data/maps and data/models"
    )
    parser.add_argument("--work", type=Path, default=OUT / "card", help="folder of the jobs, which are left there")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    print(machine.words(machine.describe()))
    data = datasets.make(options.set, options.data, options.shared)
    options.work.mkdir(parents=True, exist_ok=True)
    rows = options.work / "rows.txt"
    rows.write_text("\n".join(map(str, range(options.images))))
    count, results = listen(), {}
    for where, run in (("card", pretend_card.run_on_it), ("processor", cli.main)):
        out = options.work / f"{options.set}_{where}"
        line = ["abinit", str(data / "particles.star"), "-o", str(out), "--ind", str(rows), *shlex.split(options.abinit)]
        if run([*line, "--device", "auto" if where == "card" else "cpu"]):
            sys.exit(f"the job on the {where} failed; its folder is {out}")
        pretend_card.CARD.listeners.clear()
        results[where] = evaluate(EvaluateConfig(job=out, truth=data))
    header = ("operations", "that wait", "TB", "Tflop", "s", "GiB")
    print(table((f"phase, {options.images} images of {options.set}", *header), rows_of(count.phases, options)))
    print(table(("line of the code", *header[:-1]), [row[:-1] for row in rows_of(count.lines, options)[: options.lines]]))
    for where, result in results.items():
        print(f"{where}: rotations off by {result.rotation_error_median_deg:.2f} deg, FSC-AUC {result.fsc_auc:.3f}")
    write_json(options.out, {"machine": machine.describe(), "phases": {n: vars(w) for n, w in count.phases.items()}})


if __name__ == "__main__":
    main()
