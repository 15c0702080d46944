"""The interface of every field that depends on a state z: its map at any state."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

Decode = Callable[[Float[Tensor, " z"]], Float[Tensor, "d d d"]]


class AbstractStateField(nn.Module, ABC):
    """V(k; z).

    Attributes:
        box, box_A: of the reference box, see `AbstractField`.
        zdim: coordinates of a state.
    """

    def __init__(self, box: int, box_A: float, zdim: int):
        super().__init__()
        self.box = box
        self.box_A = float(box_A)
        self.zdim = zdim

    @property
    def device(self) -> torch.device:
        """Where the field's tensors are."""
        return next(iter(self.state_dict().values())).device

    @abstractmethod
    def decoder(self, box: int | None = None, box_A: float | None = None) -> Decode:
        """From one state to its map of `box` voxels, `box_A` Å wide (default: the reference box's)."""

    def volumes(
        self, z: Float[Tensor, "b z"], box: int | None = None, box_A: float | None = None
    ) -> Iterator[Float[Tensor, "d d d"]]:
        """Maps of these states one by one, for more states than memory holds."""
        yield from map(self.decoder(box, box_A), z)

    def to_volume(self, z: Float[Tensor, "b z"], box: int | None = None, box_A: float | None = None) -> Float[Tensor, "b d d d"]:
        """The same maps at once."""
        return torch.stack(list(self.volumes(z, box, box_A)))
