"""ChimeraX command files (.cxc) that open maps as they should be seen.

ChimeraX runs such a file in the folder it lies in, so names are relative and the folder may be moved. Commands: `volume`,
`volume morph`, `movie`, `vseries` of https://www.rbvi.ucsf.edu/chimerax/docs/user. A movie is left to the user, as comments.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryodrake import __version__
from cryodrake.io.atomic import write_text_atomic

NAME = "view.cxc"
PLAIN = re.compile(r"[\w.+-]+")
FRAMES_A_STEP = 20  # of a morph, from one map to the next
HEAD = (
    f"# cryodrake {__version__}. In ChimeraX: File > Open, or on the command line: chimerax view.cxc",
    "# The next line closes what is open, so that the models can have the numbers below.",
    "close",
    "set bgColor white",
    "lighting soft",
    "graphics silhouettes true",
)


@dataclass(frozen=True)
class ShownMap:
    """How one map is shown.

    Attributes:
        name: of its file, beside the command file.
        level: of its surface.
        colour: of its surface, as ChimeraX names it.
        is_visible: whether it is seen at once.
        negative_colour: also a surface at -level, in this colour; None for none.
    """

    name: str
    level: float
    colour: str = "cornflower blue"
    is_visible: bool = True
    negative_colour: str | None = None


def write_maps(folder: Path, maps: Sequence[ShownMap], words: str = "") -> Path:
    """view.cxc that opens these maps one by one, `words` a comment in it. Raises InputError where the folder is not writable."""
    lines = [*HEAD, *([f"# {words}"] if words else []), *_opened(maps), "view", *_turn_movie()]
    return _write(folder, lines)


def write_series(folder: Path, maps: Sequence[ShownMap]) -> Path:
    """view.cxc of maps along a way: the morph through them all, and how to go through them one by one instead.

    Raises:
        InputError: the folder is not writable.
    """
    n, levels = len(maps), {f"{shown.level:.5g}" for shown in maps}
    morph, frames = n + 1, FRAMES_A_STEP * (n - 1)
    hidden = [ShownMap(shown.name, shown.level, shown.colour, is_visible=False) for shown in maps]
    play = f"volume morph #1-{n} frames {frames} playStep {1 / frames:.6g} modelId #{morph}"
    lines = [
        *HEAD,
        *_opened(hidden),
        "# From the first map to the last and back, densities interpolated between neighbours.",
        f"volume morph #1-{n} frames {2 * frames} playStep {1 / frames:.6g} modelId #{morph}",
        f"volume #{morph} level {maps[0].level:.5g} color {_quoted(maps[0].colour)} style surface step 1",
        "view",
        "# To show single maps instead, remove the # from these two lines and choose which:",
        f"# hide #{morph} models",
        "# show #1 models",
        "# To step through them with a slider, remove the # from these three lines:",
        "# close",
        f"# open {' '.join(_quoted(shown.name) for shown in maps)} vseries true",
        f"# vseries play #1 loop true; volume all level {maps[0].level:.5g} color {_quoted(maps[0].colour)} step 1",
        "# To record the morph as a movie, remove the # from these five lines:",
        f"# close #{morph}",
        "# movie record supersample 3",
        f"# {play}; volume #{morph} level {maps[0].level:.5g} color {_quoted(maps[0].colour)} style surface step 1",
        f"# wait {frames}",
        "# movie encode morph.mp4 quality high framerate 25",
    ]
    if len(levels) > 1:
        lines.insert(len(HEAD), "# The maps have levels of their own; the morph is shown at the first one's.")
    return _write(folder, lines)


def _opened(maps: Sequence[ShownMap]) -> list[str]:
    lines = [f"open {_quoted(shown.name)} id {i}" for i, shown in enumerate(maps, start=1)]
    for i, shown in enumerate(maps, start=1):
        surface = f"level {shown.level:.5g} color {_quoted(shown.colour)}"
        if shown.negative_colour is not None:
            surface = f"level {-shown.level:.5g} color {_quoted(shown.negative_colour)} {surface}"
        lines.append(f"volume #{i} style surface step 1 {surface}")
        if not shown.is_visible:
            lines.append(f"hide #{i} models")
    return lines


def _turn_movie() -> list[str]:
    return [
        "# To record a turn as a movie, remove the # from these four lines:",
        "# movie record supersample 3",
        "# turn y 2 180",
        "# wait 180",
        "# movie encode turn.mp4 quality high framerate 25",
    ]


def _quoted(text: str) -> str:
    """A blank, ; or # would end the word."""
    return text if PLAIN.fullmatch(text) else f'"{text}"'


def _write(folder: Path, lines: Sequence[str]) -> Path:
    path = folder / NAME
    write_text_atomic(path, "\n".join(lines) + "\n")
    return path
