"""`cryodrake movie`: a film of maps, of one map that turns, or of a run, drawn without ChimeraX or a display."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from cryodrake.errors import InputError

MOST_GIB = 2.0  # frames are kept until all are drawn

if TYPE_CHECKING:
    from cryodrake.analysis.movie import Film, MovieStyle
    from cryodrake.training.events import AbstractReporter


@dataclass(frozen=True)
class MovieConfig:
    """What to film, and how it is seen."""

    source: tyro.conf.Positional[Path]
    """A folder of maps in the order of their names (as volumes and trajectory make, or JOB/maps/states), one map, or a job:
    its map over the run."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))]
    """File to make (.gif). Beside it: an .mp4 where ffmpeg is there, and a .csv of what each frame shows. A still (.png) of
    each map goes beside the map, where it has none yet."""
    size_px: int = 300
    """Side of the picture."""
    seconds: float = 5.0
    """Length."""
    fps: int = 20
    """Frames a second."""
    level: float | None = None
    """Density at the surface. Default: between particle and surroundings, of the mean of the maps."""
    turn_deg: float | None = None
    """How far the view turns during the film. Default: once round, but of several maps not at all."""
    from_deg: float = 30.0
    """Where the view starts, about the map's z axis."""
    tilt_deg: float = 70.0
    """From where it looks down: 90 is from the side, 0 from the top."""
    one_way: bool = False
    """Of several maps: end at the last one, instead of going back to the first."""

    def __post_init__(self) -> None:
        for name, least, most in (("size_px", 32, 2000), ("fps", 1, 60), ("seconds", 0.1, 120)):
            value = getattr(self, name)
            if not least <= value <= most:
                option = f"--{name.replace('_', '-')}"
                raise InputError(f"{name} is {value}", where=option, expected=f"from {least} to {most}")
        frames_gib = 3 * self.size_px**2 * self.seconds * self.fps / 2**30
        if frames_gib > MOST_GIB:
            do = "less of --size-px, --seconds or --fps"
            raise InputError(f"the frames take {frames_gib:.1f} GiB of memory", expected=f"{MOST_GIB:g} at most", do=do)


def main(config: MovieConfig) -> None:
    """Draws the film and writes it.

    Raises:
        InputError: there is nothing to film, a map cannot be read, or the file is there already.
    """
    from cryodrake.analysis.movie import write_movie
    from cryodrake.app.folders import make_folder, refuse_taken_file
    from cryodrake.app.progress import open_screen

    refuse_taken_file(config.out, ".gif")
    for suffix in (".mp4", ".csv"):
        refuse_taken_file(config.out.with_suffix(suffix), suffix)
    is_job = (config.source / "job.toml").exists()
    if is_job and config.level is not None:
        raise InputError("--level does not go with a job", expected="stages of a run, which have units of their own")
    paths = [] if is_job else maps_of(config.source)
    style = style_of(config, len(paths))
    with open_screen() as screen:
        film = draw(config, paths, style, screen)
        make_folder(config.out.parent)
        written, notes = write_movie(config.out, film, style)
        try:
            written += stills(paths, style)
        except InputError as error:  # the maps may be somebody else's
            notes.append(f"No stills: {error.where}: {error.what}.")
    print("\n".join([*notes, *(f"  {path}" for path in written)]))


def maps_of(source: Path) -> list[Path]:
    """The map, or those in the folder but for half maps, in order of their names.

    Raises:
        InputError: there are none.
    """
    from cryodrake.analysis.map_folder import is_half_map

    if source.is_file():
        return [source]
    paths = sorted(path for path in source.glob("*.mrc") if not is_half_map(path))
    if not paths:
        raise InputError("no maps are there", where=source, expected="a map (.mrc), a folder of maps, or a job")
    return paths


def style_of(config: MovieConfig, n_maps: int) -> "MovieStyle":
    """The config as the film's style."""
    from cryodrake.analysis.movie import MovieStyle

    turn_deg = config.turn_deg if config.turn_deg is not None else (360.0 if n_maps < 2 else 0.0)
    view = config.from_deg, config.tilt_deg
    return MovieStyle(config.size_px, config.seconds, config.fps, config.level, turn_deg, view, not config.one_way)


def draw(config: MovieConfig, paths: list[Path], style: "MovieStyle", screen: "AbstractReporter") -> "Film":
    """The film of the maps, or, where there are none, of the job's run.

    Raises:
        InputError: the job has no stages, or a map cannot be read.
    """
    from cryodrake.analysis.movie import series_frames
    from cryodrake.analysis.movie_run import run_frames

    screen.phase("movie", style.n_frames, "drawing the movie")
    if paths:
        return series_frames(paths, style, screen.step)
    return run_frames(config.source, style, screen.step)


def stills(paths: list[Path], style: "MovieStyle") -> list[Path]:
    """A still beside each map that has none yet, at the film's level and zoom. Returns those written.

    Raises:
        InputError: a folder of the maps is not writable.
    """
    from cryodrake.analysis.map_folder import series_look, small_map, write_still

    level, zoom = series_look((small_map(path) for path in paths), style.level) if paths else (0.0, 1.0)
    targets = {path.with_suffix(".png"): path for path in paths}
    return [
        write_still(target, small_map(path), level, zoom, style.size_px) for target, path in targets.items() if not target.exists()
    ]
