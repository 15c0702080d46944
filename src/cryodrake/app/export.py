"""`cryodrake export`: a job's particles with what was found of them, for RELION, cryoSPARC or cryoDRGN."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from cryodrake.analysis.export_config import ExportConfig


def main(config: ExportConfig) -> None:
    """Writes the files, and says which.

    Raises:
        InputError: there is no such job, the format cannot be made from it, or a file is there already.
    """
    from cryodrake.analysis.export_formats import write_cryodrgn, write_cs, write_star
    from cryodrake.analysis.export_particles import job_results
    from cryodrake.analysis.job_particles import datadir
    from cryodrake.analysis.stack_paths import where_stacks_are
    from cryodrake.app.folders import refuse_taken
    from cryodrake.io.cryodrgn import write_poses
    from cryodrake.io.mrc import read_map, write_map

    out = config.out
    flipped_maps = maps_to_flip(config) if config.flip else {}
    for target in (out, *flipped_maps.values()):
        refuse_taken(target)
    results = job_results(config)
    written = [out]
    match out.suffix:
        case ".star":
            write_star(out, results)
        case ".cs":
            write_cs(out, results)
        case ".pkl":
            write_poses(out, results.table)
        case _:
            written = write_cryodrgn(out, results)
    for path, target in flipped_maps.items():
        volume, pixel_size_A = read_map(path)
        write_map(target, flipped_map(volume), pixel_size_A)
    found = f", found in {config.onto} {results.words}" if results.words else ""
    print("\n".join(map(str, (*written, *flipped_maps.values()))))
    print(f"{len(results.rows):,} particles{found}")
    stacks_in = config.datadir or (None if config.onto else datadir(config.job))
    note = where_stacks_are(results.target.raw.stack_names, out, results.target.path, stacks_in)
    if note:
        print(note)


def maps_to_flip(config: ExportConfig) -> dict[Path, Path]:
    """The job's maps, those of its states and classes among them, and where each goes: into the folder, or beside the file.

    Those of classes/class_02/maps have class_02 before their names.
    """
    out = config.out
    named: dict[Path, str] = {}
    folders = {"": config.job / "maps"} | {f"{c.name}_": c / "maps" for c in sorted(config.job.glob("classes/class_*/"))}
    for prefix, folder in folders.items():
        named |= {path: prefix + "_".join(path.relative_to(folder).parts) for path in sorted(folder.rglob("*.mrc"))}
    return {path: out / name if out.suffix == "" else out.with_name(f"{out.stem}_{name}") for path, name in named.items()}


def flipped_map(volume: Float[np.ndarray, "d d d"]) -> Float[np.ndarray, "d d d"]:
    """The map (z, y, x) mirrored in z about its centre, index d//2; the first plane of an even box mirrors itself."""
    return np.roll(volume[::-1], 1 - volume.shape[0] % 2, axis=0)
