"""From a state to its map: the one place that knows where a job keeps its maps of states."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryodrake.errors import InputError
from cryodrake.fields.store import load_state_field
from cryodrake.io.mrc import read_map

Decode = Callable[[Float[Tensor, "b z"]], Float[Tensor, "b d d d"]]


@dataclass(frozen=True, eq=False)
class Decoder:
    """Attributes:
    decode: latents to maps.
    pixel_size_A: of the maps.
    words: what it is, for people.
    """

    decode: Decode
    pixel_size_A: float
    words: str


def open_decoder(job: Path, latents: Float[np.ndarray, "n z"] | None, classes: Int[np.ndarray, " n"] | None) -> Decoder | None:
    """The job's way from a state to a map: its field, else the maps JOB/maps/states/state_XX.mrc; None where there is neither.

    With classes (from 0), state_XX is the map of class XX, and a latent has that of the class whose mean latent is nearest
    (without latents, z is the class). Else a latent has the map of the nearest state in z_values.txt, beside the maps.

    Raises:
        InputError: a class or state without its map, or maps of several sizes.
    """
    field = job / "checkpoints" / "field.safetensors"
    if latents is not None and field.exists():
        return _field_decoder(field)
    folder = job / "maps" / "states"
    paths = sorted(path for path in folder.glob("state_*.mrc") if path.stem.removeprefix("state_").isdigit())  # no half maps
    if paths and classes is not None and len(classes):
        used = np.unique(classes)
        if used[-1] >= len(paths):
            raise InputError(f"class {used[-1] + 1} has no map", where=folder, expected=f"state_{used[-1]:02d}.mrc")
        z = classes[:, None].astype(np.float64) if latents is None else latents
        anchors, paths = np.stack([z[classes == label].mean(0) for label in used]), [paths[label] for label in used]
    elif paths and latents is not None and (folder / "z_values.txt").exists():
        anchors = _read_z(folder / "z_values.txt", len(paths), latents.shape[1])
    else:
        return None
    found = [read_map(path) for path in paths]
    if len({(volume.shape, round(pixel_size_A, 4)) for volume, pixel_size_A in found}) > 1:
        raise InputError("the maps of the states have several sizes", where=folder)
    maps = torch.stack([torch.from_numpy(volume) for volume, _ in found])
    return Decoder(nearest(maps, torch.from_numpy(anchors)), found[0][1], f"the nearest of {len(maps)} maps in maps/states")


def _field_decoder(path: Path) -> Decoder:
    field = load_state_field(path)
    with torch.no_grad():
        decode_one = field.decoder()

    def decode(z: Float[Tensor, "b z"]) -> Float[Tensor, "b d d d"]:
        with torch.no_grad():
            return torch.stack([decode_one(state) for state in z])

    return Decoder(decode, field.box_A / field.box, "the job's field")


def _read_z(path: Path, states: int, zdim: int) -> Float[np.ndarray, "m z"]:
    try:
        z = np.loadtxt(path, ndmin=2)
    except ValueError as error:
        raise InputError(f"cannot be read: {error}", where=path, expected="numbers, one state a row") from None
    if z.shape != (states, zdim):
        raise InputError(f"holds {z.shape[0]} rows of {z.shape[1]} numbers", where=path, expected=f"{states} of {zdim}")
    return z


def nearest(maps: Float[Tensor, "m d d d"], anchors: Float[Tensor, "m z"]) -> Decode:
    """The map of the nearest of the latents whose maps are known."""

    def decode(z: Float[Tensor, "b z"]) -> Float[Tensor, "b d d d"]:
        return maps[torch.cdist(z.to(anchors), anchors).argmin(1)]

    return decode
