"""`cryodrake fsc`: how far two maps agree, with the mask's share taken off."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from cryodrake.data.seeds import check_seed


@dataclass(frozen=True)
class FscConfig:
    """Two maps on one grid, such as half maps; a mask on the same grid."""

    first: tyro.conf.Positional[Path]
    """A map (.mrc)."""
    second: tyro.conf.Positional[Path]
    """The other map, of the same box and voxel size."""
    mask: Path | None = None
    """Soft mask; its own share of the agreement is found by randomised phases and taken off (Chen et al. 2013)."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=("-o",))] = None
    """Folder for fsc.csv, fsc.png and fsc.xml (EMDB's format). Default: the words alone."""
    seed: int = 0
    """Seed of the random phases."""

    def __post_init__(self) -> None:
        check_seed(self.seed)


def main(config: FscConfig) -> None:
    """Prints what the curves say, and writes them.

    Raises:
        InputError: the maps or the mask cannot be read or do not lie on one grid, or the folder is taken.
    """
    from cryodrake.analysis.figures_curves import write_fsc
    from cryodrake.analysis.map_agreement import compare_maps
    from cryodrake.app.folders import make_folder, refuse_taken
    from cryodrake.io.emdb import write_fsc_xml

    if config.out is not None:
        refuse_taken(config.out)
    found = compare_maps(config.first, config.second, config.mask, config.seed)
    print("\n".join(found.words))
    if config.out is not None:
        make_folder(config.out)
        picture, table = write_fsc(config.out / "fsc.png", found.table)
        curve = found.table.iloc[:, -1].to_numpy()
        title = "FSC" if config.mask is None else "FSC, corrected for the mask"
        xml = write_fsc_xml(config.out / "fsc.xml", found.table["frequency_inv_A"].to_numpy(), curve, title)
        print(f"  {picture}  the curves\n  {table}  their numbers\n  {xml}  the last of them, as EMDB takes it")
