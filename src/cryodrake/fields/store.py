"""Fields on disk: one safetensors file, its tensors the field's `state_dict`, its metadata readable JSON. No pickles."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cryodrake.errors import InputError
from cryodrake.fields.base import AbstractField
from cryodrake.fields.conditioned import ConditionedField
from cryodrake.fields.factored import FactoredField
from cryodrake.fields.grid import GridField
from cryodrake.fields.mixer import AbstractMixer, AffineMixer
from cryodrake.fields.mixer_mlp import MLPMixer
from cryodrake.fields.mlp import MLPField
from cryodrake.fields.state_field import AbstractStateField
from cryodrake.io.atomic import write_bytes_atomic

KINDS: dict[str, type[AbstractField]] = {"mlp": MLPField, "grid": GridField}
MIXERS: dict[str, type[AbstractMixer]] = {"affine": AffineMixer, "mlp": MLPMixer}
FACTORED, CONDITIONED = "factored", "conditioned"
_KEY = "cryodrake_field"


def field_state(field: AbstractField | AbstractStateField) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, JSON-able metadata), for a checkpoint that holds more than a field."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in field.state_dict().items()}
    if isinstance(field, FactoredField):
        return tensors, {"kind": FACTORED, "basis": _described(field.basis, KINDS), "mixer": _described(field.mixer, MIXERS)}
    if isinstance(field, ConditionedField):
        return tensors, {"kind": CONDITIONED, "settings": field.settings()}
    assert isinstance(field, AbstractField)
    return tensors, _described(field, KINDS)


def _described(part: AbstractField | AbstractMixer, kinds: Mapping[str, type]) -> dict[str, Any]:
    return {"kind": next(name for name, cls in kinds.items() if type(part) is cls), "settings": part.settings()}


def build_field(tensors: dict[str, Tensor], meta: dict[str, Any]) -> AbstractField | AbstractStateField:
    """Inverse of `field_state`.

    Raises:
        KeyError: a kind of field that this version does not know.
        RuntimeError: tensors that do not fit the settings.
    """
    field: AbstractField | AbstractStateField
    if meta["kind"] == FACTORED:
        basis, mixer = meta["basis"], meta["mixer"]
        field = FactoredField(KINDS[basis["kind"]](**basis["settings"]), MIXERS[mixer["kind"]](**mixer["settings"]))
    elif meta["kind"] == CONDITIONED:
        field = ConditionedField.of_settings(meta["settings"])
    else:
        field = KINDS[meta["kind"]](**meta["settings"])
    field.load_state_dict(tensors)
    return field


def save_field(path: Path, field: AbstractField | AbstractStateField) -> None:
    """Writes one .safetensors file, whole or not at all."""
    tensors, meta = field_state(field)
    write_bytes_atomic(path, save(tensors, metadata={_KEY: json.dumps(meta)}))


def load_field(path: Path) -> AbstractField:
    """Reads the field of one map that `save_field` wrote.

    Raises:
        InputError: not a safetensors file, or not one of a field of one map that this version knows.
    """
    field = _load(path)
    if isinstance(field, AbstractStateField):
        raise InputError("the field depends on a state", where=path, expected="the field of one map")
    return field


def load_state_field(path: Path) -> AbstractStateField:
    """Reads the field with states that `save_field` wrote.

    Raises:
        InputError: not a safetensors file, or not one of a field with states that this version knows.
    """
    field = _load(path)
    if not isinstance(field, AbstractStateField):
        raise InputError("the field has no states: it is that of one map", where=path, expected="the field of a run with --zdim")
    return field


def _load(path: Path) -> AbstractField | AbstractStateField:
    try:
        with safe_open(path, "pt") as file:
            meta = json.loads((file.metadata() or {})[_KEY])
            return build_field({name: file.get_tensor(name) for name in file.keys()}, meta)  # noqa: SIM118
    except (SafetensorError, KeyError, OSError, ValueError, RuntimeError, TypeError) as error:
        raise InputError(
            f"cannot be read as a field: {error}", where=path, expected="a field that cryodrake saved (.safetensors)"
        ) from error
