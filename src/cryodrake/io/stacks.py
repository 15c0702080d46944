"""The image stacks of a particle file: finding them, opening them, and whether they fit the file."""

from pathlib import Path

import numpy as np
from jaxtyping import Int

from cryodrake.errors import InputError
from cryodrake.io.mrc import MrcStack
from cryodrake.io.raw import RawParticles


def find_stack(name: str, particle_file: Path, datadir: str | Path | None = None) -> Path:
    """Where the image stack `name` of a particle file is: the first of its `stack_places` that is there.

    Raises:
        InputError: it is nowhere; says what was tried.
    """
    tried = stack_places(name, particle_file, datadir)
    for candidate in tried:
        if candidate.is_file():
            return candidate
    raise InputError(
        f"the image stack {name} is not there; tried:\n    " + "\n    ".join(map(str, tried)),
        where=particle_file,
        do="give the folder that holds the stacks with --datadir",
    )


def stack_places(name: str, particle_file: Path, datadir: str | Path | None = None) -> list[Path]:
    """Where an image stack may be, in turn: under `datadir`, with and without its folders; from the working folder; from the
    particle file's folder and each folder above it (RELION's or cryoSPARC's project folder is one of them); beside the file.
    """
    folder = particle_file.resolve().parent
    places = [] if datadir is None else [Path(datadir) / name, Path(datadir) / Path(name).name]
    places += [Path.cwd() / name, *(base / name for base in (folder, *folder.parents)), folder / Path(name).name]
    return list(dict.fromkeys(places))


def read_stack_list(path: Path, datadir: str | Path | None) -> RawParticles:
    """Every image of a stack (.mrcs, .mrc), or of the stacks that a .txt names, one a line, # for comments.

    Raises:
        InputError: an empty list, or as `find_stack` and `MrcStack`.
    """
    paths = [path]
    if path.suffix.lower() == ".txt":
        try:
            lines = [line.strip() for line in path.read_text().splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot be read: {error}", where=path) from error
        paths = [find_stack(line, path, datadir) for line in lines if line and not line.startswith("#")]
    if not paths:
        raise InputError("lists no stacks", where=path, expected="one .mrcs path a line")
    lengths = [len(MrcStack(stack)) for stack in paths]
    return RawParticles(
        stack_names=tuple(str(stack.resolve()) for stack in paths),
        stack_of=np.repeat(np.arange(len(paths)), lengths),
        index=np.concatenate([np.arange(length) for length in lengths]),
        notes=("no CTF in the file: C = 1",),
    )


def open_stacks(raw: RawParticles, path: Path, datadir: str | Path | None) -> tuple[MrcStack, ...]:
    """Open (the headers of) all stacks of a particle file, and see that they hold its images.

    Raises:
        InputError: as `find_stack` and `MrcStack`; images not square, or odd; an index beyond the end of its stack.
    """
    stacks = tuple(MrcStack(find_stack(name, path, datadir)) for name in raw.stack_names)
    for stack in stacks:
        _, rows, columns = stack.shape
        if rows != columns or columns % 2:
            raise InputError(
                f"the images are {columns} × {rows} pixels",
                where=stack.path,
                expected="square images of an even size",
                do="crop or pad them, for instance with relion_image_handler --new_box",
            )
    length = np.array([len(stack) for stack in stacks])[raw.stack_of]
    beyond = (raw.index >= length) | (raw.index < 0)
    if beyond.any():
        row = int(beyond.argmax())
        stack = stacks[raw.stack_of[row]]
        raise InputError(
            f"wants image {raw.index[row] + 1} of {stack.path}, which has {len(stack)}",
            where=f"{path}, particle {row + 1}",
            expected="rows and images that match",
            do="give the stack that this file was written for",
        )
    return stacks


def boxes(raw: RawParticles, stacks: tuple[MrcStack, ...], path: Path) -> Int[np.ndarray, " n"]:
    """The side of each particle's image in pixels.

    Raises:
        InputError: the particle file promises another size, so that its pixel size is in doubt too.
    """
    box = np.array([stack.shape[2] for stack in stacks], dtype=np.int64)[raw.stack_of]
    if raw.box is not None and (box != raw.box).any():
        row = int((box != raw.box).argmax())
        raise InputError(
            f"says that the images are {raw.box[row]} pixels wide; {stacks[raw.stack_of[row]].path} has {box[row]}",
            where=f"{path}, particle {row + 1}",
            expected="the same size: if the images were cropped or scaled, the pixel size may be wrong as well",
            do=f"correct both in the file (scaling made the pixels {raw.box[row] / box[row]:.4g} times as large), "
            "or give the true pixel size with --apix",
        )
    return box
