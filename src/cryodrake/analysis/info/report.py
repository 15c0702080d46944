"""What is found out about a file: facts, notes, and problems with the rows they are in."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from cryodrake.errors import InputError

MOST_RANGES = 20  # of rows that are spelled out for people


@dataclass(frozen=True, eq=False)
class Problem:
    """What is wrong, where (0-based; none means the file as a whole) and what the rows are called."""

    what: str
    rows: Int[np.ndarray, " m"] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    unit: str = "particle"

    def words(self, most_ranges: int | None = MOST_RANGES) -> str:
        """One line; rows counted from 1, as in all our messages."""
        if not len(self.rows):
            return self.what
        return f"{self.what}: {self.unit} {row_words(self.rows, most_ranges)}"


@dataclass(eq=False)
class Report:
    """All about one file, for people.

    Attributes:
        kind: what it is.
        facts: one sentence each.
        notes: what is unusual but not wrong.
        problems: what is wrong.
        healthy: what to say where nothing is.
    """

    kind: str
    facts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    healthy: str = "no problems found"

    def refuse(self, error: InputError) -> "Report":
        """The same, with the problem that ended the examination."""
        self.add_error(error)
        self.notes.append("the rest was not examined")
        return self

    def add_error(self, error: InputError) -> None:
        """A problem of the file as a whole."""
        self.problems.append(Problem(str(error).replace("\n  ", "; ")))

    def add(self, what: str, is_wrong: np.ndarray, unit: str = "particle") -> None:
        """A problem of the rows where the mask (n,) is true, if there are any."""
        self.add_rows(what, np.flatnonzero(is_wrong), unit)

    def add_rows(self, what: str, rows: Int[np.ndarray, " m"], unit: str = "particle") -> None:
        """A problem of these rows (0-based, sorted), if there are any."""
        if len(rows):
            self.problems.append(Problem(what, rows, unit))

    def lines(self, most_ranges: int | None = MOST_RANGES) -> list[str]:
        """The whole report."""
        lines = [self.kind, *(f"  {fact}" for fact in self.facts), *(f"  note: {note}" for note in self.notes)]
        lines += [f"  PROBLEM: {problem.words(most_ranges)}" for problem in self.problems]
        return lines if self.problems else [*lines, f"  {self.healthy}"]


def row_words(rows: Int[np.ndarray, " m"], most_ranges: int | None = MOST_RANGES) -> str:
    """Sorted 0-based rows as 1-based ranges: 1-3, 7, 12-90; after `most_ranges`, how many more."""
    starts = np.flatnonzero(np.diff(rows, prepend=-2) > 1)
    ends = np.append(starts[1:], len(rows))
    pairs = [(int(rows[a]) + 1, int(rows[b - 1]) + 1) for a, b in zip(starts, ends, strict=True)]
    shown = pairs if most_ranges is None else pairs[:most_ranges]
    words = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in shown)
    left = len(rows) - sum(b - a + 1 for a, b in shown)
    return words + (f" and {left:,} more" if left else "")
