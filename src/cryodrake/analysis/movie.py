"""Films of maps, without any other program: a series that changes, or one map that turns."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from cryodrake.analysis.figures_files import write_numbers
from cryodrake.analysis.figures_surface import shade, without_dust
from cryodrake.analysis.map_folder import series_look, small_map
from cryodrake.analysis.pictures import captioned, on_white, side_view
from cryodrake.errors import InputError
from cryodrake.io.movies import find_encoder, write_gif, write_mp4

Step = Callable[[int], object]


@dataclass(frozen=True)
class MovieStyle:
    """How a film looks.

    Attributes:
        size_px: side of the picture.
        seconds, frames_per_second: of the whole film.
        level: of the surface, at all maps; None: that of the mean map.
        turn_deg: how far the view turns about the map's z axis over the film.
        view_deg: where it starts, and the tilt: 90 is from the side, 0 from the top.
        is_round_trip: the series is gone through to its end and back again, so that the film may repeat without a jump.
    """

    size_px: int = 300
    seconds: float = 5.0
    frames_per_second: int = 20
    level: float | None = None
    turn_deg: float = 0.0
    view_deg: tuple[float, float] = (30.0, 70.0)
    is_round_trip: bool = True

    @property
    def n_frames(self) -> int:
        """At least two."""
        return max(2, round(self.seconds * self.frames_per_second))


@dataclass(frozen=True, eq=False)
class Film:
    """Attributes:
    frames: pictures of one size.
    numbers: what each frame shows: a row a frame.
    """

    frames: list[Image.Image]
    numbers: pd.DataFrame


def series_frames(paths: Sequence[Path], style: MovieStyle, step: Step = lambda done: None) -> Film:
    """Through the maps, densities interpolated between neighbours, at one level. One map: it turns.

    Raises:
        InputError: a map cannot be read, or they have several sizes.
    """
    maps = [small_map(path) for path in paths]
    for path, volume in zip(paths, maps, strict=True):
        if volume.shape != maps[0].shape:
            raise InputError(f"has {volume.shape[0]} voxels a side", where=path, expected=f"{maps[0].shape[0]}, as {paths[0].name}")
    level, zoom = series_look(maps, style.level)
    frames, rows = [], []
    for i in range(style.n_frames):
        place = place_in_series(i, style.n_frames, len(maps), style.is_round_trip)
        first = min(int(place), max(len(maps) - 2, 0))
        second, share = min(first + 1, len(maps) - 1), place - first
        volume = maps[first] if share == 0 else (1 - share) * maps[first] + share * maps[second]
        turn = style.view_deg[0] + style.turn_deg * i / style.n_frames
        picture = on_white(shade(without_dust(volume, level), level, side_view(turn, style.view_deg[1]), style.size_px, zoom))
        nearest = paths[first if share < 0.5 else second].stem
        frames.append(captioned(picture, nearest))
        rows.append((i, place, nearest, turn % 360, level))
        step(i + 1)
    return Film(frames, pd.DataFrame(rows, columns=["frame", "place", "nearest_map", "turn_deg", "level"]))


def place_in_series(frame: int, n_frames: int, n_maps: int, is_round_trip: bool) -> float:
    """Where between the maps 0 … n-1 a frame is: evenly to the end, and back if it is a round trip."""
    if not is_round_trip:
        return (n_maps - 1) * frame / (n_frames - 1)
    share = 2 * frame / n_frames  # the frame after the last would be the first again
    return (n_maps - 1) * (share if share <= 1 else 2 - share)


def write_movie(path: Path, film: Film, style: MovieStyle) -> tuple[list[Path], list[str]]:
    """The GIF, its numbers, and an MP4 where there is an encoder; the files, and what to tell of the MP4.

    Raises:
        InputError: the folder is not writable or the disk full.
    """
    seconds_a_frame = 1 / style.frames_per_second
    # A GIF's clock ticks in hundredths of a second: as many frames as make the film as long.
    every = max(1, math.ceil(0.04 / seconds_a_frame))
    write_gif(path, film.frames[::every], np.round(every * seconds_a_frame, 2))
    written, notes = [path, write_numbers(path.with_suffix(""), film.numbers)], []
    encoder = find_encoder()
    if encoder is None:
        notes.append("No MP4: there is no ffmpeg here (pip install 'cryodrake[movies]').")
    elif complaint := write_mp4(path.with_suffix(".mp4"), film.frames, seconds_a_frame, encoder):
        notes.append(f"No MP4: {encoder} failed: {complaint.splitlines()[-1]}")
    else:
        written.append(path.with_suffix(".mp4"))
    return written, notes
