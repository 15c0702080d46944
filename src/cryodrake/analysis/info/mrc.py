"""MRC maps and stacks: the header, and every image or section for pixels that cannot be used."""

from pathlib import Path

import numpy as np

from cryodrake.analysis.info.report import Problem, Report
from cryodrake.errors import InputError
from cryodrake.io.mrc import MrcStack

CHUNK_PIXELS = 1 << 24


def examine_mrc(path: Path, is_stack: bool | None = None) -> Report:
    """A map or a stack; None: .mrcs is a stack, .map a map, and of the others a cube is a map."""
    report = Report("MRC file")
    try:
        stack = MrcStack(path)
        n, rows, columns = stack.shape
        if is_stack is None:
            suffixes = [suffix.lower() for suffix in path.suffixes]
            is_stack = ".mrcs" in suffixes or (".map" not in suffixes and len({n, rows, columns}) > 1)
        unit = "image" if is_stack else "section"
        report.kind = f"MRC stack of {n:,} images of {columns} × {rows}" if is_stack else f"MRC map of {columns} × {rows} × {n}"
        report.kind += f", mode {stack.mode}"
        if stack.pixel_size_A is None:
            report.notes.append("no pixel size in the header")
        else:
            report.facts.append(f"pixel size {stack.pixel_size_A:.4g} Å")
        if is_stack and (rows != columns or columns % 2):
            report.add(f"images of {columns} × {rows} pixels are not square and even", np.ones(n, dtype=bool), unit)
        if not is_stack and len({n, rows, columns}) > 1:
            report.problems.append(Problem("is not a cube"))
        _examine_pixels(report, stack, unit)
    except InputError as error:
        report.refuse(error)
    return report


def _examine_pixels(report: Report, stack: MrcStack, unit: str) -> None:
    """Chunk by chunk; a map has constant sections where it is masked, so only a map that is all one value is wrong."""
    n, rows, columns = stack.shape
    chunk = max(1, CHUNK_PIXELS // (rows * columns))
    low, high, nan, infinite = (np.empty(n, dtype) for dtype in (np.float64, np.float64, bool, bool))
    total = squares = 0.0
    for start in range(0, n, chunk):
        part = slice(start, min(start + chunk, n))
        images = stack.read(np.arange(part.start, part.stop)).reshape(part.stop - part.start, -1)
        nan[part], infinite[part] = np.isnan(images).any(axis=1), np.isinf(images).any(axis=1)
        low[part], high[part] = images.min(axis=1), images.max(axis=1)
        usable = images[~(nan[part] | infinite[part])].astype(np.float64)
        total, squares = total + usable.sum(), squares + np.square(usable).sum()
    report.add("pixels that are NaN", nan, unit)
    report.add("pixels that are infinite", infinite, unit)
    good = ~(nan | infinite)
    if not good.any():
        return
    pixels = int(good.sum()) * rows * columns
    mean = total / pixels
    deviation = np.sqrt(max(0.0, squares / pixels - mean**2))
    report.facts.append(f"values {low[good].min():.4g} to {high[good].max():.4g}, mean {mean:.4g}, deviation {deviation:.4g}")
    constant = (low == high) & good
    if unit == "image":
        report.add("all pixels are the same", constant, unit)
    elif constant.all() and low.min() == high.max():
        report.add("all voxels are the same", constant, unit)
