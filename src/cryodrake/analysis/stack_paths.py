"""What to say of a particle file that was written elsewhere than the one whose stacks it names: paths stay as they were."""

from collections.abc import Sequence
from pathlib import Path

from cryodrake.io.stacks import stack_places


def where_stacks_are(names: Sequence[str], out: Path, source: Path, datadir: Path | None = None) -> str | None:
    """A sentence on what the stacks' paths are relative to, judged by the first; None where they are found from `out`.

    Args:
        out: the new particle file.
        source: the one that the names are from, whose stacks may be in `datadir`.
    """
    if not names or out.suffix != ".star" or Path(names[0]).is_absolute():
        return None
    name, here = names[0], out.resolve().parent
    if any((folder / name).is_file() for folder in (here, *here.parents)) or (here / Path(name).name).is_file():
        return None
    places = stack_places(name, source, datadir)
    if datadir is not None:
        places += stack_places(name, datadir / source.name)  # and in the folders above it
    found = next((place.absolute() for place in places if place.is_file()), None)
    if found is None:
        base = (source.parent if datadir is None else datadir).resolve()
    else:
        base = found.parents[len(Path(name).parts) - 1] if found.as_posix().endswith(f"/{name}") else found.parent
    return f"the stack paths in it are relative to {base}: run from there, or give --datadir {base}"
