"""job.toml: the options of a command as a file that people read, edit and run again.

A line is `option = value`; an option that is not set stands as a comment, and every line carries its meaning. Paths are
written absolute, so that the file runs from anywhere. `ACTIONS` are not saved; `STEERING` may differ when a job is
resumed.
"""

import dataclasses
import difflib
import json
import re
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar

import docstring_parser

from cryodrake import __version__
from cryodrake.errors import InputError
from cryodrake.io.toml import load_toml

Config = TypeVar("Config")

ACTIONS = {"resume"}
STEERING = {"device", "memory_gib", "max_minutes"}


def write_options(config: Any, command: str) -> str:
    """The text of job.toml for a config dataclass."""
    meaning = meanings(type(config))
    lines = [
        f"# cryodrake {__version__}; to run it again: cryodrake {command} --config job.toml -o ANOTHER_FOLDER",
        f'command = "{command}"',
        "",
        "[options]",
    ]
    for field in dataclasses.fields(config):
        if field.name in ACTIONS:
            continue
        value = getattr(config, field.name)
        line = f"# {field.name} =" if value is None else f"{field.name} = {_toml(value)}"
        lines.append(f"{line}  # {meaning.get(field.name, '')}".rstrip(" #"))
    return "\n".join(lines) + "\n"


def meanings(config_class: type) -> dict[str, str]:
    """What stands under each field of a config dataclass, in one line."""
    found: dict[str, str] = {}
    for owner in config_class.__mro__[-2::-1]:  # the docs of inherited fields stand in the base's source
        found |= {p.arg_name: " ".join((p.description or "").split()) for p in docstring_parser.parse_from_object(owner).params}
    return found


def read_options(path: Path, config_class: type[Config], command: str) -> Config:
    """The config that job.toml describes.

    Raises:
        InputError: the file is missing, is not TOML, is for another command, or holds an unknown option or a value
            of the wrong kind (named with file and line).
    """
    text, table = load_toml(path)
    if table.get("command", command) != command:
        raise InputError(
            f"this file is for `cryodrake {table['command']}`", where=path, expected=f"a file for `cryodrake {command}`"
        )
    for stray in set(table) - {"command", "options"}:
        raise InputError(f"unknown option {stray!r}", where=f"{path}, line {_line_of(text, stray)}", expected="[options] above it")
    fields = [f.name for f in dataclasses.fields(config_class) if f.name not in ACTIONS]  # type: ignore[arg-type]
    for name in (name for name in table.get("options", {}) if name not in fields):
        near = difflib.get_close_matches(name, fields, n=3, cutoff=0.5)
        where = f"{path}, line {_line_of(text, name)}"
        do = f"did you mean {' or '.join(near)}?" if near else None
        raise InputError(f"unknown option {name!r}", where=where, expected=f"one of {', '.join(sorted(fields))}", do=do)
    return read_shared_options(path, config_class)


def read_shared_options(path: Path, config_class: type[Config]) -> Config:
    """Those options of job.toml that `config_class` has, whatever command the file is for: how a job read its images.

    Raises:
        InputError: as `read_options`, but other options are passed over.
    """
    text, table = load_toml(path)
    fields = {f.name: f for f in dataclasses.fields(config_class) if f.name not in ACTIONS}  # type: ignore[arg-type]
    hints = typing.get_type_hints(config_class)
    options, values = table.get("options", {}), {}
    for name in (name for name in options if name in fields):
        try:
            values[name] = _convert(options[name], hints[name])
        except ValueError:
            where = f"{path}, line {_line_of(text, name)}"
            raise InputError(f"{name} is {options[name]!r}", where=where, expected=_words(hints[name])) from None
    missing = [f.name for f in fields.values() if _is_required(f) and f.name not in options]
    if missing:
        raise InputError(f"no value for {', '.join(missing)}", where=path, do='add a line such as: particles = "a.star"')
    return config_class(**values)


def changed_options(saved: Config, wanted: Config) -> list[str]:
    """Names of the options whose change would make a resumed job another job."""
    names = [f.name for f in dataclasses.fields(saved) if f.name not in ACTIONS | STEERING]  # type: ignore[arg-type]
    pairs = {name: (getattr(saved, name), getattr(wanted, name)) for name in names}
    return [name for name, (a, b) in pairs.items() if _comparable(a) != _comparable(b)]


def _comparable(value: Any) -> Any:
    return value.absolute() if isinstance(value, Path) else value


def _line_of(text: str, name: str) -> int:
    for number, line in enumerate(text.splitlines(), start=1):
        if re.match(rf"\s*\[?\s*[\"']?{re.escape(name)}[\"']?\s*[=\].]", line):
            return number
    return 1


def _toml(value: Any) -> str:
    if isinstance(value, Path):
        value = str(value.absolute())
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    raise TypeError(f"no TOML for {value!r}")


def _alternatives(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _convert(value: Any, hint: Any) -> Any:
    """A TOML value as a field of this type (an integer may be a float, a string a path); ValueError where it is not."""
    for kind in _alternatives(hint):
        origin, args = typing.get_origin(kind), typing.get_args(kind)
        if origin is Literal and any(value == a and type(value) is type(a) for a in args):
            return value
        if origin is tuple and isinstance(value, list):
            inner = args[:1] * len(value) if args[1:] == (...,) else args
            return tuple(_convert(v, h) for v, h in zip(value, inner, strict=True))
        if kind is float and type(value) in (int, float):
            return float(value)
        if kind is Path and isinstance(value, str):
            return Path(value)
        if type(value) is kind:
            return value
    raise ValueError(f"{value!r} is not {_words(hint)}")


def _words(hint: Any) -> str:
    names = {Path: "a path", float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
    kinds = [k for k in _alternatives(hint) if k is not type(None)]
    return " or ".join(
        f"one of {', '.join(map(str, typing.get_args(k)))}" if typing.get_origin(k) is Literal else names.get(k, str(k))
        for k in kinds
    )


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
