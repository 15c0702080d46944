"""A config dataclass as a command line that reads well: tyro does the parsing, this says how a field is shown.

What is given without an option's name is called by the field's name (PARTICLES, JOB) and not by its type; an option that is off by
default says nothing of "None".
"""

import dataclasses
import functools
import typing
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import tyro

from cryodrake.app.options import meanings

Config = TypeVar("Config")

UNSET = ("None", "", "False")
POSITIONAL = typing.get_args(tyro.conf.Positional[int])[1]


def parse_arguments(
    config_class: type[Config], arguments: Sequence[str], prog: str, description: str, default: Config | None = None
) -> Config:
    """The config of these arguments, over `default` where they are silent.

    Raises:
        InputError: of the config's own checks.
        SystemExit: help was asked for, or the arguments are wrong; tyro has said which.
    """
    shown: Any = _as_shown(config_class)  # type: ignore[arg-type]  # a class can be hashed
    config = tyro.cli(
        shown, args=arguments, prog=prog, description=description,
        default=None if default is None else shown(**_values(default)),
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
    )  # fmt: skip
    return config_class(**_values(config))


def _values(config: Any) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


@functools.cache
def _as_shown(config_class: type) -> type:
    """The same fields without the class's checks, which are made once, on the class itself."""
    hints, words = typing.get_type_hints(config_class, include_extras=True), meanings(config_class)
    fields = []
    for field in dataclasses.fields(config_class):
        metavar = field.name.upper() if POSITIONAL in typing.get_args(hints[field.name])[1:] else None
        how = tyro.conf.arg(help=words.get(field.name), metavar=metavar, help_behavior_hint=_default_in_words)
        # First, so that what the field itself says of its metavar goes over ours.
        fields.append((field.name, _with_first(hints[field.name], how), dataclasses.field(default=field.default)))
    return dataclasses.make_dataclass(config_class.__name__, fields, frozen=True)


def _with_first(hint: Any, how: object) -> Any:
    if typing.get_origin(hint) is Annotated:
        kind, *rest = typing.get_args(hint)
        return Annotated[tuple([kind, how, *rest])]
    return Annotated[hint, how]


def _default_in_words(default: str) -> str:
    return "" if default in UNSET else f"(default: {default})"
