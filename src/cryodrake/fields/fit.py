"""Fitting a field to a target: regression in shuffled minibatches, Adam with warm-up and cosine decay."""

import math
from dataclasses import dataclass

import torch

from cryodrake.fields.network import AbstractNetworkField
from cryodrake.fields.precision import fast_products
from cryodrake.fields.target import FieldTarget


@dataclass(frozen=True)
class FitSettings:
    """How a network is fitted; measured in benchmarks/bench_fields.py."""

    epochs: int = 8
    """Passes over the half lattice."""
    batch: int = 2048
    """Frequencies per step."""
    learning_rate: float = 4e-3
    """Adam's, at its highest."""
    warmup_steps: int = 50
    """Steps over which it rises."""
    seed: int = 0
    """Of the order of the points."""


def fit_network(field: AbstractNetworkField, target: FieldTarget, settings: FitSettings | None = None) -> list[float]:
    """Fits `field`, in place, to `target`; returns the mean loss of each epoch (1 is the target's own variance)."""
    s = settings or FitSettings()
    field.profile.amplitude.copy_(target.profile)
    device = field.device
    points, values, weights = (x.to(device) for x in (target.points, target.values, target.weights))
    steps = math.ceil(len(points) / s.batch)
    optimiser = torch.optim.Adam(field.parameters(), lr=s.learning_rate, betas=(0.9, 0.99), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda i: _rate(i, s.warmup_steps, s.epochs * steps))
    generator = torch.Generator().manual_seed(s.seed)
    losses = []
    for _ in range(s.epochs):
        order = torch.randperm(len(points), generator=generator).to(device)
        total = torch.zeros((), device=device)
        for rows in order.chunk(steps):
            with fast_products(device):
                prediction = field.whitened(points[rows])
            loss = ((prediction.float() - values[rows]) ** 2 * weights[rows, None]).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.detach()
        losses.append(total / steps)
    return [float(x) for x in losses]


def _rate(step: int, warmup: int, total: int) -> float:
    rising = min(1.0, (step + 1) / (min(warmup, total // 4) + 1))
    return rising * 0.5 * (1 + math.cos(math.pi * step / total))
