"""CryoBench's per-image FSC (Jeon et al. 2024, arXiv:2408.05526): decode at particles' latents, compare with their true maps.

All maps share the one alignment of the consensus map: a decoder that turns its states is not forgiven. The consensus map is
scored in the same way, as if it were every image's: what the states gain is the difference. Each class has a map and an alignment.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cryodrake.analysis.decoder import Decoder
from cryodrake.analysis.evaluate_maps import AlignedMap, cryobench_auc
from cryodrake.data.density import resample
from cryodrake.errors import InputError
from cryodrake.inference.alignment import within_ball
from cryodrake.io.mrc import read_map
from cryodrake.physics.fsc import fsc

IMAGES = 100
_DECODED_AT_ONCE = 4


@dataclass(frozen=True, eq=False)
class ImageCurves:
    """FSC of sampled images, ordered by state: shells 0 … d/2; `moving` ones under truth/moving.mrc, where that is.

    Attributes:
        rows: which particles.
        decoded: the map at each one's latent with its true map, and `static` the consensus map (of its class) with the same.
        is_static: there are no states: `decoded` is `static`.
    """

    rows: Int[np.ndarray, " m"]
    decoded: Float[Tensor, "m s"]
    static: Float[Tensor, "m s"]
    decoded_moving: Float[Tensor, "m s"] | None
    static_moving: Float[Tensor, "m s"] | None
    is_static: bool = False


def image_curves(
    decoder: Decoder | None,
    z: Float[np.ndarray, "n z"] | None,
    state: Int[np.ndarray, " n"],
    map_: AlignedMap,
    truth: Path,
    rows: Int[np.ndarray, " m"] | None = None,
) -> ImageCurves:
    """Curves of some images.

    Args:
        decoder, z: None: `map_` is the map of every image.
        rows: which images (one at least), ordered by state; None: `IMAGES` evenly spaced ones.

    Raises:
        InputError: a true map is missing, or a decoded one is not finite.
    """
    rows = evenly_spaced(state) if rows is None else rows
    masks: list[Tensor | None] = [None]
    if (truth / "moving.mrc").exists():
        moving, pixel_size_A = read_map(truth / "moving.mrc")
        masks.append(map_.bring(torch.from_numpy(moving), pixel_size_A).clamp(0, 1))
    decoded: list[list[Tensor]] = [[] for _ in masks]
    static: list[list[Tensor]] = [[] for _ in masks]
    for number in np.unique(state[rows]):
        volume, pixel_size_A = read_map(truth / "volumes" / f"state_{number:03d}.mrc")
        true = map_.bring(torch.from_numpy(volume), pixel_size_A)
        own = rows[state[rows] == number]
        for i, mask in enumerate(masks):
            static[i] += [fsc(map_.density, true, mask)] * len(own)
        if decoder is None or z is None:
            continue
        for chunk in np.array_split(own, -(-len(own) // _DECODED_AT_ONCE)):
            for found in _decoded(decoder, z[chunk], map_):
                for i, mask in enumerate(masks):
                    decoded[i].append(fsc(found, true, mask))
    is_static = decoder is None or z is None
    decoded = static if is_static else decoded
    under_mask = [torch.stack(curves[1]) if len(masks) > 1 else None for curves in (decoded, static)]
    return ImageCurves(rows, torch.stack(decoded[0]), torch.stack(static[0]), under_mask[0], under_mask[1], is_static)


def _decoded(decoder: Decoder, z: Float[np.ndarray, "b z"], map_: AlignedMap) -> list[Tensor]:
    """Maps on the consensus map's grid, without corners of Fourier space."""
    with torch.no_grad():
        maps = decoder.decode(torch.from_numpy(z).float()).float().cpu()
    if not torch.isfinite(maps).all():
        raise InputError(f"{decoder.words}: a decoded map holds values that are not finite")
    box = map_.density.shape[-1]
    return [within_ball(resample(volume, decoder.pixel_size_A, box, map_.pixel_size_A)) for volume in maps]


def evenly_spaced(state: Int[np.ndarray, " n"], most: int = IMAGES) -> Int[np.ndarray, " m"]:
    """Rows ordered by state, taken at even distances: as CryoBench takes them from sets whose images stand in that order."""
    order = np.argsort(state, kind="stable")
    m = min(most, len(order))
    return order[((np.arange(m) + 0.5) * len(order) / m).astype(int)]


def auc(curves: Float[Tensor, "m s"]) -> Float[np.ndarray, " m"]:
    """CryoBench's area of each curve."""
    return np.array([cryobench_auc(curve) for curve in curves])
