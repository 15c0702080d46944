"""From a state to its map: the one place that knows where a job keeps its maps of states."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryodrake.errors import InputError
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
    """The job's way from a state to a map: JOB/maps/states/state_XX.mrc, one map a class; None where there is none.

    A latent has the map of the class whose mean latent is nearest; in a job with classes but no latents, z is the class.

    Raises:
        InputError: a class without its map, or maps of several sizes.
    """
    paths = sorted((job / "maps" / "states").glob("state_*.mrc"))
    if not paths or classes is None or not len(classes):
        return None
    if classes.max() >= len(paths):
        what = f"class {classes.max()} has no map"
        raise InputError(what, where=job / "maps" / "states", expected=f"state_{classes.max():02d}.mrc")
    used = np.unique(classes)
    z = classes[:, None].astype(np.float64) if latents is None else latents
    anchors = np.stack([z[classes == label].mean(0) for label in used])
    found = [read_map(paths[label]) for label in used]
    if len({(volume.shape, round(pixel_size_A, 4)) for volume, pixel_size_A in found}) > 1:
        raise InputError("the maps of the states have several sizes", where=job / "maps" / "states")
    maps = torch.stack([torch.from_numpy(volume) for volume, _ in found])
    return Decoder(nearest(maps, torch.from_numpy(anchors)), found[0][1], "maps/states, by class")


def nearest(maps: Float[Tensor, "m d d d"], anchors: Float[Tensor, "m z"]) -> Decode:
    """The map of the nearest of the latents whose maps are known."""

    def decode(z: Float[Tensor, "b z"]) -> Float[Tensor, "b d d d"]:
        return maps[torch.cdist(z.to(anchors), anchors).argmin(1)]

    return decode
