"""Conditions mean what numpy makes of them, and nothing but conditions is worked out."""

import numpy as np
import pytest

from cryodrake.analysis.expression import ranges_in, rows_where
from cryodrake.errors import InputError

RNG = np.random.default_rng(0)
A, B, K = RNG.normal(size=200), RNG.normal(size=200), RNG.integers(0, 5, 200)
NAMES = np.array([f"mic{k}.mrc" for k in K], dtype=object)
UID = RNG.integers(2**62, 2**64, 200, dtype=np.uint64)
COLUMNS = {"a": A, "b": B, "cluster": K, "rlnMicrographName": NAMES, "alignments3D/error": A * 2, "uid": UID, "flag": A > 1}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a > 0.5 and b < 0", (A > 0.5) & (B < 0)),
        ("a > 0.5 or not b < 0", (A > 0.5) | (B >= 0)),
        ("(a > 0.5) | (b < 0) & (a < 2)", (A > 0.5) | ((B < 0) & (A < 2))),
        ("0 < 1 < a and not 2 < 1", A > 1),
        ("-1 < a <= b", (A > -1) & (A <= B)),
        ("a**2 + b**2 < 1.5 and cluster % 2 == 1", (A**2 + B**2 < 1.5) & (K % 2 == 1)),
        ("abs(a - b) > hypot(a, 1) / 2", np.abs(A - B) > np.hypot(A, 1) / 2),
        ("cluster in (1, 3)", np.isin(K, [1, 3])),
        ("cluster not in [1, 3]", ~np.isin(K, [1, 3])),
        ("rlnMicrographName == 'mic2.mrc'", K == 2),
        ("'mic4' in rlnMicrographName", K == 4),
        ("rlnMicrographName in ('mic2.mrc', 'mic0.mrc')", np.isin(K, [0, 2])),
        ("alignments3D.error >= 1", A * 2 >= 1),
        (f"uid == {UID[7]}", UID[7] == UID),
        ("flag", A > 1),
        ("a < 9**9**9**9", np.ones(200, dtype=bool)),
        ("log(a) < 0", np.log(np.where(A > 0, A, 2)) < 0),
        (" a\t> 0 ", A > 0),
        ("class in (1, 3) and classy < 2", np.isin(K, [1, 3]) & (K < 2)),
        ("alignments3D.class == 2 and 'class' != rlnMicrographName", K == 2),
        ("_rlnMicrographName == 'mic2.mrc'", K == 2),
    ],
)
def test_conditions(text, wanted):
    columns = COLUMNS | {"class_number": K, "classy": K, "alignments3D/class": K}
    np.testing.assert_array_equal(rows_where(text, columns), wanted)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch /tmp/cryodrake_was_here')",
        "open('/etc/passwd')",
        "a.__class__.__base__",
        "().__class__ == 1",
        "[x for x in a]",
        "(lambda: a)()",
        "a[0] > 1",
        "f'{a}' == '1'",
        "(b := a) > 0",
        "a if b else a",
        "a @ b > 1",
        "a << 3 > 1",
        "abs(x=a) > 1",
        "a > 1j",
        "a > None",
        "a is b",
        "a > *b",
        "{1: a}",
        "await a",
        "print(a)",
        "a > 0; b",
        "import os",
        "a and b > 1",
        "a + b",
        "1 < 2",
        "'a' < a",
        "rlnMicrographName > 1",
        "a in b",
        "sqrt(rlnMicrographName) > 1",
        "hypot(a) > 1",
        "sqrt(a, b) > 1",  # which would put the root into b
        "",
        "(" * 500 + "a > 0" + ")" * 500,
        "not " * 400 + "a > 0",
        "a > 0 " + "and a > 0 " * 1000,
        "a > \0",
        "class == 1",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(InputError):
        rows_where(text, COLUMNS)


def test_an_unknown_column_is_answered_with_those_there_are():
    with pytest.raises(InputError) as caught:
        rows_where("clutser == 1", COLUMNS)
    assert "no column 'clutser'" in str(caught.value)
    assert "a, b, cluster, rlnMicrographName, alignments3D.error" in str(caught.value)
    assert "did you mean cluster?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = 1", "write == for ="),
        ("a > 0 && b < 0 || flag", "write and for &&, or for ||"),
        ("a > 0 & b < 0", "write and for &"),
        ("a > 0 | b < 0", "has '0 | b', which joins numbers and numbers: comparisons go in brackets"),
        ("!flag", "write not for !"),
        ("a = 1 and rlnMicrographName != '&'", "do: write == for ="),
        ("a >", "of the columns a, b, cluster, rlnMicrographName, alignments3D.error, uid, flag, class_number and numbers"),
        ("class + 1 and flag", "has 'class + 1' where"),
        ("rlnMicrographName > 1", "has 'rlnMicrographName > 1', which cannot be worked out of text and numbers"),
        ("hypot(a) > 1", "hypot takes 2"),
    ],
)
def test_what_is_written_otherwise_is_said_in_our_words(text, says):
    with pytest.raises(InputError) as caught:
        rows_where(text, COLUMNS | {"class_number": K})
    assert says in str(caught.value)
    for foreign in ("<unknown>", "ufunc", "Maybe you meant", "class_ "):
        assert foreign not in str(caught.value)


def test_clusters_that_analyze_has_not_made_yet():
    states = {"row": np.arange(3), "latent_1": np.zeros(3)}
    for columns, do in ((states, "run `cryodrake analyze`"), ({"row": np.arange(3)}, "come with --zdim")):
        with pytest.raises(InputError, match=do):
            rows_where("cluster == 1", columns)
    with pytest.raises(InputError) as caught:
        rows_where("umap_1 > 0", states | {"cluster": np.zeros(3)})
    assert caught.value.do is None


def test_ranges_of_the_columns_in_a_condition():
    columns = {
        "a": np.array([-1.5, np.nan, 2]),
        "b": np.full(3, np.nan),
        "s/t": np.array(["x", "y", "x"], dtype=object),
        "c": K[:3],
    }
    words = ranges_in("a > 3 or b > 0 or s.t == 'z'", columns)
    assert words == "a from -1.5 to 2, b without a finite number, s.t of 2 texts, such as 'x'"
