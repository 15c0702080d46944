"""Soft masks: circular windows for images, spheres for volumes, and FSC masks made from a map."""

import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor


def _radius_grid(box: int, n_axes: int, device: str | torch.device) -> Tensor:
    axis = torch.arange(box, device=device, dtype=torch.float32) - box // 2
    squared = sum(a**2 for a in torch.meshgrid(*[axis] * n_axes, indexing="ij"))
    return torch.sqrt(squared)  # type: ignore[arg-type]


def _soft_edge(r: Tensor, radius_px: float, edge_px: float) -> Tensor:
    ramp = ((r - radius_px) / max(edge_px, 1e-6)).clamp(0, 1)
    return 0.5 * (1 + torch.cos(torch.pi * ramp))


def circular_window(box: int, radius_px: float, edge_px: float, device: str | torch.device = "cpu") -> Float[Tensor, "d d"]:
    """1 inside radius_px, falling as a raised cosine to 0 at radius_px + edge_px."""
    return _soft_edge(_radius_grid(box, 2, device), radius_px, edge_px)


def sphere(box: int, radius_px: float, edge_px: float, device: str | torch.device = "cpu") -> Float[Tensor, "d d d"]:
    """The same in three dimensions: a sphere, not a cylinder."""
    return _soft_edge(_radius_grid(box, 3, device), radius_px, edge_px)


def around(volume: Float[Tensor, "d d d"], threshold: float, grow_px: float, edge_px: float) -> Float[Tensor, "d d d"]:
    """Soft mask around the density above `threshold`: grown by grow_px, then a raised cosine of edge_px."""
    inside = (volume > threshold).cpu().numpy()
    distance = torch.from_numpy(ndimage.distance_transform_edt(~inside)).float().to(volume.device)
    return _soft_edge(distance, grow_px, edge_px)
