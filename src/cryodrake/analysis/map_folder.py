"""What stands beside the maps of a folder for people who look at them: view.cxc for ChimeraX, and a still of each map.

Half maps are raw data: they are opened hidden, and have no stills. Maps along a way are shown at one level, so that a part that
comes or goes is seen to; other maps each at their own.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from cryodrake.analysis.figures_surface import contour_level, shade, without_dust
from cryodrake.analysis.map_pair import read_finite
from cryodrake.analysis.pictures import on_white, side_view, zoom_to
from cryodrake.errors import InputError
from cryodrake.io.chimerax import ShownMap, write_maps, write_series
from cryodrake.io.movies import write_png
from cryodrake.physics.fourier import resample_volume

STILL_px, LARGEST_BOX = 400, 128
VIEW_deg = 30.0  # as the last surface of progress.png
SPREADS = 3.0  # the level of a component of maps, in standard deviations
SHADES = ("cornflower blue", "goldenrod", "medium sea green", "orchid")


def write_series_views(folder: Path, paths: Sequence[Path]) -> list[Path]:
    """view.cxc and stills of maps along a way, all in this folder, at one level and one zoom. Returns the files.

    Raises:
        InputError: a map cannot be read, or the folder is not writable.
    """
    level, zoom = series_look(small_map(path) for path in paths)
    shown = [ShownMap(path.name, level) for path in paths]
    opened = (write_series if len(shown) > 1 else write_maps)(folder, shown)
    return [opened, *(write_still(path.with_suffix(".png"), small_map(path), level, zoom) for path in paths)]


def write_map_views(
    folder: Path, names: Sequence[str], levels: Mapping[str, float] = MappingProxyType({}), words: str = ""
) -> list[Path]:
    """view.cxc and stills of single maps: those of these names that are there, the first one seen at once, the others hidden.

    Args:
        levels: by name; where there is none it is the map's own.
        words: a comment in view.cxc.

    Returns:
        The files written.

    Raises:
        InputError: a map cannot be read, or the folder is not writable.
    """
    paths = [folder / name for name in names if (folder / name).exists()]
    shown, written = [], []
    for i, path in enumerate(paths):
        volume = small_map(path)
        level = levels[path.name] if path.name in levels else contour_level(volume)
        shown.append(ShownMap(path.name, level, SHADES[i % len(SHADES)], is_visible=i == 0))
        if not is_half_map(path):
            written.append(write_still(path.with_suffix(".png"), volume, level))
    return [write_maps(folder, shown, words), *written] if shown else []


def write_component_views(folder: Path, mean: Path, components: Sequence[Path]) -> None:
    """view.cxc and stills of a mean map and components of maps: what is more in gold, what is less in blue, on the mean.

    Raises:
        InputError: a map cannot be read, or the folder is not writable.
    """
    volume = small_map(mean)
    level = contour_level(volume)
    write_still(mean.with_suffix(".png"), volume, level)
    shown = [ShownMap(mean.name, level, "light gray")]
    for i, path in enumerate(components):
        component = small_map(path)
        spread = SPREADS * float(component.std())
        shown.append(ShownMap(path.name, spread, "goldenrod", is_visible=i == 0, negative_colour="royal blue"))
        write_still(path.with_suffix(".png"), component.abs(), spread)
    write_maps(folder, shown)


def is_half_map(path: Path) -> bool:
    """By its name, as all that we write have it."""
    return re.search(r"half(_map_)?[12]", path.stem) is not None


def series_look(maps: Iterable[Float[Tensor, "d d d"]], level: float | None = None) -> tuple[float, float]:
    """How maps along a way are shown alike: the level (the given, or that of their mean), and the zoom that cuts none of them.

    Each map is held only while it is added: they may be many.

    Raises:
        InputError: nothing is above the given level.
    """
    total = envelope = torch.empty(0)
    n = 0
    for volume in maps:
        total, envelope = (volume, volume) if n == 0 else (total + volume, torch.maximum(envelope, volume))
        n += 1
    if level is None:
        level = contour_level(total / n)
    elif not (envelope > level).any():
        expected = f"between {float(envelope.min()):.4g} and {float(envelope.max()):.4g}"
        raise InputError(f"nothing is above {level:.4g}", where="--level", expected=expected)
    return level, zoom_to(without_dust(envelope, level), level)


def small_map(path: Path) -> Float[Tensor, "d d d"]:
    """The map, at no more voxels than a picture needs; densities are kept.

    Raises:
        InputError: it cannot be read.
    """
    volume, _ = read_finite(path)
    return resample_volume(volume, LARGEST_BOX) if volume.shape[0] > LARGEST_BOX else volume


def write_still(
    target: Path, volume: Float[Tensor, "d d d"], level: float, zoom: float | None = None, size_px: int = STILL_px
) -> Path:
    """A picture (.png) of the map's surface from the side. Raises InputError where the folder is not writable."""
    clean = without_dust(volume, level)
    zoom = zoom_to(clean, level) if zoom is None else zoom
    write_png(target, on_white(shade(clean, level, side_view(VIEW_deg), size_px, zoom)))
    return target
