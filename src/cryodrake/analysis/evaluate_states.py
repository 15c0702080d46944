"""Each particle's state against the truth: maps of images, order of latents, clusters, classes, poses per state.

The truth's states are truth/state.npy, truth/volumes/state_000.mrc …, truth/states.csv (columns state, name, coordinate, images)
and truth/moving.mrc, a soft mask around what differs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from cryodrake.analysis.agreement import cluster_scores, label_scores, neighbourhood_share, share_in_right_class
from cryodrake.analysis.coordinates import circle_scores, is_circle, line_scores
from cryodrake.analysis.decoder import open_decoder
from cryodrake.analysis.evaluate_classes import ClassMap, curves_of_classes
from cryodrake.analysis.evaluate_images import ImageCurves, auc, image_curves
from cryodrake.analysis.evaluate_maps import AlignedMap, cryobench_auc
from cryodrake.analysis.evaluate_states_result import StatesResult
from cryodrake.analysis.job_states import check_rows, holds_classes, read_classes, read_groups, read_latents
from cryodrake.analysis.regression import FOLDS, some_rows
from cryodrake.errors import InputError

APART = 10.0  # standard deviations of latents, between classes
MOST_ROWS = 20_000  # of latents that are regressed and clustered: enough for two digits


def evaluate_states(
    job: Path,
    truth: Path,
    map_: AlignedMap | None,
    rows: Int[np.ndarray, " n"] | None,
    error_deg: Float[np.ndarray, " n"] | None,
    parts: Sequence[ClassMap] = (),
) -> StatesResult | None:
    """Compare what the job says of states; None where the truth has one state.

    Args:
        map_: the job's map, which without states is that of every image.
        rows: the truth's row of each of the job's particles; None: they are the truth's, in order.
        error_deg: angle of each particle's pose to the truth.
        parts: of the whole of a job with classes, each class's job with its map.

    Raises:
        InputError: the job's latents or classes are not one row a particle, or the truth is incomplete.
    """
    n_states = len(list((truth / "volumes").glob("state_*.mrc")))
    if n_states < 2:
        return None
    state = _true_states(truth, n_states)
    state = state if rows is None else state[rows]
    latents, groups, classes = read_latents(job), read_groups(job), read_classes(job)
    found: dict[str, Any] = {"n_states": n_states, "state_n": tuple(np.bincount(state, minlength=n_states).tolist())}
    notes: list[str] = []
    for name, table in (("latents.npy", latents), ("groups.npy", groups), ("classes.npy", classes)):
        if table is not None:
            check_rows(job, name, len(table), len(state))
    scored = _score_maps(job, truth, map_, state, latents, classes, parts)
    if isinstance(scored, str):
        notes.append(f"Maps of states were not compared: {scored}.")
    else:
        found |= scored
    if latents is not None:
        points = latents if classes is None else apart(latents, classes)
        found |= score_latents(points, state, _coordinates(truth, n_states))
    if groups is not None:
        found |= {"n_groups": len(np.unique(groups))} | label_scores("groups", groups, state)
    if classes is not None:
        found["share_in_right_class"] = share_in_right_class(classes, state)
    if error_deg is not None:
        errors = _per_state(error_deg, state, n_states)
        found["state_rotation_error_median_deg"] = tuple(None if e is None else float(np.median(e)) for e in errors)
    return StatesResult(**found, notes=tuple(notes))


def _score_maps(
    job: Path,
    truth: Path,
    map_: AlignedMap | None,
    state: Int[np.ndarray, " n"],
    latents: Float[np.ndarray, "n z"] | None,
    classes: Int[np.ndarray, " n"] | None,
    parts: Sequence[ClassMap],
) -> dict[str, Any] | str:
    """Entries of `StatesResult` on the maps of images, or why there are none."""
    n_states = len(list((truth / "volumes").glob("state_*.mrc")))
    if parts:
        if classes is None:
            return "the job holds no classes.npy"
        without = [part.job.name for part in parts if part.map_ is None]
        if without:
            return f"{', '.join(without)} has no map to align"
        return score_curves(curves_of_classes(parts, classes, state, truth), "each by the job of its class", state, n_states)
    if holds_classes(job):
        return {}  # a map or poses were given in the place of the classes'
    if latents is None and classes is None:
        if map_ is None:
            return {}
        return score_curves(image_curves(None, None, state, map_, truth), "one map for all", state, n_states)
    decoder = open_decoder(job, latents, classes)
    if decoder is None or map_ is None:
        return f"the job {'has no map to align' if map_ is None else 'holds no decoder and no maps of classes'}"
    z = latents if latents is not None else classes[:, None].astype(np.float64)  # type: ignore[index]
    return score_curves(image_curves(decoder, z, state, map_, truth), decoder.words, state, n_states)


def score_curves(curves: ImageCurves, decoded_from: str, state: Int[np.ndarray, " n"], n_states: int) -> dict[str, Any]:
    """Entries of `StatesResult` on the maps of images."""
    found: dict[str, Any] = {"decoded_from": decoded_from, "images": len(curves.rows)}
    for name, of in (
        ("image_auc", curves.decoded), ("static_auc", curves.static),
        ("image_auc_moving", curves.decoded_moving), ("static_auc_moving", curves.static_moving),
    ):  # fmt: skip
        if of is not None and not (curves.is_static and name.startswith("static")):
            areas = auc(of)
            found |= {f"{name}_mean": float(areas.mean()), f"{name}_median": float(np.median(areas))}
    means = [None if c is None else c.mean(axis=0) for c in _per_state(curves.decoded.numpy(), state[curves.rows], n_states)]
    found["state_fsc"] = tuple(None if c is None else tuple(round(float(v), 5) for v in c) for c in means)
    found["state_auc"] = tuple(None if c is None else cryobench_auc(torch.from_numpy(c)) for c in means)
    return found


def score_latents(
    latents: Float[np.ndarray, "n z"], state: Int[np.ndarray, " n"], coordinates: Float[np.ndarray, " m"] | None
) -> dict[str, Any]:
    """Entries of `StatesResult` on the latents alone; `coordinates` is each state's, where the truth has them."""
    rows = some_rows(len(latents), MOST_ROWS)
    latents, state = latents[rows], state[rows]
    n_states = len(np.unique(state))
    if n_states < 2 or len(rows) < max(2 * FOLDS, n_states + 1):
        return {}
    share, chance = neighbourhood_share(latents, state)
    found: dict[str, Any] = {"neighbour_share": share, "neighbour_chance": chance, **cluster_scores(latents, state)}
    if coordinates is not None and np.isfinite(coordinates[state]).all():
        found["is_circle"] = is_circle(coordinates[np.unique(state)])
        if found["is_circle"]:
            found |= circle_scores(latents, coordinates[state], state)
        else:
            found |= line_scores(latents, coordinates[state])
    return found


def apart(latents: Float[np.ndarray, "n z"], classes: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n z2"]:
    """Latents with their class beside them: those of different classes have nothing in common, and lie far from each other."""
    return np.concatenate([latents, APART * max(float(latents.std()), 1e-6) * np.eye(classes.max() + 1)[classes]], axis=1)


def _per_state(values: np.ndarray, state: Int[np.ndarray, " n"], n_states: int) -> list[np.ndarray | None]:
    return [values[state == s] if (state == s).any() else None for s in range(n_states)]


def _true_states(truth: Path, n_states: int) -> Int[np.ndarray, " n"]:
    path = truth / "state.npy"
    try:
        state = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"cannot be read: {error}", where=path, expected="the state of each particle") from None
    if state.ndim != 1 or state.dtype.kind not in "iu" or not (state.min() >= 0 and state.max() < n_states):
        raise InputError(f"holds {state.dtype} {state.shape}", where=path, expected=f"whole numbers from 0 to {n_states - 1}")
    return state.astype(np.int64)


def _coordinates(truth: Path, n_states: int) -> Float[np.ndarray, " m"] | None:
    """Each state's coordinate, NaN where it has none; None where the truth has no states.csv."""
    path = truth / "states.csv"
    if not path.exists():
        return None
    try:
        table = pd.read_csv(path)
        coordinates = np.full(n_states, np.nan)
        coordinates[table["state"].to_numpy(dtype=np.int64)] = pd.to_numeric(table["coordinate"]).to_numpy(dtype=np.float64)
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise InputError(f"cannot be read: {error}", where=path, expected="columns state, name, coordinate, images") from None
    return coordinates
