"""How pictures of surfaces are laid out: the side they are seen from, how near, on white, with words beneath."""

from pathlib import Path

import matplotlib
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cryodrake.physics.rotations import euler_deg_to_matrix

INK = (25, 30, 40)
CAPTION_px = 30


def side_view(turn_deg: float, tilt_deg: float = 70.0) -> Float[Tensor, "3 3"]:
    """From the side, a little from above, the map's z axis pointing up, turned about it by `turn_deg`."""
    return euler_deg_to_matrix(torch.tensor([turn_deg, tilt_deg, 90.0]))


def zoom_to(volume: Float[Tensor, "d d d"], level: float) -> float:
    """The zoom at which the surface at this level fills the picture, however it is turned."""
    box = volume.shape[0]
    distance = (torch.nonzero(volume > level) - box // 2).float().norm(dim=1)
    reach = float(distance.max()) if len(distance) else 0.0
    return float(np.clip(box / 2 / ((reach or box / 2) + 2), 1.0, 2.5))


def on_white(picture: UInt8[Tensor, "p p 4"]) -> Image.Image:
    """RGB of an RGBA picture before white."""
    page = Image.new("RGBA", (picture.shape[1], picture.shape[0]), "white")
    page.alpha_composite(Image.fromarray(picture.numpy()))
    return page.convert("RGB")


def captioned(picture: Image.Image, words: str) -> Image.Image:
    """The picture with a line of words beneath."""
    width, height = picture.size
    page = Image.new("RGB", (width, height + CAPTION_px), "white")
    page.paste(picture, (0, 0))
    ImageDraw.Draw(page).text((width // 2, height + 12), words, INK, font(13), anchor="mm")
    return page


def font(size_px: int) -> ImageFont.FreeTypeFont:
    """The one that matplotlib carries: none is looked for on the machine."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size_px)
