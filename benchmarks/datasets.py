"""Makes the simulated sets on which cryodrake is measured, by name, into a cache folder; a set that is there is kept.

    python benchmarks/datasets.py R1 R2 spike          python benchmarks/datasets.py all --out ../data

Every set: 64 px, 5000 images, shifts ±5 px, defocus 1 to 2.5 µm, white noise. True map: truth/volumes/state_000.mrc.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig

_RIBOSOME, _SPIKE, _BETAGAL = (
    "maps/ribosome80S_100px_4.0A.mrc",
    "models/6vxx_spike_closed.pdb.gz",
    "maps/betagal_D2_100px_3.54A.mrc",
)

# name: (structure in shared/data or None for the built-in complex, symmetry for `evaluate`, options)
SETS: dict[str, tuple[str | None, str, dict[str, Any]]] = {
    "R1": (_RIBOSOME, "C1", {"snr": 0.1}),
    "R2": (_RIBOSOME, "C1", {"snr": 0.03, "seed": 1}),
    "spike": (_SPIKE, "C3", {"snr": 0.1, "seed": 2}),
    "betagal": (_BETAGAL, "D2", {"snr": 0.1, "seed": 3}),
    "preferred": (_RIBOSOME, "C1", {"snr": 0.1, "orientations": "preferred", "preferred_share": 0.9, "seed": 4}),
    "procedural": (None, "C1", {"snr": 0.1, "seed": 5}),
}


def make(name: str, out: Path, shared: Path, **changes: Any) -> Path:
    """The folder of a set, simulated if it is not there yet; `changes` are options that differ.

    Raises:
        KeyError: no set of this name.
        InputError: the map or model is not in `shared`.
    """
    folder = out / name
    if (folder / "particles.star").exists():
        return folder
    structure, _, options = SETS[name]
    structures = () if structure is None else (shared / "data" / structure,)
    config = SimulateConfig(out=folder, structures=structures, **options)
    return simulate(replace(config, **changes))


def main(
    names: tyro.conf.Positional[tuple[str, ...]],
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))] = Path("benchmarks/out/data"),
    shared: Path = Path("../shared"),
) -> None:
    """Make sets.

    Args:
        names: any of R1 R2 spike betagal preferred procedural, or all.
        out: cache folder.
        shared: folder that holds data/maps and data/models.
    """
    for name in SETS if names == ("all",) else names:
        folder = make(name, out, shared)
        print(f"{name}: {folder}/particles.star  truth {folder}/truth/volumes/state_000.mrc  symmetry {SETS[name][1]}")


if __name__ == "__main__":
    tyro.cli(main)
