"""Integer frequencies of a box: the half space kx >= 0 on which fields are evaluated, and back to whole transforms."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor


def half_lattice(box: int, radius: float, device: str | torch.device = "cpu") -> Float[Tensor, "p 3"]:
    """All integer (kx, ky, kz) with kx >= 0 and |k| <= radius that have their mate -k in a `box`-voxel transform.

    The whole plane kx = 0 is in it, both mates of each pair: a field trained on it is continuous across the plane.
    """
    reach = min(int(radius), box // 2 - 1)
    axis = torch.arange(-reach, reach + 1, device=device, dtype=torch.float32)
    z, y, x = torch.meshgrid(axis, axis, axis[reach:], indexing="ij")
    points = torch.stack([x, y, z], dim=-1).reshape(-1, 3)
    return points[points.norm(dim=1) <= radius]


def _flat_index(points: Float[Tensor, "p 3"], box: int) -> Tensor:
    x, y, z = (points.long() + box // 2).unbind(1)
    return (z * box + y) * box + x


def gather(coeff: Complex[Tensor, "r d d d"], points: Float[Tensor, "p 3"]) -> Float[Tensor, "p c"]:
    """Values of centred transforms at integer frequencies, 0 beyond their box; c = 2r columns (re, im) per component."""
    box = coeff.shape[-1]
    known = points.abs().amax(dim=1, keepdim=True) < box // 2
    values = coeff.flatten(1)[:, _flat_index(points * known, box)]
    return torch.view_as_real(values.T.contiguous()).flatten(1) * known


def scatter(values: Float[Tensor, "p c"], points: Float[Tensor, "p 3"], box: int) -> Complex[Tensor, "r d d d"]:
    """Centred transforms with `values` at `points`, their conjugates at -points, zero elsewhere; differentiable."""
    columns = torch.view_as_complex(values.float().unflatten(1, (-1, 2)).contiguous()).T
    full = columns.new_zeros(columns.shape[0], box**3)
    full = full.index_copy(1, _flat_index(-points, box), columns.conj().resolve_conj())
    return full.index_copy(1, _flat_index(points, box), columns).unflatten(1, (box, box, box))
