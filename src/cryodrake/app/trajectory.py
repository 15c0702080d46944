"""`cryodrake trajectory`: maps along a way through the states of a job, and a movie of them."""

import numpy as np
from jaxtyping import Float

from cryodrake.analysis.job_states import require_latents_of_one_model
from cryodrake.analysis.movie import MovieStyle, series_frames, write_movie
from cryodrake.analysis.trajectory import Trajectory, farthest_rows, nearest_rows, over_particles, straight
from cryodrake.analysis.trajectory_files import write_trajectory
from cryodrake.app.folders import refuse_taken
from cryodrake.app.progress import open_screen
from cryodrake.app.trajectory_config import TrajectoryConfig
from cryodrake.app.volumes import job_options, write_maps_at
from cryodrake.app.volumes_states import parse_rows, read_states
from cryodrake.errors import InputError


def main(config: TrajectoryConfig) -> None:
    """Writes maps, their states, the particles on the way, and the movie, and says what was found.

    Raises:
        InputError: there is no such job or it has no states, what it should go through is not there or not connected, or the
            folder is taken.
    """
    options = job_options(config)
    latents = require_latents_of_one_model(config.job)
    found = chosen_way(config, latents)
    refuse_taken(config.out)
    with open_screen() as screen:
        paths = write_maps_at(config, options, found.z.astype(np.float32), screen)
        figures = write_trajectory(config.out, found, latents)
        style = MovieStyle()
        screen.phase("movie", style.n_frames, "drawing the movie")
        films, notes = write_movie(config.out / "movie.gif", series_frames(paths, style, screen.step), style)
    over = "straight lines" if found.rows is None else f"{len(found.rows)} particles"
    print("\n".join([f"{len(paths)} maps in equal steps over {over}.", *found.words(), *notes]))
    print(f"  {paths[0]}  the first map; view.cxc opens all of them in ChimeraX as a morph")
    print("\n".join(f"  {path}" for path in (*films, *figures)))


def chosen_way(config: TrajectoryConfig, latents: Float[np.ndarray, "n z"]) -> Trajectory:
    """The way that the options ask for.

    Raises:
        InputError: as `main`.
    """
    if config.z is not None:
        z = read_states(config.z, latents.shape[1]).astype(np.float64)
        rows = nearest_rows(latents, z)
    elif config.through is not None:
        rows = parse_rows(config.through, len(latents), "--through")
        z = latents[rows]
    else:
        rows = farthest_rows(latents, config.clusters, config.neighbours, config.seed)
        z = latents[rows]
    if len(z) < 2:
        where = "--through" if config.z is None else config.z
        raise InputError("one state is no way", where=where, expected="two or more")
    if config.way == "direct":
        return straight(latents, z, config.n)
    return over_particles(latents, rows, config.n, config.neighbours)
