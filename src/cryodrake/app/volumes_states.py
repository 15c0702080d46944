"""The states that `volumes` is asked for: of particles, of a file, of clusters, of groups, along a component."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from cryodrake.analysis.job_states import check_rows, read_groups
from cryodrake.app.volumes_config import VolumesConfig
from cryodrake.errors import InputError
from cryodrake.inference.latent_clusters import k_means
from cryodrake.inference.latent_components import along_component


def chosen_states(config: VolumesConfig, latents: Float32[np.ndarray, "n z"]) -> Float32[np.ndarray, "m z"]:
    """The states asked for.

    Raises:
        InputError: they are not among the job's, or the file cannot be read.
    """
    if config.z is not None:
        return read_states(config.z, latents.shape[1])
    if config.pc is not None:
        if config.pc > latents.shape[1]:
            raise InputError(f"there is no component {config.pc}", where="--pc", expected=f"1 to {latents.shape[1]}")
        return along_component(latents, config.pc - 1, config.n)
    if config.kmeans is not None:
        if config.kmeans > len(latents):
            raise InputError(f"{config.kmeans} of {len(latents)} particles", where="--kmeans", expected="fewer")
        return latents[k_means(latents, config.kmeans, config.seed).distinct_rows]
    if config.groups:
        return latents[group_rows(config.job, latents)]
    assert config.particles is not None  # exactly one is given
    return latents[parse_rows(config.particles, len(latents))]


def group_rows(job: Path, latents: Float32[np.ndarray, "n z"]) -> Int64[np.ndarray, " m"]:
    """Of each group the particle nearest to its mean state.

    Raises:
        InputError: the states fell into no groups, or groups.npy is not of these particles.
    """
    group = read_groups(job)
    if group is None:
        raise InputError("the states of this job are one group: it has no groups.npy", where=job, do="give --kmeans or --pc")
    check_rows(job, "groups.npy", len(group), len(latents))
    rows = [np.flatnonzero(group == g) for g in np.unique(group)]
    return np.array([own[np.square(latents[own] - latents[own].mean(0)).sum(1).argmin()] for own in rows])


def parse_rows(text: str, n: int, option: str = "--particles") -> Int64[np.ndarray, " m"]:
    """Rows such as 0,10,20, of n particles, as they are given to `option`.

    Raises:
        InputError: not whole numbers, or not rows of these particles.
    """
    try:
        rows = np.array([int(part) for part in text.split(",")], dtype=np.int64)
    except ValueError:
        raise InputError(f"particles are {text!r}", where=option, expected="rows such as 0,10,20") from None
    for row in rows[(rows < 0) | (rows >= n)]:
        raise InputError(f"there is no particle {row}", where=option, expected=f"rows from 0 to {n - 1}")
    return rows


def read_states(path: Path, zdim: int) -> Float32[np.ndarray, "m z"]:
    """A whitespace matrix, one state a row.

    Raises:
        InputError: it cannot be read, or its states do not have zdim coordinates.
    """
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        z = np.array([[float(word) for word in words] for words in lines], dtype=np.float32)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=path, expected="numbers, one state a row") from None
    if z.ndim != 2 or z.shape[1] != zdim or not np.isfinite(z).all():
        shape = " × ".join(map(str, z.shape))
        raise InputError(f"holds {shape} numbers", where=path, expected=f"one state a row, {zdim} finite numbers each")
    return z
