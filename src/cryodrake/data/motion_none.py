"""No motion: each structure given is a state."""

from collections.abc import Callable, Sequence

from cryodrake.data.body import AbstractBody
from cryodrake.data.motion import AbstractMotion, State


class NoMotion(AbstractMotion):
    """The structures as they are.

    Args:
        names: of the structures.
        sources: give each structure.
    """

    def __init__(self, names: Sequence[str], sources: Sequence[Callable[[], AbstractBody]]):
        self.states = tuple(State(name) for name in names)
        self._sources = tuple(sources)

    def unmoved(self) -> AbstractBody:
        return self._sources[0]()

    def body(self, state: int) -> AbstractBody:
        return self._sources[state]()
