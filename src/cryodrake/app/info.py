"""`cryodrake info`: what a file is, and whether it is healthy; exit code 2 where it is not."""

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class InfoConfig:
    """What to examine."""

    file: tyro.conf.Positional[Path]
    """A .star, .cs, .mrc, .mrcs, .pdb, .cif, .pkl or .txt file, a job folder, or a folder of jobs."""
    datadir: Path | None = None
    """Folder that the stacks' paths are relative to."""
    all_rows: bool = False
    """Spell out every row of a problem, however many."""


def main(config: InfoConfig) -> None:
    """Prints all there is to say.

    Raises:
        InputError: the file has problems, or there is no such file.
    """
    from cryodrake.analysis.info.examine import examine
    from cryodrake.analysis.info.report import MOST_RANGES
    from cryodrake.errors import InputError

    report = examine(config.file, config.datadir)
    print("\n".join(report.lines(None if config.all_rows else MOST_RANGES)))
    if report.problems:
        count = len(report.problems)
        raise InputError(f"{count} problem{'s' if count > 1 else ''}", where=config.file)
