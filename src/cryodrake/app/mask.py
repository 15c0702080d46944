"""`cryodrake mask`: a soft mask around a map's density, and how much density that is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from cryodrake.errors import InputError

FINEST_VOXELS = 3.0  # a low-pass filter at fewer voxels than that does next to nothing


@dataclass(frozen=True)
class MaskConfig:
    """The map, and how the mask lies around it."""

    map: tyro.conf.Positional[Path]
    """A map (.mrc)."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))]
    """The mask to write (.mrc), on the map's grid."""
    lowpass_A: float | None = None
    """Low-pass filter before the level is taken, in Å. Default: 15, or three voxels where those are more."""
    level: float | None = None
    """Density from which on the low-passed map is particle. Default: Otsu's, between particle and surroundings."""
    mass_kDa: float | None = None
    """Or: the level that encloses the volume of a protein of this mass."""
    extend_px: float = 3.0
    """Voxels that the mask goes beyond that density."""
    edge_px: float = 6.0
    """Width of the soft edge beyond these, in voxels."""

    def __post_init__(self) -> None:
        if self.level is not None and self.mass_kDa is not None:
            raise InputError("--level and --mass-kDa do not go together", expected="one of them, or neither")
        for name in ("lowpass_A", "mass_kDa", "extend_px", "edge_px"):
            value, may_be_0 = getattr(self, name), name.endswith("_px")
            if value is not None and not (value > 0 or (value == 0 and may_be_0)):
                expected = "0 or a positive number" if may_be_0 else "a positive number"
                raise InputError(f"{name} is {value}", where=f"--{name.replace('_', '-')}", expected=expected)


def default_lowpass_A(pixel_size_A: float) -> float:
    """15 Å shows the shape of a protein and little noise; coarse voxels need more."""
    return max(15.0, FINEST_VOXELS * pixel_size_A)


def main(config: MaskConfig) -> None:
    """Writes the mask and says what it encloses.

    Raises:
        InputError: the map cannot be read, the level encloses nothing, or the file is there already.
    """
    from cryodrake.analysis.map_mask import mask_of_map
    from cryodrake.analysis.map_pair import read_finite
    from cryodrake.app.folders import refuse_taken_file
    from cryodrake.io.mrc import write_map

    refuse_taken_file(config.out, ".mrc")
    volume, pixel_size_A = read_finite(config.map)
    lowpass_A = config.lowpass_A or default_lowpass_A(pixel_size_A)
    found = mask_of_map(volume, pixel_size_A, lowpass_A, config.extend_px, config.edge_px, config.level, config.mass_kDa)
    write_map(config.out, found.mask.numpy(), pixel_size_A)
    print(f"level {found.level:.5g} of the map low-passed to {lowpass_A:.3g} Å encloses {found.volume_A3:,.0f} Å³")
    print(f"as protein that is {found.mass_kDa:,.0f} kDa (1.212 Å³ a dalton); nucleic acid is denser and would be more")
    print(f"  {config.out}  the mask, {found.share:.1%} of the box")
