"""When a refinement searches all poses again, and when it ends: read from its history, one entry a pass (`AbinitRun`).

Poses and resolution must stand still, and a search of all images at the present radius must have found nearly all where they were.
"""

import itertools
from typing import Any

MOST_PASSES = 14  # with all images
MOVED_SHARE = 0.02  # of the images that a search of all may find elsewhere, for it to have been the last
SAME = 0.5  # of the images that moved in the search of all before: if more move again, they always will
LITTLE = 1.02  # factor of resolution that is no progress
STILL = 0.25  # median pose change, as a fraction of the expected error, below which poses stand still

History = list[dict[str, Any]]


def wants_all_searched(history: History, n: int) -> bool:
    """First of all, and when nothing else brings any more: images that are sure may be wrong, because the map was.

    n: images in the set; passes over a part of them (`images`) only prepare.
    """
    return not history or (
        len(history) > 1
        and history[-1]["images"] == n
        and not history[-1]["whole"]
        and not _better(history)
        and not _searched_in_vain(history)
    )


def is_settled(history: History, n: int) -> bool:
    """Whether poses and resolution stand still after the last search of all, or the limit is reached."""
    with_all = sum(pass_["images"] == n for pass_ in history)
    if with_all >= MOST_PASSES:
        return True
    if len(history) < 2 or not with_all:
        return False
    still = history[-1]["median_pose_change_deg"] < STILL * history[-1]["sigma_deg"]
    return still and not _better(history) and _searched_in_vain(history)


def _better(history: History) -> bool:
    """Whether the last pass brought resolution."""
    gain = history[-2]["resolution_A"] / history[-1]["resolution_A"]
    return not gain < LITTLE


def _searched_in_vain(history: History) -> bool:
    """Whether a search of all images at the present radius has found nearly all where they were, or as many moved as in the last.

    Images that fit the map nowhere, of another state or of no particle, move in every search.
    """
    searches = [pass_ for pass_ in history[1:] if pass_["whole"] and pass_["radius"] > history[-1]["radius"] - 2]
    moved = [pass_["moved_share"] for pass_ in searches]
    return any(share <= MOVED_SHARE for share in moved) or any(b > SAME * a for a, b in itertools.pairwise(moved))
