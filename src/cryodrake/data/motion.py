"""The interface of motions: the states of a simulation, and the structure in each of them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from cryodrake.data.body import AbstractBody


@dataclass(frozen=True)
class State:
    """One state; `coordinate` is an angle in degrees, or the fraction of a way, or None where states have no order."""

    name: str
    coordinate: float | None = None


class AbstractMotion(ABC):
    """States by their number, from 0."""

    states: tuple[State, ...]

    @abstractmethod
    def unmoved(self) -> AbstractBody:
        """The structure as it was given, by which the states are placed in the box (of several, the first)."""

    @abstractmethod
    def body(self, state: int) -> AbstractBody:
        """The structure in a state: made, or read, when it is asked for."""
