"""The numbers of the published algorithm, as plain data (Zhong et al. 2021, ICCV, p. 4066; its program's defaults)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Epochs count from 1; epoch 0 is the training with random poses."""

    epochs: int = 30
    """Passes over the images."""
    search_every: int = 5
    """Epochs 1, 6, 11 … find poses; the others use those found last."""
    pretraining_images: int = 10_000
    """Images seen with random poses first, in as many passes as it takes."""
    batch: int = 16
    """Images to a step."""
    learning_rate: float = 1e-4
    """Adam's."""
    grid_order: int = 2
    """Of the first grid of rotations: 192 directions × 24 in-plane angles, 15°."""
    shifts_a_side: int = 14
    """Of the first square grid of shifts."""
    shift_extent: float = 10 / 128
    """Its half width as a fraction of the box: ±10 px at 128 px."""
    keep: int = 8
    """Rotations kept at each level, each with its best shift."""
    levels: int = 4
    """Times that kept poses are cut into 8 rotations and seen with all shifts of the grid, each time at half its size."""
    first_radius: float = 12.0
    """Of the first grid's search, cycles per box."""
    last_radius: float = 32.0
    """Of the last level's, linear between."""
    ramp_epochs: int = 0
    """Epochs over which the last radius grows from the first; 0: it is always what it is."""
    block: int = 1024
    """Images searched at a time, before the network is trained on them. Theirs: one batch."""

    def searches(self, epoch: int) -> bool:
        """Whether this epoch finds poses."""
        return epoch >= 1 and (epoch - 1) % self.search_every == 0

    def radii(self, epoch: int, box: int) -> list[float]:
        """Radius of each level of this epoch's search, the first grid's first; never beyond the images' own."""
        grown = min(1.0, (epoch - 1) / self.ramp_epochs) if self.ramp_epochs else 1.0
        step = grown * (self.last_radius - self.first_radius) / self.levels
        return [min(self.first_radius + step * level, box / 2) for level in range(self.levels + 1)]


RIGID = Schedule(ramp_epochs=25)
FLEXIBLE = Schedule()
