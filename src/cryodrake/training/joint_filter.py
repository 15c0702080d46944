"""What stands out from noise in several components at once, at each place and scale.

What a structure does, it does in few places, and in each in few ways: one domain turns, another is there or not. So at a place
and scale the components vary together along few directions; along the others they are noise, as nearly everywhere they are along
all. With T the local mean of the products of the components and N that of their noise, both z × z, of the components is kept

    T² (T² + c² N²)⁻¹      in coordinates in which N is the identity:

what is far stronger than noise stays, what is as strong as noise goes to 1/(1 + c²). It is the Wiener filter of `local_filter` for
several maps that share what they show, and sharper, as T is told by few independent voxels.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cryodrake.physics.fourier import half_to_volume, volume_to_half
from cryodrake.training.local_filter import bands, half_shells

POOLED_PX = 2  # edge of the blocks in which weights are the same
FAINTEST = 0.3  # of the places: nothing varies there
PASSES = 4  # in which the faintest are found
TINY = 1e-6  # of the noise's mean variance, so that it has an inverse
NOTHING = 1e-30


def filter_jointly(
    components: Float[Tensor, "z d d d"],
    windows: Iterable[Float[Tensor, "d d h"]],
    mask: Float[Tensor, "d d d"],
    sharpness: float,
    noise: Float[Tensor, "b z z"] | None = None,
) -> Float[Tensor, "z d d d"]:
    """The components where they stand out, and nothing outside the mask; d is even.

    Args:
        windows: of bands that add up to 1 (`thirds`, `local_filter.bands`).
        sharpness: c.
        noise: the covariance of the components' noise in each band; where it is not known, that of the faintest places.
    """
    inside = _means(mask[None])[0] > 0.5
    filtered = torch.zeros_like(components)
    half = volume_to_half(components)
    for number, window in enumerate(windows):
        band = half_to_volume(half * window)
        products = _local_products(band, inside)
        level = _of_faintest(products) if noise is None else noise[number]
        filtered += _in_blocks(_weights(products, level, sharpness), band, inside)
    return filtered * mask


def thirds(box: int, radius: float, device: torch.device) -> list[Float[Tensor, "d d h"]]:
    """Windows over three thirds of the shells up to `radius`, overlapping, the last of which goes on."""
    shell = half_shells(box, device).clamp(max=radius) / (radius / 3)
    first, second, third, last = ((1 - (shell - i).abs()).clamp(min=0) for i in range(4))
    return [first + second, third, last]  # the first are few voxels


def band_covariance(components: Float[Tensor, "z d d d"], mask: Float[Tensor, "d d d"]) -> Float[Tensor, "b z z"]:
    """Mean products of the components within the mask, in each of `local_filter.bands`."""
    inside = mask > 0.5
    half = volume_to_half(components)
    parts = (half_to_volume(half * window)[:, inside] for window in bands(mask.shape[-1], mask.device))
    return torch.stack([part @ part.T / part.shape[1] for part in parts])


def _local_products(band: Float[Tensor, "z d d d"], inside: Bool[Tensor, "e e e"]) -> Float[Tensor, "p z z"]:
    """Local means of the components' products, at the blocks that are inside."""
    z = len(band)
    products = band.new_empty(int(inside.sum()), z, z)
    for i, one in enumerate(band):
        products[:, i, i:] = _smooth(_means(one * band[i:]))[:, inside].T
        products[:, i:, i] = products[:, i, i:]
    return products


def _means(volumes: Float[Tensor, "m d d d"]) -> Float[Tensor, "m e e e"]:
    """Of blocks."""
    return torch.nn.functional.avg_pool3d(volumes[None], POOLED_PX)[0]


def _smooth(means: Float[Tensor, "m e e e"]) -> Float[Tensor, "m e e e"]:
    """Weighted 1, 2, 1 along each axis: with the blocks, a standard deviation of 1.5 px, as in the local filter.

    No weight is negative, as a Gaussian's would be where it is cut off in Fourier space: means of products stay covariances.
    """
    padded = torch.nn.functional.pad(means[None], (1,) * 6, mode="replicate")
    for _ in range(2):
        padded = torch.nn.functional.avg_pool3d(padded, 2, stride=1)
    return padded[0]


def _of_faintest(products: Float[Tensor, "p z z"]) -> Float[Tensor, "z z"]:
    """Mean over the places where components are faintest, in terms of that mean."""
    noise = products.mean(0)
    for _ in range(PASSES):
        power = (products * torch.linalg.inv(_regular(noise))).sum((1, 2))
        faintest = power.argsort()[: max(1, int(FAINTEST * len(power)))]
        noise = products[faintest].mean(0)
    return noise


def _weights(products: Float[Tensor, "p z z"], noise: Float[Tensor, "z z"], sharpness: float) -> Float[Tensor, "p z z"]:
    """The matrices by which components are multiplied; in double precision, as the strongest's square is far above the floor."""
    factor = torch.linalg.cholesky(_regular(noise.double()))
    white = torch.linalg.inv(factor)
    squared = torch.linalg.matrix_power(white @ products.double() @ white.T, 2)
    floor = sharpness**2 * torch.eye(len(noise), dtype=factor.dtype, device=noise.device)
    return (factor @ torch.linalg.solve(squared + floor, squared) @ white).to(products)


def _regular(noise: Float[Tensor, "z z"]) -> Float[Tensor, "z z"]:
    """With an inverse, though a component be nothing."""
    least = (TINY * noise.trace() / len(noise)).clamp(min=NOTHING)
    return noise + least * torch.eye(len(noise), device=noise.device)


def _in_blocks(
    weights: Float[Tensor, "p z z"], band: Float[Tensor, "z d d d"], inside: Bool[Tensor, "e e e"]
) -> Float[Tensor, "z d d d"]:
    """Each block times its weights, nothing elsewhere."""
    e = len(inside)
    blocks = band.unflatten(1, (e, POOLED_PX)).unflatten(3, (e, POOLED_PX)).unflatten(5, (e, POOLED_PX))
    blocks = blocks.permute(0, 1, 3, 5, 2, 4, 6)  # z e e e, then within
    out = torch.zeros_like(blocks)
    values = torch.einsum("pij,jpabc->ipabc", weights, blocks[:, inside])
    out[:, inside] = values
    return out.permute(0, 1, 4, 2, 5, 3, 6).reshape(band.shape)
