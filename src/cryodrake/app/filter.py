"""`cryodrake filter`: the particles of a job that fulfil a condition, as a particle file or a list of rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class FilterConfig:
    """Which particles, and as what."""

    job: tyro.conf.Positional[Path]
    """Folder of a finished job."""
    condition: tyro.conf.Positional[str]
    """In quotes, on columns of the job, such as "confidence > 0.5 and latent_1 < 0"; an unknown one makes it list all there are.
    Classes and clusters count from 1: "class_number == 1" chooses the particles of classes/class_01."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))]
    """File to make: .star, .cs (of a job that began with one), .txt or .pkl (row numbers for --ind)."""


def main(config: FilterConfig) -> None:
    """Writes the file, and says how many particles are in it.

    Raises:
        InputError: there is no such job, the condition cannot be used or no particle fulfils it, or as `save_selection`.
    """
    import numpy as np

    from cryodrake.analysis.expression import ranges_in, rows_where
    from cryodrake.analysis.job_columns import job_columns
    from cryodrake.analysis.selection import save_selection
    from cryodrake.errors import InputError

    columns = job_columns(config.job)
    chosen = rows_where(config.condition, columns)
    if not chosen.any():
        expected = f"at least one that does; here is {ranges_in(config.condition, columns)}"
        raise InputError("no particle fulfils the condition", where=config.condition, expected=expected)
    note = save_selection(config.job, np.flatnonzero(chosen), config.out)
    print(f"{config.out}\n{chosen.sum():,} of {len(chosen):,} particles ({chosen.mean():.1%})" + (f"\n{note}" if note else ""))
