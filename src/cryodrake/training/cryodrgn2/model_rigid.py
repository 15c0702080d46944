"""One map for all images."""

import copy
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.fields.mlp import MLPField
from cryodrake.training.cryodrgn2.images import Batch, NormalisedImages
from cryodrake.training.cryodrgn2.model import AbstractModel, Group, squared_error


@final
class RigidModel(AbstractModel):
    """A coordinate network and its squared error."""

    def __init__(self, field: MLPField):
        super().__init__()
        self.field = field

    def loss(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        slices = self.field(batch.points.flatten(0, 1)).unflatten(0, batch.centred.shape)
        return squared_error(batch.centred, batch.transfer, slices)

    def pretraining_loss(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        return self.loss(batch, generator)

    def optimisers(self, learning_rate: float) -> list[torch.optim.Optimizer]:
        return [torch.optim.Adam(self.parameters(), lr=learning_rate)]

    def groups(self, images: NormalisedImages, rows: Int64[Tensor, " n"], each_its_own: bool, seed: int) -> list[Group]:
        return [Group(torch.arange(len(rows), device=rows.device), self.field)]

    def field_in_units_of(self, scale: float) -> MLPField:
        field = copy.deepcopy(self.field)
        field.profile.amplitude.mul_(scale)
        return field

    def typical_map(self) -> Float[Tensor, "d d d"]:
        """The map."""
        with torch.no_grad():
            return self.field.to_volume()[0]
