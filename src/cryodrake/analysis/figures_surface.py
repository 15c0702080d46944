"""A shaded picture of a map's isosurface, in software and in some tens of milliseconds.

The map is turned so that the view is along z (first index nearest), each pixel's column is followed to its first
crossing of the level, and the density's gradient there is the surface's normal. The edge is smoothed by how far, in
pixels, the column's largest density stands above the level. No mesh is made.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from scipy import ndimage
from skimage.filters import threshold_otsu
from torch import Tensor

# (z, y, x) of the direction towards the lamp: in front, above (rows count downwards) and to the left.
LIGHT = torch.nn.functional.normalize(torch.tensor([-0.75, -0.50, -0.43]), dim=0)
FAR_SIDE = torch.tensor([0.20, 0.30, 0.48])
NEAR_SIDE = torch.tensor([0.64, 0.81, 0.96])


def contour_level(volume: Float[Tensor, "d d d"], radius_share: float = 0.85) -> float:
    """Otsu's level between particle and surroundings, within a sphere of this share of the half box."""
    inside = _sphere(volume.shape[0], radius_share)
    return float(threshold_otsu(volume[inside].numpy()))


def level_of_share(volume: Float[Tensor, "d d d"], share: float, radius_share: float = 0.85) -> float:
    """The level above which this share of the sphere's voxels lies: stages drawn at one share are equally large."""
    inside = volume[_sphere(volume.shape[0], radius_share)]
    rank = min(max(round((1 - share) * inside.numel()), 1), inside.numel())
    return float(inside.kthvalue(rank).values)


def share_above(volume: Float[Tensor, "d d d"], level: float, radius_share: float = 0.85) -> float:
    """Share of the sphere's voxels above the level."""
    return float((volume[_sphere(volume.shape[0], radius_share)] > level).float().mean())


def without_dust(volume: Float[Tensor, "d d d"], level: float, smallest_share: float = 0.03) -> Float[Tensor, "d d d"]:
    """The map with bodies above the level hidden that are smaller than this share of the largest."""
    bodies, _ = ndimage.label((volume > level).numpy())
    sizes = torch.from_numpy(bodies).flatten().bincount()
    sizes[0] = 0
    dust = (sizes < smallest_share * sizes.max())[torch.from_numpy(bodies).long()] & torch.from_numpy(bodies > 0)
    return torch.where(dust, volume.new_tensor(level - 1e-3 * abs(level)), volume)


def shade(
    volume: Float[Tensor, "d d d"], level: float, rotation: Float[Tensor, "3 3"], pixels: int = 256, zoom: float = 1.0
) -> UInt8[Tensor, "p p 4"]:
    """Picture (rows, columns, RGBA) of the surface at `level`.

    Args:
        rotation: turns the map before it is looked at along z: the view's z axis is R's third row, as for images.
        zoom: 1 shows the whole box.
    """
    turned = _turn(volume, rotation, zoom)
    columns = F.interpolate(turned[None], size=(pixels, pixels), mode="bilinear", align_corners=False)[0]
    box = len(turned)
    from_behind = (columns > level) * torch.arange(box, 0, -1, dtype=torch.int16)[:, None, None]
    nearest = from_behind.amax(0)  # ten times faster than argmax
    is_hit, front = nearest > 0, (box - nearest).long().clamp(1, box - 1)
    here, before = (columns.gather(0, (front - i)[None])[0] for i in (0, 1))
    depth = front - ((here - level) / (here - before).clamp(min=1e-12)).clamp(0, 1)
    normal = _normal(turned, depth)
    colour = _colour(normal, depth / box, is_hit)
    alpha = _coverage(columns.amax(0) - level)
    picture = torch.cat([colour, alpha[None]]).clamp(0, 1) * 255
    return picture.round().byte().permute(1, 2, 0)


def _sphere(box: int, radius_share: float) -> Tensor:
    axis = torch.arange(box) - box // 2
    squared = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    return squared < (radius_share * box / 2) ** 2


def _turn(volume: Tensor, rotation: Tensor, zoom: float) -> Tensor:
    """The map on the view's grid: density at view point p is the map's at Rᵀp, as for projections."""
    box = volume.shape[0]
    axis = (torch.arange(box, dtype=torch.float32) - box // 2) / zoom
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    points = torch.stack([x, y, z], dim=-1) @ rotation.float()  # p as a row times R is (Rᵀp) as a row
    unit = (points + box // 2 + 0.5) * (2 / box) - 1  # voxel centres as grid_sample counts them, x first
    return F.grid_sample(volume.float()[None, None], unit[None], align_corners=False)[0, 0]


def _normal(turned: Tensor, depth: Tensor) -> Tensor:
    """(3 p p), components (z, y, x): outwards, against the density's gradient at the crossing."""
    pixels, box = depth.shape[0], turned.shape[0]
    gradient = torch.stack(torch.gradient(turned))
    across = (torch.arange(pixels) + 0.5) * (2 / pixels) - 1
    y, x = torch.meshgrid(across, across, indexing="ij")
    points = torch.stack([x, y, (depth + 0.5) * (2 / box) - 1], dim=-1)
    at_crossing = F.grid_sample(gradient[None], points[None, None], align_corners=False)[0, :, 0]
    return -at_crossing / at_crossing.square().sum(0).sqrt().clamp(min=1e-12)


def _colour(normal: Tensor, depth: Tensor, is_hit: Tensor) -> Tensor:
    """(3 p p) RGB: one lamp, light from all around, hollows darker, the far side darker."""
    lit = torch.einsum("z,zyx->yx", LIGHT, normal).clamp(min=0)
    half_way = F.normalize(LIGHT + torch.tensor([-1.0, 0.0, 0.0]), dim=0)
    gloss = torch.einsum("z,zyx->yx", half_way, normal).clamp(min=0) ** 24
    nearest, farthest = depth[is_hit].aminmax() if is_hit.any() else (depth.new_tensor(0), depth.new_tensor(1))
    nearness = 1 - (depth - nearest) / (farthest - nearest).clamp(min=1e-6)
    body = FAR_SIDE[:, None, None] + (NEAR_SIDE - FAR_SIDE)[:, None, None] * nearness.clamp(0, 1)
    light = (0.38 + 0.75 * lit) * _openness(depth, is_hit)
    return body * light + 0.18 * gloss


def _openness(depth: Tensor, is_hit: Tensor) -> Tensor:
    """Below 1 in hollows: where the surroundings within a twentieth of the picture stand nearer to the eye."""
    pair = torch.stack([torch.where(is_hit, depth, 0 * depth), is_hit.float()])
    blurred = torch.from_numpy(ndimage.gaussian_filter(pair.numpy(), depth.shape[0] / 50, axes=(1, 2), truncate=2))
    hollow = depth - blurred[0] / blurred[1].clamp(min=1e-6)
    return (1 - 6 * hollow.clamp(min=0)).clamp(min=0.45)


def _coverage(above: Tensor) -> Tensor:
    """Share of a pixel that the surface covers: 0.5 where the largest density of its column is the level."""
    down, across = torch.gradient(above)
    return (0.5 + above / torch.hypot(down, across).clamp(min=1e-6)).clamp(0, 1)
