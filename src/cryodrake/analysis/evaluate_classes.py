"""Images of a job with classes against their true maps: each by the map of its class, in the place that this map has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from cryodrake.analysis.decoder import open_decoder
from cryodrake.analysis.evaluate_images import ImageCurves, evenly_spaced, image_curves
from cryodrake.analysis.evaluate_maps import AlignedMap
from cryodrake.analysis.job_states import check_rows, read_latents
from cryodrake.errors import InputError


@dataclass(frozen=True, eq=False)
class ClassMap:
    """A class's job, and its map with the alignment of its own; None where it has none."""

    job: Path
    map_: AlignedMap | None


def curves_of_classes(
    parts: Sequence[ClassMap], classes: Int[np.ndarray, " n"], state: Int[np.ndarray, " n"], truth: Path
) -> ImageCurves:
    """Curves of as many images of all classes as a job without classes has; those of a class with states at their latents.

    Args:
        parts: of each class, all with a map.
        classes: of each image, from 0.
        state: the true one of each image.

    Raises:
        InputError: a class has no job, its latents are not one an image, maps differ in size, or as `image_curves`.
    """
    if classes.max(initial=-1) >= len(parts):
        raise InputError(f"class {classes.max() + 1} has no job", where=parts[0].job.parent, expected=f"{len(parts)} classes")
    if len({part.map_.density.shape for part in parts if part.map_ is not None}) > 1:
        raise InputError("the maps of the classes have several sizes", where=parts[0].job.parent)
    chosen = evenly_spaced(state)
    found: list[ImageCurves] = []
    rows: list[np.ndarray] = []
    for c, part in enumerate(parts):
        members, own = np.flatnonzero(classes == c), chosen[classes[chosen] == c]
        if not len(own) or part.map_ is None:
            continue
        latents = read_latents(part.job)
        if latents is not None:
            check_rows(part.job, "latents.npy", len(latents), len(members))
        decoder = open_decoder(part.job, latents, None)
        found.append(image_curves(decoder, latents, state[members], part.map_, truth, np.searchsorted(members, own)))
        rows.append(own)
    return _joined(found, np.concatenate(rows), state)


def _joined(found: Sequence[ImageCurves], rows: Int[np.ndarray, " m"], state: Int[np.ndarray, " n"]) -> ImageCurves:
    order = np.argsort(state[rows], kind="stable")

    def all_of(name: str) -> Tensor | None:
        curves = [getattr(part, name) for part in found]
        return None if curves[0] is None else torch.cat(curves)[order]

    decoded, static = all_of("decoded"), all_of("static")
    assert decoded is not None and static is not None  # noqa: PT018 (every part has them)
    is_static = all(part.is_static for part in found)
    return ImageCurves(rows[order], decoded, static, all_of("decoded_moving"), all_of("static_moving"), is_static)
