"""What is trained, as the run sees it: a loss, optimisers, and the fields that images are searched against."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor, nn

from cryodrake.fields.base import AbstractField
from cryodrake.fields.state_field import AbstractStateField
from cryodrake.training.cryodrgn2.images import Batch, NormalisedImages


@dataclass(frozen=True, eq=False)
class Group:
    """Images that are searched against one map: places in the list of rows that was given, and the map's field."""

    members: Int64[Tensor, " m"]
    field: AbstractField


class AbstractModel(nn.Module, ABC):
    """A field, and whatever tells an image's state."""

    @abstractmethod
    def loss(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        """To be minimised at the batch's poses."""

    @abstractmethod
    def pretraining_loss(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        """The same at poses that mean nothing."""

    @abstractmethod
    def optimisers(self, learning_rate: float) -> list[torch.optim.Optimizer]:
        """One for each set of parameters that needs its own."""

    @abstractmethod
    def groups(self, images: NormalisedImages, rows: Int64[Tensor, " n"], each_its_own: bool, seed: int) -> list[Group]:
        """Fields for the search of these images, every one in one group; `each_its_own`: at its very state."""

    @abstractmethod
    def field_in_units_of(self, scale: float) -> AbstractField | AbstractStateField:
        """A copy of the field whose map is `scale` times as large."""

    @abstractmethod
    def typical_map(self) -> Float[Tensor, "d d d"]:
        """A map to look at."""


def squared_error(
    images: Complex[Tensor, "b k"], transfer: Float[Tensor, "b k"], slices: Float[Tensor, "b k 2"]
) -> Float[Tensor, ""]:
    """Mean of |Y - C·V|² over images and points. The disc's other half is the conjugate and has the same mean."""
    return (images - transfer * torch.view_as_complex(slices)).abs().square().mean()
