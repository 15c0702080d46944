"""Which reader a particle file is for, by its name."""

from pathlib import Path

from cryodrake.errors import InputError
from cryodrake.io.cryosparc import read_cryosparc
from cryodrake.io.raw import RawParticles
from cryodrake.io.relion import read_relion
from cryodrake.io.stacks import read_stack_list


def read_raw(path: Path, datadir: str | Path | None = None, with_ctf: bool = True) -> RawParticles:
    """What a particle file says.

    Raises:
        InputError: no such file, no such kind of file, or as its reader.
    """
    if not path.is_file():
        raise InputError("there is no such file", where=path)
    match [suffix.lower() for suffix in path.suffixes]:
        case [*_, ".star"]:
            return read_relion(path, with_ctf)
        case [*_, ".cs"]:
            return read_cryosparc(path, with_ctf)
        case [*_, ".mrcs" | ".mrc" | ".txt"] | [*_, ".mrcs" | ".mrc", ".gz" | ".bz2"]:
            return read_stack_list(path, datadir)
    raise InputError(
        "is no kind of particle file that we know",
        where=path,
        expected=".star, .cs, .mrcs or .mrc (also .gz, .bz2), or a .txt list of stacks",
    )
