"""`cryodrake slurm`: writes a batch script for a command and submits it.

`cryodrake slurm --partition gpu --gpus 1 --hours 12 abinit particles.star -o job`: what stands before the command's name is for
SLURM, the rest is the command, which is checked now and not when the queue has come to it.
"""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from cryodrake.app.slurm_template import DEFAULT, fill
from cryodrake.errors import InputError

PLAIN = re.compile(r"[\w.,:@+-]+")  # what SLURM calls partitions, accounts and jobs; nothing that a shell would read


@dataclass(frozen=True)
class SlurmConfig:
    """A command as a SLURM job: options for SLURM, then the command."""

    script: Path | None = None
    """Script to write. Default: the command's job folder with .slurm behind it, in the place of an earlier one."""
    write_only: bool = False
    """Write the script and do not submit it."""
    template: Path | None = None
    """Your own script, with {{command}} and, where you like, {{job_name}} {{log}} {{folder}} {{time}} {{cpus}} {{memory}} …"""
    partition: str | None = None
    """Partition (queue)."""
    account: str | None = None
    """Account that the time is charged to."""
    name: str | None = None
    """Name of the job. Default: cryodrake-COMMAND."""
    hours: float = 24.0
    """Time limit. Two minutes before it the job saves and stops, resumable."""
    cpus: int = 4
    """Processor cores."""
    gpus: int = 0
    """Graphics cards; cryodrake uses one."""
    memory_gib: float = 16.0
    """Main memory, in GiB."""
    command: tyro.conf.Suppress[tuple[str, ...]] = ()
    """The command and its arguments."""

    def __post_init__(self) -> None:
        for name, least in (("hours", 0.05), ("cpus", 1), ("gpus", 0), ("memory_gib", 0.5)):
            if not least <= getattr(self, name) < 1e6:
                option = f"--{name.replace('_', '-')}"
                raise InputError(f"{name} is {getattr(self, name)}", where=option, expected=f"{least} or more")
        for name in ("partition", "account", "name"):
            value = getattr(self, name)
            if value is not None and not PLAIN.fullmatch(value):
                raise InputError(f"{name} is {value!r}", where=f"--{name}", expected="letters, digits and . , : @ + - _")


def parse(arguments: Sequence[str]) -> SlurmConfig:
    """Options, then the command.

    Raises:
        InputError: there is no command, or the command's own arguments are wrong.
        SystemExit: help was asked for, or an option is wrong; tyro has said which.
    """
    from cryodrake.app.cli import COMMANDS, no_command
    from cryodrake.app.cli import parse as parse_command
    from cryodrake.app.command_line import parse_arguments

    runnable = [name for name, command in COMMANDS.items() if command.parser is None]
    values = {f"--{name}" for name in ("script", "template", "partition", "account", "name")}
    at = next((i for i, word in enumerate(arguments) if word in runnable and (i == 0 or arguments[i - 1] not in values)), None)
    stray = None if at is not None else _first_free(arguments)
    if stray is not None:
        raise no_command(stray, runnable, "cryodrake slurm")
    description = "A command as a SLURM job: options for SLURM first, then the command, such as abinit particles.star -o job."
    config = parse_arguments(SlurmConfig, list(arguments[:at]), "cryodrake slurm", description)
    if at is None:
        raise InputError("there is no command", where="cryodrake slurm", expected="such as: cryodrake slurm abinit a.star -o job")
    parse_command(arguments[at], list(arguments[at + 1 :]))
    return replace(config, command=tuple(arguments[at:]))


def _first_free(arguments: Sequence[str]) -> str | None:
    """The first word that is neither an option nor an option's value."""
    takes_value = False
    for word in arguments:
        if word.startswith("-"):
            takes_value = "=" not in word and word.replace("_", "-") not in ("--write-only", "--help", "-h")
        elif takes_value:
            takes_value = False
        else:
            return word
    return None


def main(config: SlurmConfig) -> None:
    """Writes the script and, unless told not to, submits it.

    Raises:
        InputError: the template cannot be used, --script is there already, there is no sbatch, or it refuses the script.
    """
    from cryodrake.app.folders import refuse_taken
    from cryodrake.io.atomic import write_text_atomic

    if config.script is not None:
        refuse_taken(config.script)
    script = config.script or _default_script(config)
    write_text_atomic(script, fill(_template(config), _values(config, script)))
    if config.write_only:
        print(f"  {script}  to submit it: sbatch {shlex.quote(str(script))}")
        return
    sbatch = shutil.which("sbatch")
    if sbatch is None:
        raise InputError("there is no sbatch on this computer", where=script, do="submit the script where SLURM is")
    done = subprocess.run([sbatch, str(script)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(
            f"sbatch refuses it: {(done.stderr or done.stdout).strip()}", where=script, do="change the options for SLURM"
        )
    print(f"  {script}  {done.stdout.strip()}")


def _default_script(config: SlurmConfig) -> Path:
    from cryodrake.app.cli import parse as parse_command

    words = config.command
    out = getattr(parse_command(words[0], words[1:]), "out", None) or Path(f"cryodrake-{words[0]}")
    return out.with_name(f"{out.name}.slurm")


def _template(config: SlurmConfig) -> str:
    if config.template is None:
        return DEFAULT
    try:
        return config.template.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=config.template) from None


def _values(config: SlurmConfig, script: Path) -> dict[str, str | None]:
    minutes = max(3, round(60 * config.hours))
    return {
        "command": shlex.join([sys.executable, "-m", "cryodrake", *config.command]),
        "job_name": config.name or f"cryodrake-{config.command[0]}",
        "log": shlex.quote(str(script.absolute().with_suffix(".log"))),  # sbatch reads quotes as a shell does
        "folder": shlex.quote(str(Path.cwd())),
        "time": f"{minutes // 60:d}:{minutes % 60:02d}:00",
        "cpus": str(config.cpus),
        "memory": f"{round(1024 * config.memory_gib)}M",
        "partition": config.partition,
        "account": config.account,
        "gpus": str(config.gpus) if config.gpus else None,
    }
