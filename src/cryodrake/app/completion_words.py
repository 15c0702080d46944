"""What there is to complete: every command's options and what they take, read off the config classes."""

import dataclasses
import importlib
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from cryodrake.app.command_line import POSITIONAL
from cryodrake.app.options import meanings

SUPPRESSED = typing.get_args(tyro.conf.Suppress[int])[1]


@dataclass(frozen=True)
class Option:
    """Attributes:
    flags: such as -o and --out.
    words: what it means.
    choices: values that it takes, where they are few.
    is_file: whether it takes files or folders.
    is_switch: whether it takes no value.
    """

    flags: tuple[str, ...]
    words: str
    choices: tuple[str, ...] = ()
    is_file: bool = False
    is_switch: bool = False


@dataclass(frozen=True)
class CommandWords:
    """Attributes:
    choices: what is given without an option's name, where it is one of few.
    carries: whether another command follows.
    """

    name: str
    words: str
    options: tuple[Option, ...]
    choices: tuple[str, ...] = ()
    carries: bool = False


COMMON = (Option(("-h", "--help"), "show the options", is_switch=True),)
CONFIG = Option(("--config",), "take the options from this job.toml", is_file=True)
RELION = tuple(Option((flag,), words, is_file=is_file) for flag, words, is_file in (
    ("--o", "RELION's job folder", True), ("--in_parts", "input particles", True), ("--j", "processor cores", False),
))  # fmt: skip


def all_commands() -> list[CommandWords]:
    """Every command of `cryodrake`, in the order of its help."""
    from cryodrake.app.cli import COMMANDS
    from cryodrake.app.relion_external import COMMANDS as CARRIED

    found = []
    for name, command in COMMANDS.items():
        module, config = command.config.split(":")
        if name == "relion-external":
            found.append(CommandWords(name, command.words, (*COMMON, *RELION), CARRIED))
            continue
        options, choices = _of_class(getattr(importlib.import_module(module), config))
        if command.parser is None:
            options = (CONFIG, *options)
        carries = name == "slurm"
        plain = tuple(other for other, c in COMMANDS.items() if c.parser is None) if carries else choices
        found.append(CommandWords(name, command.words, (*COMMON, *options), plain, carries))
    return found


def _of_class(config_class: type) -> tuple[tuple[Option, ...], tuple[str, ...]]:
    hints, words = typing.get_type_hints(config_class, include_extras=True), meanings(config_class)
    options: list[Option] = []
    positional: tuple[str, ...] = ()
    for field in dataclasses.fields(config_class):
        kind, extras = _stripped(hints[field.name])
        if SUPPRESSED in extras:
            continue
        if POSITIONAL in extras:
            positional = positional or _choices(kind)
            continue
        aliases = [alias for extra in extras for alias in getattr(extra, "aliases", None) or ()]
        option = field.name.replace("_", "-")
        is_switch = kind is bool
        flag = f"--no-{option}" if is_switch and field.default is True else f"--{option}"
        options.append(Option((*aliases, flag), words.get(field.name, ""), _choices(kind), _takes_files(kind), is_switch))
    return tuple(options), positional


def _stripped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without None and annotations, and the annotations."""
    extras: tuple[Any, ...] = ()
    if hasattr(hint, "__metadata__"):
        extras, hint = hint.__metadata__, hint.__origin__
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        return (kinds[0] if len(kinds) == 1 else hint), extras
    return hint, extras


def _choices(kind: Any) -> tuple[str, ...]:
    return tuple(map(str, typing.get_args(kind))) if typing.get_origin(kind) is Literal else ()


def _takes_files(kind: Any) -> bool:
    return kind is Path or Path in typing.get_args(kind)
