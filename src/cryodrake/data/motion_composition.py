"""Composition: one model with and without some of its chains."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from cryodrake.data.body_atoms import AtomBody
from cryodrake.data.motion import AbstractMotion, State
from cryodrake.errors import InputError

_EXPECTED = "NAME=CHAINS that are there, or NAME=-CHAINS that are missing, such as 'full=*' '60S=[L-Z]A,?B' 'vacant=-A,KA'"


class Composition(AbstractMotion):
    """One state for each subset NAME=CHAINS (these are there) or NAME=-CHAINS (all but these).

    CHAINS are names with commas between them, with `*`, `?` and `[A-F]` as in file names.

    Raises:
        InputError: a subset is not of this form, names no chain, or leaves nothing.
    """

    def __init__(self, model: AtomBody, subsets: Sequence[str]):
        self._model = model
        self._is_there = [_is_there(model, subset) for subset in subsets]
        self.states = tuple(State(_parse(subset)[0]) for subset in subsets)

    def unmoved(self) -> AtomBody:
        return self._model

    def body(self, state: int) -> AtomBody:
        return self._model.only(self._is_there[state])


def _parse(subset: str) -> tuple[str, bool, list[str]]:
    """Its name, whether the chains are missing, and their patterns."""
    name, equals, chains = (part.strip() for part in subset.partition("="))
    patterns = [pattern.strip() for pattern in chains.removeprefix("-").split(",")]
    if not (name and equals and all(patterns)):
        raise InputError(f"{subset!r} is not a subset of chains", where="--subsets", expected=_EXPECTED)
    return name, chains.startswith("-"), patterns


def _is_there(model: AtomBody, subset: str) -> Bool[np.ndarray, " a"]:
    _, are_missing, patterns = _parse(subset)
    is_there = model.of_chains(patterns, "--subsets") ^ are_missing
    if not is_there.any():
        raise InputError(f"{subset!r} leaves nothing", where="--subsets", expected=_EXPECTED)
    return is_there
