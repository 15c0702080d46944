"""Fields on disk: one safetensors file, its tensors the field's `state_dict`, its metadata readable JSON. No pickles."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cryodrake.errors import InputError
from cryodrake.fields.base import AbstractField
from cryodrake.fields.grid import GridField
from cryodrake.fields.mlp import MLPField
from cryodrake.io.atomic import write_bytes_atomic

KINDS: dict[str, type[AbstractField]] = {"mlp": MLPField, "grid": GridField}
_KEY = "cryodrake_field"


def field_state(field: AbstractField) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, JSON-able metadata), for a checkpoint that holds more than a field."""
    kind = next(name for name, cls in KINDS.items() if type(field) is cls)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in field.state_dict().items()}
    return tensors, {"kind": kind, "settings": field.settings()}


def build_field(tensors: dict[str, Tensor], meta: dict[str, Any]) -> AbstractField:
    """Inverse of `field_state`.

    Raises:
        KeyError: a kind of field that this version does not know.
        RuntimeError: tensors that do not fit the settings.
    """
    field = KINDS[meta["kind"]](**meta["settings"])
    field.load_state_dict(tensors)
    return field


def save_field(path: Path, field: AbstractField) -> None:
    """Writes one .safetensors file, whole or not at all."""
    tensors, meta = field_state(field)
    write_bytes_atomic(path, save(tensors, metadata={_KEY: json.dumps(meta)}))


def load_field(path: Path) -> AbstractField:
    """Reads what `save_field` wrote.

    Raises:
        InputError: not a safetensors file, or not one of a field that this version knows.
    """
    try:
        with safe_open(path, "pt") as file:
            meta = json.loads((file.metadata() or {})[_KEY])
            return build_field({name: file.get_tensor(name) for name in file.keys()}, meta)  # noqa: SIM118
    except (SafetensorError, KeyError, OSError, ValueError, RuntimeError, TypeError) as error:
        raise InputError(
            f"cannot be read as a field: {error}", where=path, expected="a field that cryodrake saved (.safetensors)"
        ) from error
