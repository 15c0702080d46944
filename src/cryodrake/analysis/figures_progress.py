"""The map over the run, after figure 2 of the cryoDRGN2 paper: a panel of stages, and a turning film of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from cryodrake.analysis.figures_files import write_numbers
from cryodrake.analysis.figures_surface import contour_level, level_of_share, shade, share_above, without_dust
from cryodrake.analysis.pictures import INK, captioned, font, on_white, side_view, zoom_to
from cryodrake.io.movies import write_gif, write_png
from cryodrake.training.stages import Stage

COLUMNS = 8
TILE_px, GAP_px, HEAD_px, MARGIN_px = 200, 6, 46, 62
FILM_px, FRAMES_A_STAGE, FRAMES_AT_END, SECONDS_A_FRAME = 180, 2, 14, 0.14
FAINT = (110, 118, 130)
ROWS = ("z slice", "y slice", "x slice", "surface")


def write_panel(path: Path, stages: list[Stage]) -> list[Path]:
    """A column a stage (eight at most, first and last among them): three central slices and the surface.

    CSV: a row a stage, all of them; the level of those whose surface is shown. Returns the files.
    """
    shown = spread(stages, COLUMNS)
    surfaces, zoom = _surfaces(shown)
    width = MARGIN_px + len(shown) * (TILE_px + GAP_px)
    page = Image.new("RGB", (width, HEAD_px + len(ROWS) * (TILE_px + GAP_px)), "white")
    draw = ImageDraw.Draw(page)
    for row, words in enumerate(ROWS):
        draw.text((4, HEAD_px + row * (TILE_px + GAP_px) + TILE_px // 2), words, FAINT, font(13), anchor="lm")
    for column, (stage, (volume, level)) in enumerate(zip(shown, surfaces, strict=True)):
        x = MARGIN_px + column * (TILE_px + GAP_px)
        draw.text((x + TILE_px // 2, 14), stage.name, INK, font(15), anchor="mm")
        draw.text((x + TILE_px // 2, 33), _resolution(stage), FAINT, font(13), anchor="mm")
        for row, axis in enumerate(range(3)):
            page.paste(_slice(stage.volume, axis, zoom), (x, HEAD_px + row * (TILE_px + GAP_px)))
        surface = on_white(shade(volume, level, side_view(30.0), TILE_px, zoom))
        page.paste(surface, (x, HEAD_px + 3 * (TILE_px + GAP_px)))
    write_png(path, page)
    level_of = {id(stage): level for stage, (_, level) in zip(shown, surfaces, strict=True)}
    columns = [(s.name, s.resolution_A, s.pixel_size_A, s.volume.shape[0], level_of.get(id(s))) for s in stages]
    names = ["stage", "resolution_A", "pixel_size_A", "box", "level"]
    return [path, write_numbers(path.with_suffix(""), pd.DataFrame(columns, columns=names))]


def write_film(path: Path, stages: list[Stage]) -> None:
    """An endless GIF: the surface turns while the stages follow each other; the last one turns for longer."""
    shown = spread(stages, COLUMNS)
    sequence = [i for i in range(len(shown) - 1) for _ in range(FRAMES_A_STAGE)] + [len(shown) - 1] * FRAMES_AT_END
    turns_deg = [30.0 + 360.0 * i / len(sequence) for i in range(len(sequence))]
    write_gif(path, list(stage_frames(shown, sequence, turns_deg, FILM_px)), SECONDS_A_FRAME)


def stage_frames(
    stages: list[Stage], sequence: Sequence[int], turns_deg: Sequence[float], size_px: int, tilt_deg: float = 70.0
) -> Iterator[Image.Image]:
    """A frame for each stage of the sequence, seen from the angle beside it, all surfaces enclosing as much."""
    surfaces, zoom = _surfaces(stages)
    for i, turn_deg in zip(sequence, turns_deg, strict=True):
        picture = on_white(shade(*surfaces[i], side_view(turn_deg, tilt_deg), size_px, zoom))
        yield captioned(picture, f"{stages[i].name}  {_resolution(stages[i])}")


def spread(stages: list[Stage], most: int) -> list[Stage]:
    """At most so many of them, evenly, the first and the last among them."""
    if len(stages) <= most:
        return stages
    return [stages[i] for i in np.linspace(0, len(stages) - 1, most).round().astype(int)]


def _surfaces(stages: list[Stage]) -> tuple[list[tuple[Tensor, float]], float]:
    """Maps with their levels, all enclosing as much as the last, and the zoom at which that one fills the picture."""
    maps = [torch.from_numpy(stage.volume) for stage in stages]
    share = share_above(maps[-1], contour_level(maps[-1]))
    levels = [level_of_share(volume, share) for volume in maps]
    clean = [without_dust(volume, level) for volume, level in zip(maps, levels, strict=True)]
    return list(zip(clean, levels, strict=True)), zoom_to(clean[-1], levels[-1])


def _slice(volume: Float[np.ndarray, "d d d"], axis: int, zoom: float) -> Image.Image:
    """The central slice in grey, density white, between the map's own 1st and 99.8th percentile."""
    box = volume.shape[0]
    half = round(box / 2 / zoom)
    middle = volume.take(box // 2, axis=axis)
    window = middle[box // 2 - half : box // 2 + half, box // 2 - half : box // 2 + half]
    low, high = np.percentile(middle, (1, 99.8))
    grey = np.clip((window - low) / max(high - low, 1e-12), 0, 1) * 255
    return Image.fromarray(grey.astype(np.uint8)).resize((TILE_px, TILE_px), Image.Resampling.BICUBIC)


def _resolution(stage: Stage) -> str:
    return "" if stage.resolution_A is None else f"{stage.resolution_A:.1f} Å"
