"""A variational autoencoder: states from images or from a table, and a field that is told the state.

    loss = mean over the disc's points of |Y - C·V(z)|² + β·KL(q(z) ‖ N(0, 1))/(number of those points),   z ~ q(z), β = 1/zdim

(Kingma & Welling 2014; Higgins et al. 2017 for β.) Both terms are divided by the number of points, so that their balance does not
depend on the box. The divergence is added: it keeps states near the prior.
"""

import copy
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.fields.conditioned import ConditionedField
from cryodrake.fields.latents import AbstractLatents, StatePosterior
from cryodrake.training.anchors import anchors_of
from cryodrake.training.cryodrgn2.images import Batch, NormalisedImages
from cryodrake.training.cryodrgn2.model import AbstractModel, Group, squared_error

ROWS_AT_ONCE = 256
MOST_ANCHORS = 24  # of the images that are searched together


@final
class FlexibleModel(AbstractModel):
    """V(k; z) and q(z)."""

    def __init__(self, field: ConditionedField, latents: AbstractLatents):
        super().__init__()
        self.field = field
        self.latents = latents

    @property
    def beta(self) -> float:
        """Weight of the divergence."""
        return 1 / self.field.zdim

    def loss(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        posterior = self.latents(batch.rows, batch.phase_flipped)
        noise = torch.randn(posterior.mean.shape, generator=generator).to(posterior.mean.device)
        error = squared_error(batch.centred, batch.transfer, self.field(batch.points, posterior.sample(noise)))
        return error + self.beta * posterior.divergence().mean() / (2 * batch.images.shape[1])

    def pretraining_loss(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        """States are drawn from the prior: images at random poses have nothing to teach about them."""
        z = torch.randn(len(batch.rows), self.field.zdim, generator=generator).to(batch.points.device)
        return squared_error(batch.centred, batch.transfer, self.field(batch.points, z))

    def optimisers(self, learning_rate: float) -> list[torch.optim.Optimizer]:
        return [torch.optim.Adam(self.field.parameters(), lr=learning_rate), self.latents.optimiser(learning_rate)]

    def posterior(self, images: NormalisedImages, rows: Int64[Tensor, " n"]) -> StatePosterior:
        """Of any number of images, without gradient."""
        with torch.no_grad():
            parts = [self.latents(some, images.flipped(some)) for some in rows.split(ROWS_AT_ONCE)]
        return StatePosterior(torch.cat([p.mean for p in parts]), torch.cat([p.log_variance for p in parts]))

    def groups(self, images: NormalisedImages, rows: Int64[Tensor, " n"], each_its_own: bool, seed: int) -> list[Group]:
        """Each image with the nearest of a few anchors among these images' states."""
        z = self.posterior(images, rows).mean
        if each_its_own:
            return [Group(torch.tensor([i], device=rows.device), self.field.at(state)) for i, state in enumerate(z)]
        anchors, nearest = anchors_of(z, MOST_ANCHORS, seed)
        members = [torch.nonzero(nearest == a).squeeze(1) for a in range(len(anchors))]
        return [Group(some, self.field.at(anchor)) for some, anchor in zip(members, anchors, strict=True) if len(some)]

    def field_in_units_of(self, scale: float) -> ConditionedField:
        field = copy.deepcopy(self.field)
        field.plain.profile.amplitude.mul_(scale)
        return field

    def typical_map(self) -> Float[Tensor, "d d d"]:
        """The map at the prior's mean."""
        return self.field.to_volume(torch.zeros(1, self.field.zdim, device=self.field.device))[0]
