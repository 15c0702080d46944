"""All that the run needs to go on, poses included: tensors and numbers of one checkpoint.

A step is a pure function of these, the images and the options, with generators seeded by epoch and place in it.
"""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cryodrake.training.cryodrgn2.model import AbstractModel


@dataclass
class Progress:
    """Attributes:
    epoch: at work, 0 while poses are random; done, searched: images of it that were trained on, and whose poses were found.
    loss: sum over the images done; turned_deg: over those searched, of how far their rotations moved; moved: how many of them the
        search found elsewhere than the one before.
    history: one entry per finished epoch.
    """

    epoch: int = 0
    done: int = 0
    searched: int = 0
    loss: float = 0.0
    turned_deg: float = 0.0
    moved: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(eq=False)
class PoseTable:
    """Poses found last; confidence: see `search.share_of_best`; half: 1 or 2."""

    rotation: Float[Tensor, "n 3 3"]
    shift_px: Float[Tensor, "n 2"]
    confidence: Float[Tensor, " n"]
    half: Int64[Tensor, " n"]

    @classmethod
    def first(cls, half: Int64[Tensor, " n"]) -> "PoseTable":
        """Nothing found."""
        n, device = len(half), half.device
        nothing = torch.zeros(n, 2, device=device)
        return cls(torch.eye(3, device=device).expand(n, 3, 3).clone(), nothing, torch.zeros(n, device=device), half)


def pack(
    progress: Progress, poses: PoseTable, model: AbstractModel, optimisers: list[torch.optim.Optimizer]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON-able numbers of a checkpoint."""
    tensors = {f"poses.{f.name}": getattr(poses, f.name) for f in fields(poses)}
    tensors |= {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for i, optimiser in enumerate(optimisers):
        for parameter, kept in optimiser.state_dict()["state"].items():
            # Adam counts its steps in a tensor, SparseAdam in a number.
            tensors |= {f"optimiser.{i}.{parameter}.{name}": torch.as_tensor(value) for name, value in kept.items()}
    return tensors, asdict(progress)


def unpack(
    tensors: dict[str, Tensor],
    meta: dict[str, Any],
    model: AbstractModel,
    optimisers: list[torch.optim.Optimizer],
    device: torch.device,
) -> tuple[Progress, PoseTable]:
    """Inverse of `pack`: fills model and optimisers, returns the others."""
    groups: dict[str, dict[str, Tensor]] = {"poses": {}, "model": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        kind, rest = name.split(".", 1)
        groups[kind][rest] = tensor
    model.load_state_dict(groups["model"])
    kept: list[dict[int, dict[str, Any]]] = [{} for _ in optimisers]
    for name, tensor in groups["optimiser"].items():
        i, parameter, key = name.split(".")
        value = tensor if tensor.is_floating_point() else int(tensor)
        kept[int(i)].setdefault(int(parameter), {})[key] = value
    for optimiser, state in zip(optimisers, kept, strict=True):
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return Progress(**meta), PoseTable(**{name: tensor.to(device) for name, tensor in groups["poses"].items()})
