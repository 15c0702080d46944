"""The coordinate network of cryoDRGN and cryoDRGN2: Gaussian Fourier features, residual layers, one linear output.

Zhong et al. (2021) Nat. Methods 18, 176 and (2021) ICCV, p. 4066. Theirs at D = 128 has 192 positions (384 features), σ of
`cryodrgn_sigma_px` and 3 layers of 256 to 1024; ours has more features, a σ from the particle's radius, and fewer layers,
which fits a map an order of magnitude faster (docs/log.md).
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cryodrake.fields.encodings import SIGMA_PER_RADIUS, GaussianFourierFeatures, cryodrgn_sigma_px
from cryodrake.fields.network import AbstractNetworkField


class ResidualLayer(nn.Module):
    """relu(x + Wx + b)."""

    def __init__(self, width: int):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "p w"]) -> Float[Tensor, "p w"]:
        return torch.relu(x + self.linear(x))


class MLPField(AbstractNetworkField):
    """features(k) -> linear, relu -> `depth` residual layers of `width` -> 2r outputs.

    Args:
        sigma_px: spread of the features' positions in voxels of the reference box.
        positions: how many; features are twice as many.
        seed: of positions and weights.
    """

    def __init__(
        self,
        box: int,
        box_A: float,
        sigma_px: float,
        positions: int = 512,
        width: int = 256,
        depth: int = 1,
        components: int = 1,
        seed: int = 0,
    ):
        super().__init__(box, box_A, components)
        self._settings = {"sigma_px": sigma_px, "positions": positions, "width": width, "depth": depth, "seed": seed}
        self.encoding = GaussianFourierFeatures(box, positions, sigma_px, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers: list[nn.Module] = [nn.Linear(2 * positions, width), nn.ReLU()]
            layers += [ResidualLayer(width) for _ in range(depth)]
            self.network = nn.Sequential(*layers)
            self.output = nn.Linear(width, 2 * components)

    @classmethod
    def for_particle(cls, box: int, box_A: float, radius_px: float, components: int = 1, seed: int = 0) -> "MLPField":
        """The default network for a particle of `radius_px`."""
        return cls(box, box_A, SIGMA_PER_RADIUS * radius_px, components=components, seed=seed)

    @classmethod
    def cryodrgn2(cls, box: int, box_A: float, width: int = 256, seed: int = 0) -> "MLPField":
        """The published decoder: 3·box/2 positions (384 features for 128), 3 residual layers."""
        return cls(box, box_A, cryodrgn_sigma_px(box), positions=3 * (box // 2), width=width, depth=3, seed=seed)

    def hidden(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p w"]:
        """What the output layer sees."""
        return self.network(self.encoding(points))

    def whitened(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p c"]:
        return self.output(self.hidden(points))

    def settings(self) -> dict[str, Any]:
        return {"box": self.box, "box_A": self.box_A, "components": self.components, **self._settings}
