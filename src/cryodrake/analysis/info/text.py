"""Text files: a list of stacks, chosen rows, or states."""

import re
from pathlib import Path

import numpy as np

from cryodrake.analysis.info.pickle import check_row_numbers
from cryodrake.analysis.info.report import Problem, Report
from cryodrake.errors import InputError
from cryodrake.io.mrc import MrcStack
from cryodrake.io.stacks import stack_places

WHOLE = re.compile(r"[+-]?[0-9]{1,18}")  # as --ind takes them; larger ones are no rows of anything


def examine_text(path: Path, datadir: Path | None) -> Report:
    """By its lines: all numbers, or names of stacks."""
    report = Report("text file")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return report.refuse(InputError(f"cannot be read: {error}", where=path))
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines())]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not lines:
        report.problems.append(Problem("is empty"))
    elif _is_numbers(lines[0][1]):
        _examine_numbers(report, lines)
    else:
        _examine_stacks(report, lines, path, datadir)
    return report


def _examine_numbers(report: Report, lines: list[tuple[int, str]]) -> None:
    numbers = np.array([number for number, _ in lines])
    width = len(lines[0][1].split())
    good = np.array([_is_numbers(line) and len(line.split()) == width for _, line in lines])
    report.kind = "table of numbers"
    report.facts.append(f"{len(lines):,} lines of {width}")
    if not good.all():
        report.problems.append(Problem(f"is not {width} numbers", numbers[~good], "line"))
        return
    values = np.array([[float(word) for word in line.split()] for _, line in lines])
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        report.problems.append(Problem("is not finite", numbers[~finite], "line"))
    elif width == 1 and all(WHOLE.fullmatch(line) for _, line in lines):
        report.kind = "chosen rows"
        check_row_numbers(report, np.array([int(line) for _, line in lines]))


def _examine_stacks(report: Report, lines: list[tuple[int, str]], path: Path, datadir: Path | None) -> None:
    report.kind = "list of stacks"
    images, found = 0, 0
    for number, name in lines:
        places = stack_places(name, path, datadir)
        place = next((place for place in places if place.is_file()), None)
        if place is None:
            says = f"the image stack {name} is not there; tried: {', '.join(map(str, places))}"
            report.add_rows(says, np.array([number]), "line")
            continue
        try:
            images += len(MrcStack(place))
            found += 1
        except InputError as error:
            report.add_rows(f"{name}: {error.what}", np.array([number]), "line")
    report.facts.append(f"{found:,} of {len(lines):,} stacks can be opened, {images:,} images")


def _is_numbers(line: str) -> bool:
    try:
        [float(word) for word in line.split()]
    except ValueError:
        return False
    return True
