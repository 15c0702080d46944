"""TOML files, read with a message that a user can act on."""

import sys
from pathlib import Path
from typing import Any

from cryodrake.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def load_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """The file's text and what it says.

    Raises:
        InputError: it is missing or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except FileNotFoundError:
        raise InputError("no such file", where=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=path) from None
    except tomllib.TOMLDecodeError as error:  # its message ends in "(at line 3, column 7)"
        raise InputError(f"not valid TOML: {error}", where=path, expected="lines such as: box = 64") from None
