"""`cryodrake relion-external`: a run as an External job of RELION's pipeline.

RELION calls `EXECUTABLE --o External/job012/ --in_parts FILE.star --LABEL VALUE … --j THREADS`, from the project's folder. The
executable is `cryodrake relion-external`, or `cryodrake relion-external train`; labels are the options of that command. The job
goes into the folder cryodrake/ of RELION's, which holds files of RELION's own, and goes on where it was when RELION continues it.
"""

import argparse
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryodrake.errors import InputError
from cryodrake.io.relion_job import (
    HALF_MAP,
    MAP,
    PARTICLES,
    Ending,
    NodeKind,
    clear_marks,
    mark_end,
    watching_for_abort,
    write_nodes,
)

COMMANDS = ("abinit", "train", "backproject")
NOT_TAKEN = ("in_movies", "in_mics", "in_coords", "in_3dref", "in_mask")
FOLDER = "cryodrake"
NODES: tuple[tuple[str, NodeKind], ...] = (
    ("particles.star", PARTICLES),
    ("maps/consensus.mrc", MAP),
    ("maps/half1_unfil.mrc", HALF_MAP),  # RELION finds the other half by its name
)
ENDING_OF: dict[int, Ending] = {0: "SUCCESS", 130: "ABORTED"}


@dataclass(frozen=True)
class RelionExternalConfig:
    """What RELION passes to an External job.

    Attributes:
        command: abinit, train or backproject.
        folder: RELION's job folder, as RELION writes it: relative to the project's folder, or absolute.
        particles: the input particles.
        threads: processor cores to use; None: as many as the computer has.
        options: what goes on to the command.
    """

    command: str
    folder: Path
    particles: Path
    threads: int | None
    options: tuple[str, ...]


def parse(arguments: Sequence[str]) -> RelionExternalConfig:
    """RELION's arguments. Where they cannot be used its folder is marked too, as RELION waits for that.

    Raises:
        InputError: an input that no command takes.
        SystemExit: help was asked for, or an argument is missing; argparse has said which.
    """
    try:
        return _parsed(arguments)
    except (InputError, SystemExit) as end:
        folder = _folder(arguments)
        if folder is not None and getattr(end, "code", None) != 0:
            with suppress(OSError, InputError):  # what is wrong with the arguments is to be heard
                folder.mkdir(parents=True, exist_ok=True)
                clear_marks(folder)
                mark_end(folder, "FAILURE")
        raise


def _folder(arguments: Sequence[str]) -> Path | None:
    """RELION's folder, whatever else is wrong with the arguments."""
    found: dict[str, str] = {}
    for word, following in zip(arguments, [*arguments[1:], "--"], strict=True):
        option, is_joined, value = word.partition("=")
        if option in ("--o", "--pipeline_control") and (is_joined or not following.startswith("--")):
            found[option] = value if is_joined else following
    folder = found.get("--pipeline_control") or found.get("--o")
    return Path(folder) if folder else None


def _parsed(arguments: Sequence[str]) -> RelionExternalConfig:
    command, *rest = arguments if arguments and arguments[0] in COMMANDS else ("abinit", *arguments)
    parser = argparse.ArgumentParser(
        prog="cryodrake relion-external",
        usage=f"cryodrake relion-external [{'|'.join(COMMANDS)}] --o FOLDER --in_parts FILE.star [--j N] [the command's options]",
        description="A run as an External job of RELION's pipeline. In RELION, set the external executable to `cryodrake "
        "relion-external` (or add train or backproject), give input particles, and options as parameters: label zdim, value 4.",
        epilog="The job is in FOLDER/cryodrake. Options: `cryodrake abinit --help`.",
        allow_abbrev=False,
    )
    parser.add_argument("--o", required=True, type=Path, metavar="FOLDER", help="RELION's job folder")
    parser.add_argument("--in_parts", required=True, type=Path, metavar="FILE.star", help="input particles")
    parser.add_argument("--j", type=int, metavar="N", help="processor cores to use")
    parser.add_argument(
        "--pipeline_control", type=Path, metavar="FOLDER", help="RELION's own: where the exit files go, if not to --o"
    )
    for name in NOT_TAKEN:
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    known, options = parser.parse_known_args(rest)
    for name in NOT_TAKEN:
        if getattr(known, name) is not None:
            raise InputError("is an input that cryodrake does not take", where=f"--{name}", do="give input particles only")
    if known.j is not None and known.j < 1:
        raise InputError(f"is {known.j}", where="--j", expected="1 or more threads")
    return RelionExternalConfig(command, known.pipeline_control or known.o, known.in_parts, known.j, tuple(options))


def main(config: RelionExternalConfig) -> None:
    """Runs the command and leaves the files that RELION waits for.

    Raises:
        SystemExit: with the command's exit code, where that is not 0.
    """
    from cryodrake.app.cli import main as run

    try:
        config.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made: {error.strerror}", where=config.folder) from None
    clear_marks(config.folder)
    code = 1
    try:
        if config.threads is not None:
            import torch

            torch.set_num_threads(config.threads)
        with watching_for_abort(config.folder, lambda: os.kill(os.getpid(), signal.SIGTERM)):
            ended = 0 if _is_finished(config.folder / FOLDER) else run(_arguments(config))
        if ended == 0:  # a success only when RELION can find what there is
            write_nodes(config.folder, _nodes(config.folder))
        code = ended
    except KeyboardInterrupt:  # before or after the run proper
        code = 130
    finally:
        mark_end(config.folder, ENDING_OF.get(code, "FAILURE"))
    if code:
        raise SystemExit(code)


def _is_finished(job: Path) -> bool:
    """RELION may continue a job that has nothing left to do."""
    from cryodrake.io.job import JobFolder  # torch, which --help need not wait for

    return (job / "status.json").exists() and JobFolder(job).status["state"] == "finished"


def _arguments(config: RelionExternalConfig) -> list[str]:
    """Of the command: a new job, or the one that is there, which RELION then continues."""
    job = config.folder / FOLDER
    if any((job / "checkpoints").glob("[0-9]*")):
        return [config.command, "-o", str(job), "--resume", *config.options]
    return [config.command, str(config.particles), "-o", str(job), *config.options]


def _nodes(folder: Path) -> list[tuple[str, NodeKind]]:
    job = folder / FOLDER
    states = [(str(path.relative_to(job)), MAP) for path in sorted((job / "maps" / "states").glob("state_[0-9][0-9].mrc"))]
    return [((job / name).as_posix(), kind) for name, kind in (*NODES, *states) if (job / name).exists()]
