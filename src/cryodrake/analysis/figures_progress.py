"""The map over the run, after figure 2 of the cryoDRGN2 paper: a panel of stages, and a turning film of them."""

from pathlib import Path

import matplotlib
import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cryodrake.analysis.figures_surface import contour_level, level_of_share, shade, share_above, without_dust
from cryodrake.physics.rotations import euler_deg_to_matrix
from cryodrake.training.stages import Stage

COLUMNS = 8
TILE_px, GAP_px, HEAD_px, MARGIN_px = 200, 6, 46, 62
FILM_px, FRAMES_A_STAGE, FRAMES_AT_END, SECONDS_A_FRAME = 180, 2, 14, 0.14
INK, FAINT = (25, 30, 40), (110, 118, 130)
ROWS = ("z slice", "y slice", "x slice", "surface")


def write_panel(path: Path, stages: list[Stage]) -> None:
    """A column a stage (eight at most, first and last among them): three central slices and the surface."""
    shown = _spread(stages, COLUMNS)
    surfaces, zoom = _surfaces(shown)
    width = MARGIN_px + len(shown) * (TILE_px + GAP_px)
    page = Image.new("RGB", (width, HEAD_px + len(ROWS) * (TILE_px + GAP_px)), "white")
    draw = ImageDraw.Draw(page)
    for row, words in enumerate(ROWS):
        draw.text((4, HEAD_px + row * (TILE_px + GAP_px) + TILE_px // 2), words, FAINT, _font(13), anchor="lm")
    for column, (stage, (volume, level)) in enumerate(zip(shown, surfaces, strict=True)):
        x = MARGIN_px + column * (TILE_px + GAP_px)
        draw.text((x + TILE_px // 2, 14), stage.name, INK, _font(15), anchor="mm")
        draw.text((x + TILE_px // 2, 33), _resolution(stage), FAINT, _font(13), anchor="mm")
        for row, axis in enumerate(range(3)):
            page.paste(_slice(stage.volume, axis, zoom), (x, HEAD_px + row * (TILE_px + GAP_px)))
        surface = _on_white(shade(volume, level, _view(30.0), TILE_px, zoom))
        page.paste(surface, (x, HEAD_px + 3 * (TILE_px + GAP_px)))
    page.save(path, compress_level=3)


def write_film(path: Path, stages: list[Stage]) -> None:
    """An endless GIF: the surface turns while the stages follow each other; the last one turns for longer."""
    shown = _spread(stages, COLUMNS)
    surfaces, zoom = _surfaces(shown)
    sequence = [i for i in range(len(shown) - 1) for _ in range(FRAMES_A_STAGE)] + [len(shown) - 1] * FRAMES_AT_END
    frames = []
    for turn, i in enumerate(sequence):
        picture = _on_white(shade(*surfaces[i], _view(30.0 + 360.0 * turn / len(sequence)), FILM_px, zoom))
        frame = Image.new("RGB", (FILM_px, FILM_px + 30), "white")
        frame.paste(picture, (0, 0))
        words = f"{shown[i].name}  {_resolution(shown[i])}"
        ImageDraw.Draw(frame).text((FILM_px // 2, FILM_px + 12), words, INK, _font(13), anchor="mm")
        frames.append(frame.quantize(64, method=Image.Quantize.FASTOCTREE))
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=round(1000 * SECONDS_A_FRAME), loop=0)


def _spread(stages: list[Stage], most: int) -> list[Stage]:
    if len(stages) <= most:
        return stages
    return [stages[i] for i in np.linspace(0, len(stages) - 1, most).round().astype(int)]


def _surfaces(stages: list[Stage]) -> tuple[list[tuple[Tensor, float]], float]:
    """Maps with their levels, all enclosing as much as the last, and the zoom at which that one fills the picture."""
    maps = [torch.from_numpy(stage.volume) for stage in stages]
    share = share_above(maps[-1], contour_level(maps[-1]))
    levels = [level_of_share(volume, share) for volume in maps]
    clean = [without_dust(volume, level) for volume, level in zip(maps, levels, strict=True)]
    return list(zip(clean, levels, strict=True)), _zoom(clean[-1], levels[-1])


def _zoom(volume: Float[Tensor, "d d d"], level: float) -> float:
    box = volume.shape[0]
    distance = (torch.nonzero(volume > level) - box // 2).float().norm(dim=1)
    reach = float(distance.max()) if len(distance) else box / 2
    return float(np.clip(box / 2 / (reach + 2), 1.0, 2.5))


def _view(turn_deg: float) -> Float[Tensor, "3 3"]:
    """From the side, a little from above, the map's z axis pointing up."""
    return euler_deg_to_matrix(torch.tensor([turn_deg, 70.0, 90.0]))


def _slice(volume: Float[np.ndarray, "d d d"], axis: int, zoom: float) -> Image.Image:
    """The central slice in grey, density white, between the map's own 1st and 99.8th percentile."""
    box = volume.shape[0]
    half = round(box / 2 / zoom)
    middle = volume.take(box // 2, axis=axis)
    window = middle[box // 2 - half : box // 2 + half, box // 2 - half : box // 2 + half]
    low, high = np.percentile(middle, (1, 99.8))
    grey = np.clip((window - low) / max(high - low, 1e-12), 0, 1) * 255
    return Image.fromarray(grey.astype(np.uint8)).resize((TILE_px, TILE_px), Image.Resampling.BICUBIC)


def _on_white(picture: Tensor) -> Image.Image:
    page = Image.new("RGBA", (picture.shape[1], picture.shape[0]), "white")
    page.alpha_composite(Image.fromarray(picture.numpy()))
    return page.convert("RGB")


def _resolution(stage: Stage) -> str:
    return "" if stage.resolution_A is None else f"{stage.resolution_A:.1f} Å"


def _font(size_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size_px)
