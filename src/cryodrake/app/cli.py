"""The command `cryodrake`: finds the command's config and its program, and turns what happens into an exit code.

0 done · 1 a fault of ours · 2 the user's input · 130 stopped by the user, resumable. Libraries that take seconds to
load are imported only by the command that is run, so that `--help` is quick.
"""

import argparse
import difflib
import errno
import importlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from cryodrake import __version__
from cryodrake.errors import InputError, JobStopped

DONE, OUR_FAULT, BAD_INPUT, STOPPED = 0, 1, 2, 130


@dataclass(frozen=True)
class Command:
    """Where a command's config class and its program `main(config)` are, both as module:name.

    Attributes:
        words: what it makes.
        parser: for a command that carries another one's arguments: its own `parse(arguments) -> config`.
    """

    config: str
    main: str
    words: str
    parser: str | None = None


COMMANDS = {
    "abinit": Command("cryodrake.training.config:AbinitConfig", "cryodrake.app.abinit:main", "poses and a map from images alone"),
    "train": Command("cryodrake.training.config:TrainConfig", "cryodrake.app.train:main", "states of particles with known poses"),
    "backproject": Command(
        "cryodrake.training.config:BackprojectConfig", "cryodrake.app.backproject:main", "a map from known poses"
    ),
    "export": Command(
        "cryodrake.analysis.export_config:ExportConfig", "cryodrake.app.export:main", "a job's particles as .star, .cs or .pkl"
    ),
    "analyze": Command("cryodrake.training.config:AnalyzeConfig", "cryodrake.app.analyze:main", "the states of a job"),
    "volumes": Command(
        "cryodrake.app.volumes_config:VolumesConfig", "cryodrake.app.volumes:main", "maps at chosen states of a job with states"
    ),
    "trajectory": Command(
        "cryodrake.app.trajectory_config:TrajectoryConfig", "cryodrake.app.trajectory:main", "maps along a way through the states"
    ),
    "movie": Command("cryodrake.app.movie:MovieConfig", "cryodrake.app.movie:main", "a film of maps or of a run, without ChimeraX"),
    "fsc": Command("cryodrake.app.fsc:FscConfig", "cryodrake.app.fsc:main", "how far two maps agree"),
    "mask": Command("cryodrake.app.mask:MaskConfig", "cryodrake.app.mask:main", "a soft mask around a map, and its mass"),
    "emdb": Command("cryodrake.app.emdb:EmdbConfig", "cryodrake.app.emdb:main", "the files that a deposition of a job needs"),
    "filter": Command("cryodrake.app.filter:FilterConfig", "cryodrake.app.filter:main", "a job's particles by a condition"),
    "info": Command("cryodrake.app.info:InfoConfig", "cryodrake.app.info:main", "what a file is, and everything wrong with it"),
    "downsample": Command("cryodrake.app.downsample:DownsampleConfig", "cryodrake.app.downsample:main", "images of a smaller box"),
    "view": Command("cryodrake.app.view:ViewConfig", "cryodrake.app.view:main", "a web page on a job, local and private"),
    "report": Command("cryodrake.app.report:ReportConfig", "cryodrake.app.report:main", "a job as one HTML file to mail"),
    "relion-external": Command(
        "cryodrake.app.relion_external:RelionExternalConfig",
        "cryodrake.app.relion_external:main",
        "a run as an External job of RELION's pipeline",
        "cryodrake.app.relion_external:parse",
    ),
    "slurm": Command(
        "cryodrake.app.slurm:SlurmConfig", "cryodrake.app.slurm:main", "a command as a SLURM job", "cryodrake.app.slurm:parse"
    ),
    "completion": Command(
        "cryodrake.app.completion:CompletionConfig",
        "cryodrake.app.completion:main",
        "Tab in your shell completes commands and options",
    ),
    "simulate": Command(
        "cryodrake.data.simulation_config:SimulateConfig", "cryodrake.app.simulate:main", "particle images with a known truth"
    ),
    "evaluate": Command("cryodrake.analysis.evaluate:EvaluateConfig", "cryodrake.app.evaluate:main", "a job against that truth"),
    "demo": Command("cryodrake.app.demo:DemoConfig", "cryodrake.app.demo:main", "simulate, reconstruct, evaluate"),
}

GROUPS = {  # for the help
    "reconstruct": ("abinit", "train", "backproject"),
    "look": ("view", "report", "analyze", "volumes", "trajectory", "movie"),
    "choose, and go on elsewhere": ("filter", "export", "emdb"),
    "files": ("info", "downsample", "mask", "fsc"),
    "run it where you like": ("slurm", "relion-external", "completion"),
    "try it out": ("demo", "simulate", "evaluate"),
}


def entry() -> NoReturn:
    """The console script."""
    # Before torch is loaded: waiting threads spin for microseconds, not milliseconds. On a core that is shared with other work
    # long spinning costs 5 to 20 ×; sleeping at once costs a quarter where the machine is ours.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # KeyboardInterrupt, until a job listens itself
    warnings.showwarning = _forget  # until a job's log takes them
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Runs one command and returns the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return DONE
    if arguments[0] in ("-V", "--version"):
        print(f"cryodrake {__version__}")
        return DONE
    is_export = tuple(arguments[:2]) == ("export", "emdb")  # a deposition is an export too
    name, *rest = arguments[1:] if is_export else arguments
    if name not in COMMANDS:
        _say(f"error: {no_command(name, list(COMMANDS))}")
        return BAD_INPUT
    job = None
    try:
        config = parse(name, rest, "export emdb" if is_export else name)
        job = getattr(config, "out", None)
        _load(COMMANDS[name].main)(config)
        return DONE
    except InputError as error:
        _say(f"error: {error}")
        return BAD_INPUT
    except (KeyboardInterrupt, JobStopped) as stop:
        _say(_how_to_resume(name, job, str(stop)))
        return STOPPED
    except SystemExit as leave:  # tyro's: help was shown, or the command line is wrong
        return leave.code if isinstance(leave.code, int) else BAD_INPUT
    except BrokenPipeError:  # who reads us, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as fault:
        if isinstance(fault, OSError) and fault.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            _say(f"error: {fault.filename or job}: the disk is full\n  do: free some space; --resume goes on with a job")
            return BAD_INPUT
        if type(fault).__name__ == "OutOfMemoryError":  # torch's, of a card; nothing here loads torch
            do = "close what else uses it, crop with a smaller --box, or go on with --device cpu; --resume goes on with a job"
            _say(f"error: {InputError('the graphics card has no memory left', do=do)}")
            return BAD_INPUT
        _say(_our_fault(fault, job))
        return OUR_FAULT


def no_command(name: str, commands: Sequence[str], where: str | None = None) -> InputError:
    """What to say of a word that is none of these commands."""
    near = difflib.get_close_matches(name, commands, n=1)
    do = f"did you mean {near[0]}?" if near else "`cryodrake --help` says what each does"
    return InputError(f"no command {name!r}", where=where, expected=f"one of {', '.join(commands)}", do=do)


def parse(name: str, arguments: Sequence[str], called: str | None = None) -> Any:
    """The command's config from its arguments, over those of `--config FILE` or of the job that is resumed.

    Args:
        called: as what the user called it, where that is not its name.

    Raises:
        InputError: the file cannot be used, or the arguments would change a job that is resumed.
        SystemExit: help was asked for, or the arguments are wrong; tyro has said which.
    """
    from cryodrake.app.command_line import parse_arguments
    from cryodrake.app.options import changed_options, read_options

    own_parser = COMMANDS[name].parser
    if own_parser is not None:
        return _load(own_parser)(arguments)
    config_class = _load(COMMANDS[name].config)
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", type=Path)
    file, rest = early.parse_known_args(arguments)
    early.add_argument("--resume", action="store_true")
    early.add_argument("-o", "--out", type=Path)
    known, _ = early.parse_known_args(rest)
    saved = known.out / "job.toml" if known.resume and known.out and (known.out / "job.toml").exists() else None
    if saved and file.config:
        raise InputError("--config does not go with --resume", where=file.config, expected="the job's own options")
    path = saved or file.config
    default = read_options(path, config_class, name) if path else None
    words = COMMANDS[name].words
    description = f"{words[:1].upper()}{words[1:]}. --config FILE takes the options from a job.toml."
    config = parse_arguments(config_class, rest, f"cryodrake {called or name}", description, default)
    if saved and default is not None and (changed := changed_options(default, config)):
        raise InputError(f"{', '.join(changed)} cannot change when a job is resumed", where=saved, do="leave it out, or start anew")
    return config


def _load(reference: str) -> Any:
    module, name = reference.split(":")
    return getattr(importlib.import_module(module), name)


def _overview() -> str:
    lines = ["cryodrake: from cryo-EM particle images to a map, from nothing", "", "  cryodrake abinit particles.star -o job", ""]
    for title, names in GROUPS.items():
        lines += [title, *(f"  cryodrake {name:<16} {COMMANDS[name].words}" for name in names), ""]
    return "\n".join([*lines, "`cryodrake COMMAND --help` lists a command's options."])


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _forget(*_: object, **__: object) -> None:
    """Warnings of libraries are not for users' terminals."""


def _how_to_resume(name: str, job: Path | None, reason: str) -> str:
    if job is not None and (job / "job.toml").exists():
        return f"{reason or 'stopped'}; to go on: cryodrake {name} -o {job} --resume"
    return "stopped"


def _our_fault(fault: Exception, job: Path | None) -> str:
    """The short text; the traceback goes to the job's log, or to the screen where there is no job to hold it."""
    short = f"cryodrake failed, which is our fault and not yours: {type(fault).__name__}: {fault}"
    trace = "".join(traceback.format_exception(fault))
    log = None if job is None else job / "log.txt"
    try:
        if log is not None and log.exists():
            with log.open("a", encoding="utf-8") as file:
                file.write(trace)
            return f"{short}\n  the details are in {log}; please report them"
    except OSError:
        pass
    return f"{trace}{short}"
