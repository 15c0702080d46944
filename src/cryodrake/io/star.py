"""STAR files as text tables: read, change some columns, write, and leave every other character's value alone.

Cells stay the strings they were, quotes included, so that what we do not own goes out as it came in; blocks that are
not changed are copied verbatim, comments and all. Parsing is pandas'. (The starfile package is not used here: 0.5.13
turns ' into ", nan into <NA>, drops what follows a # inside a cell, fails on quoted cells with spaces, and takes
twice as long; the tests use it as the second opinion on what we write.)

Format: Hall (1991) J. Chem. Inf. Comput. Sci. 31, 326, in the subset that RELION writes: data blocks of one loop or of
single items, one row per line.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from jaxtyping import Int

from cryodrake.errors import InputError
from cryodrake.io.atomic import open_atomic

BLOCK_START = re.compile(rb"^[ \t]*data_(\S*)[ \t\r]*$", re.MULTILINE)
COMMENT_LINE = re.compile(rb"^[ \t]*#.*$", re.MULTILINE)
QUOTED = re.compile(rb"(?<!\S)([\"'])([^\n]*?)\1(?!\S)")
SPACE, HELD_SPACE = b" ", b"\x1f"  # a space inside quotes, while the cells are split at spaces
ROWS_PER_WRITE = 50_000


@dataclass(frozen=True, eq=False)
class StarFile:
    """A STAR file as text: what precedes the first block, and the blocks in their order."""

    path: Path
    preamble: bytes
    blocks: dict[str, bytes]

    def block_with(self, column: str) -> str | None:
        """The name of the first block that has this column."""
        pattern = re.compile(rb"^[ \t]*_" + column.encode() + rb"\s", re.MULTILINE)
        return next((name for name, text in self.blocks.items() if pattern.search(text)), None)

    def table(self, name: str) -> pd.DataFrame:
        """The cells of a block as strings, quotes included; single items make a table of one row.

        Raises:
            InputError: a row with more or fewer cells than there are columns.
        """
        return _parse_block(self.blocks[name], self.path)

    def cell_counts(self, name: str) -> tuple[int, np.ndarray]:
        """How many columns a block has, and how many cells each of its rows, whatever is wrong with it."""
        names, is_loop, rows = _split_block(self.blocks[name])
        lines = [line.split() for line in _protect(rows).splitlines()] if is_loop else []
        return len(names), np.array([len(cells) for cells in lines if cells], dtype=np.int64)

    def with_rows(self, name: str, rows: Int[np.ndarray, " m"]) -> "StarFile":
        """The file with only these rows, from 0, of a loop block, whose other rows need not be right."""
        names, _, text = _split_block(self.blocks[name])
        lines = [line for line in text.splitlines() if line.strip()]
        block = [f"data_{name}", "", "loop_", *(f"_{column}" for column in names)]
        return replace(self, blocks=self.blocks | {name: b"\n".join([*map(str.encode, block), *(lines[i] for i in rows), b""])})

    def forget(self, name: str) -> "StarFile":
        """The file without the text of one block, which is then only known as the table that somebody holds."""
        return replace(self, blocks=self.blocks | {name: b""})

    def write(self, path: str | Path, tables: Mapping[str, pd.DataFrame]) -> None:
        """Write the file with these blocks replaced; the others verbatim."""
        with open_atomic(path) as file:
            file.write(self.preamble)
            for name, text in self.blocks.items():
                if name in tables:
                    _write_block(file, name, tables[name])
                else:
                    file.write(text)


def read_star(path: str | Path) -> StarFile:
    """Split a STAR file into its blocks.

    Raises:
        InputError: unreadable, without a `data_` line, or with two blocks of one name.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path) from error
    starts = list(BLOCK_START.finditer(content))
    if not starts:
        raise InputError("is no STAR file", where=path, expected="a line that begins with data_")
    ends = [match.start() for match in starts[1:]] + [len(content)]
    blocks = {_text(match[1], path): content[match.start() : end] for match, end in zip(starts, ends, strict=True)}
    if len(blocks) < len(starts):
        raise InputError("has two data blocks of the same name", where=path)
    return StarFile(path, content[: starts[0].start()], blocks)


def write_star(path: str | Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write a new STAR file of loop blocks."""
    with open_atomic(path) as file:
        for name, table in tables.items():
            _write_block(file, name, table)


def cells(values: Iterable[object]) -> list[str]:
    """Values as STAR cells: numbers with nine significant digits (float32 exactly), strings quoted where need be."""
    result = []
    for value in values.tolist() if isinstance(values, np.ndarray) else values:
        if isinstance(value, (float, np.floating)):
            result.append(f"{value:.9g}")
        elif isinstance(value, (int, np.integer)):
            result.append(str(int(value)))
        else:
            text = str(value)
            needs_quotes = not text or text[0] in "\"'#_" or any(c.isspace() for c in text)
            result.append(f'"{text}"' if needs_quotes else text)
    return result


def numbers(table: pd.DataFrame, column: str, path: str | Path) -> np.ndarray:
    """A column as float64.

    Raises:
        InputError: a cell that is no number, with its row.
    """
    strings = table[column].to_numpy(dtype=object)
    try:
        return strings.astype(np.float64)
    except ValueError:
        bad = pd.to_numeric(table[column], errors="coerce").isna() & ~table[column].str.lower().isin(["nan"])
        row = int(bad.to_numpy().argmax())
        raise InputError(f'{column} is "{strings[row]}"', where=f"{path}, particle {row + 1}", expected="a number") from None


def strings(table: pd.DataFrame, column: str) -> list[str]:
    """A column as text, without its quotes."""
    return [_unquoted(cell) if cell[0] in "\"'" else cell for cell in table[column].tolist()]


def _unquoted(cell: str) -> str:
    is_quoted = len(cell) > 1 and cell[-1] == cell[0]
    return cell[1:-1].replace(HELD_SPACE.decode(), " ") if is_quoted else cell


def _parse_block(text: bytes, path: Path) -> pd.DataFrame:
    """The table of a block; single items make a table of one row."""
    names, is_loop, rows = _split_block(text)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"has the column {twice[0]} twice", where=path)
    if not is_loop:
        items = [_text([*_protect(word).split(), b'""'][1], path) for word in rows.split(b"\n") if word]
        return pd.DataFrame([items], columns=names, dtype=str)
    if not rows.strip():
        return pd.DataFrame({name: pd.Series(dtype=str) for name in names})
    try:
        table = pd.read_csv(io.BytesIO(_protect(rows)), sep=r"\s+", header=None, dtype=str, quoting=csv.QUOTE_NONE, na_filter=False)
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be split into columns: {error}", where=path) from error
    last = table[table.columns[-1]]
    short = np.asarray(last.isna() | (last == ""))
    if len(table.columns) != len(names) or short.any():
        row = int(short.argmax()) if short.any() else 0
        raise InputError(
            f"has {'fewer' if short.any() or len(table.columns) < len(names) else 'more'} cells than columns",
            where=f"{path}, row {row + 1} of its table",
            expected=f"{len(names)} cells",
            do="the file may be cut short; write it again",
        )
    table.columns = pd.Index(names)
    return table


def _text(word: bytes, path: Path) -> str:
    try:
        return word.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"is no text: {error}", where=path) from None


def _split_block(text: bytes) -> tuple[list[str], bool, bytes]:
    """Column names, whether it is a loop, and its rows without comments; of single items, the items."""
    lines = io.BytesIO(text)
    header: list[bytes] = []
    is_loop = False
    position = 0
    for line in lines:
        word = line.strip()
        is_loop = is_loop or word == b"loop_"
        if word.startswith(b"_"):
            header.append(word)
        elif header and word and not word.startswith(b"#"):
            break
        position = lines.tell()
    names = [word.split()[0][1:].decode("utf-8", "replace") for word in header]
    rows = text[position:] if is_loop else b"\n".join(header)
    return names, is_loop, COMMENT_LINE.sub(b"", rows) if is_loop and b"#" in rows else rows


def _protect(rows: bytes) -> bytes:
    """Hold the spaces inside quoted cells, so that the rows can be split at spaces."""
    if b'"' not in rows and b"'" not in rows:
        return rows
    return QUOTED.sub(lambda match: match[0].replace(SPACE, HELD_SPACE), rows)


def _write_block(file: IO[bytes], name: str, table: pd.DataFrame) -> None:
    header = "".join(f"_{column} #{number}\n" for number, column in enumerate(table.columns, 1))
    file.write(f"data_{name}\n\nloop_\n{header}".encode())
    for start in range(0, len(table), ROWS_PER_WRITE):
        part = table.iloc[start : start + ROWS_PER_WRITE]
        columns = (part[column].tolist() for column in table.columns)
        text = "\n".join(map(" ".join, zip(*columns, strict=True))) + "\n"
        file.write(text.encode().replace(HELD_SPACE, SPACE))
    file.write(b"\n")
