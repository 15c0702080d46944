from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import starfile

from cryodrake.errors import InputError
from cryodrake.io.star import cells, numbers, read_star, strings, write_star

AWKWARD = """
# a comment
data_particles

loop_
_rlnA #1 [explained]
_rlnB #2
_rlnC #3
 it's 0.10000 "two words"

# a comment between rows
\tx#1.mrcs\tnan\t"single"\r
 "" -1e-30 'it is "so"'

data_items
_rlnOne 1
_rlnTwo "a b"  # said here
"""


def read(tmp_path: Path, text: str, block: str = "particles") -> pd.DataFrame:
    path = tmp_path / "a.star"
    path.write_text(text)
    return read_star(path).table(block)


def test_cells_are_verbatim(tmp_path: Path) -> None:
    table = read(tmp_path, AWKWARD)
    assert list(table.columns) == ["rlnA", "rlnB", "rlnC"]
    assert table["rlnA"].tolist() == ["it's", "x#1.mrcs", '""']
    assert table["rlnB"].tolist() == ["0.10000", "nan", "-1e-30"]
    assert strings(table, "rlnC") == ["two words", "single", 'it is "so"']
    assert strings(table, "rlnA") == ["it's", "x#1.mrcs", ""]
    items = read_star(tmp_path / "a.star").table("items")
    assert (items["rlnOne"].tolist(), strings(items, "rlnTwo")) == (["1"], ["a b"])


def test_what_is_not_touched_is_written_verbatim(tmp_path: Path) -> None:
    table = read(tmp_path, AWKWARD)
    star = read_star(tmp_path / "a.star")
    star.write(tmp_path / "same.star", {})
    assert (tmp_path / "same.star").read_bytes() == (tmp_path / "a.star").read_bytes()
    star.write(tmp_path / "new.star", {"particles": table.assign(rlnD=cells([1, 2, 3]))})
    again = read_star(tmp_path / "new.star")
    pd.testing.assert_frame_equal(again.table("particles")[list(table.columns)], table)
    assert again.table("particles")["rlnD"].tolist() == ["1", "2", "3"]
    assert again.blocks["items"] == star.blocks["items"]
    assert (tmp_path / "new.star").read_text().startswith("\n# a comment\n")


def test_starfile_reads_what_we_write(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(50, 2)) * [1e-3, 1e5]
    names = [f"{i:06d}@a b/{i}.mrcs" for i in range(50)]
    table = pd.DataFrame({"rlnImageName": cells(names), "rlnX": cells(values[:, 0]), "rlnY": cells(values[:, 1])})
    write_star(tmp_path / "a.star", {"optics": pd.DataFrame({"rlnOpticsGroup": cells([1])}), "particles": table})
    theirs = starfile.read(tmp_path / "a.star", always_dict=True)
    assert list(theirs) == ["optics", "particles"]
    assert theirs["particles"]["rlnImageName"].tolist() == names
    np.testing.assert_allclose(theirs["particles"][["rlnX", "rlnY"]].to_numpy(), values, rtol=5e-9)


def test_numbers_keep_float32_and_integers_exactly() -> None:
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32) * np.float32(1e4)
    np.testing.assert_array_equal(np.array(cells(values), dtype=np.float32), values)
    assert cells(np.array([2**62 + 1])) == [str(2**62 + 1)]
    assert cells(["a", "a b", "", "_x", "it's"]) == ["a", '"a b"', '""', '"_x"', "it's"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1 2 3\n4 5\n", "row 2 .* fewer cells"),
        ("1 2 3\n4 5 6 7\n", "cannot be split"),
        ("1 2\n4 5\n", "row 1 .* fewer cells"),
        ("1 2 3 4\n4 5 6 7\n", "more cells"),
    ],
)
def test_ragged_rows(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, f"data_particles\nloop_\n_a #1\n_b #2\n_c #3\n{rows}")
    assert "a.star" in (caught.value.where or "")


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no STAR file"):
        read(tmp_path, "hello")
    with pytest.raises(InputError, match="same name"):
        read(tmp_path, "data_a\n_x 1\ndata_a\n_x 2\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_star(tmp_path / "none.star")
    table = read(tmp_path, "data_particles\nloop_\n_a #1\n1.5\nnan\nhigh\n")
    with pytest.raises(InputError, match='a is "high"') as caught:
        numbers(table, "a", "x.star")
    assert caught.value.where == "x.star, particle 3"


def test_empty_loop_and_rows_that_look_like_blocks(tmp_path: Path) -> None:
    assert len(read(tmp_path, "data_particles\n\nloop_\n_a #1\n_b #2\n")) == 0
    table = read(tmp_path, "data_particles\nloop_\n_a #1\n_b #2\ndata_1/mic.mrc 2\ndata_2/mic.mrc 3\n")
    assert table["a"].tolist() == ["data_1/mic.mrc", "data_2/mic.mrc"]
