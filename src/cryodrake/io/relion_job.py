"""A RELION job folder as RELION reads it: how an External job ended, what it made, and the wish that it end.

    RELION_JOB_EXIT_SUCCESS, _FAILURE, _ABORTED    how the job ended; RELION waits for one of them
    RELION_JOB_ABORT_NOW                           somebody wishes that it stop; removed once it has
    RELION_OUTPUT_NODES.star                       what other jobs can take in

RELION 3.1 knows nodes by number, 4 and 5 by label (its pipeline_jobs.h); each passes over the other's column.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from cryodrake.io.atomic import write_bytes_atomic
from cryodrake.io.star import cells, write_star

Ending = Literal["SUCCESS", "FAILURE", "ABORTED"]
ENDINGS: tuple[Ending, ...] = ("SUCCESS", "FAILURE", "ABORTED")
ABORT_FILE = "RELION_JOB_ABORT_NOW"
SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class NodeKind:
    """What a file is to RELION: its number in 3.1, its label in 4 and 5."""

    number: int
    label: str


PARTICLES = NodeKind(3, "ParticleGroupMetadata.star.relion")
MAP = NodeKind(6, "DensityMap.mrc")
HALF_MAP = NodeKind(10, "DensityMap.mrc.halfmap")


def clear_marks(folder: Path) -> None:
    """Removes what an earlier run of this job left, so that it is not taken for ours."""
    for name in (ABORT_FILE, *map(_mark, ENDINGS)):
        (folder / name).unlink(missing_ok=True)


def mark_end(folder: Path, ending: Ending) -> None:
    """Tells RELION how the job ended. Raises InputError as `open_atomic`."""
    (folder / ABORT_FILE).unlink(missing_ok=True)
    write_bytes_atomic(folder / _mark(ending), b"")


def write_nodes(folder: Path, nodes: Sequence[tuple[str, NodeKind]]) -> None:
    """Tells RELION what there is: files, as paths from the project's folder, and what each is. Raises as `open_atomic`."""
    table = pd.DataFrame(
        {
            "rlnPipeLineNodeName": cells(name for name, _ in nodes),
            "rlnPipeLineNodeType": cells(kind.number for _, kind in nodes),
            "rlnPipeLineNodeTypeLabel": cells(kind.label for _, kind in nodes),
        }
    )
    write_star(folder / "RELION_OUTPUT_NODES.star", {"output_nodes": table})


@contextmanager
def watching_for_abort(folder: Path, stop: Callable[[], None]) -> Iterator[None]:
    """Within, calls `stop` once, from a thread of its own, when somebody wishes that the job stop."""
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(SECONDS_BETWEEN_LOOKS):
            if (folder / ABORT_FILE).exists():
                stop()
                return

    watcher = threading.Thread(target=look, name="abort", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def _mark(ending: Ending) -> str:
    return f"RELION_JOB_EXIT_{ending}"
