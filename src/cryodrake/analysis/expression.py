"""Conditions on columns, such as `confidence > 0.5 and latent_1 < 0`, worked out without running anybody's program.

The text is parsed as a Python expression and its tree walked here: column names, numbers, quoted text, and or not,
comparisons (also chained), `in`, arithmetic, and the functions of `FUNCTIONS`. Everything else is refused. A field of a .cs,
alignments3D/error, is written alignments3D.error; `class` is class_number, and RELION's own spelling, _rlnDefocusU, is taken.
"""

import ast
import difflib
import operator
import re
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
from jaxtyping import Bool

from cryodrake.errors import InputError

LONGEST = 2000  # characters: deep enough for people, too shallow to exhaust the parser
FUNCTIONS: dict[str, np.ufunc] = {
    name: getattr(np, name) for name in ("abs", "sqrt", "exp", "log", "sin", "cos", "tan", "arctan2", "hypot", "isnan", "floor")
}
BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Mod: operator.mod,
    ast.Pow: operator.pow, ast.BitAnd: operator.and_, ast.BitOr: operator.or_,
}  # fmt: skip
UNARY: dict[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: np.logical_not}
TEXT_OR_CLASS = re.compile(r"\"[^\"]*\"|'[^']*'|\bclass\b")
CLASS = "class_"  # stands for the word class, which Python keeps for itself
OF_ANALYZE = re.compile(r"cluster|(pc|umap)_\d+")


def _is_in(a: Any, b: Any) -> Any:
    """A column in a list of values, or a text within the texts of a column."""
    if isinstance(b, list):
        return np.isin(a, b) if np.asarray(a).dtype != object else np.array([cell in b for cell in a])
    if isinstance(a, str) and np.asarray(b).dtype == object:
        return np.array([a in cell for cell in b])
    raise TypeError("`in` takes a column and a list, or a text and a column of texts")


COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne, ast.In: _is_in, ast.NotIn: lambda a, b: ~_is_in(a, b),
}  # fmt: skip


def rows_where(text: str, columns: Mapping[str, np.ndarray]) -> Bool[np.ndarray, " n"]:
    """Which rows of the columns (n,) fulfil the condition; a comparison with NaN is false.

    Raises:
        InputError: no condition, an unknown column (the known ones are listed), or anything that is not allowed in one.
    """
    n = len(next(iter(columns.values())))
    found, _ = _worked_out(text, columns)
    if np.shape(found) != (n,) or np.asarray(found).dtype != bool:
        raise _refusal(text, "is no condition")
    return found


def ranges_in(text: str, columns: Mapping[str, np.ndarray]) -> str:
    """Of each column in a condition, its lowest and its highest value, for people.

    Raises:
        InputError: as `rows_where`.
    """
    return ", ".join(f"{name.replace('/', '.')} {_range(values)}" for name, values in _worked_out(text, columns)[1].items())


def _range(values: np.ndarray) -> str:
    if values.dtype.kind in "OUS":
        kinds = np.unique(values.astype(str))
        return f"of {len(kinds):,} texts, such as {str(kinds[0])!r}"
    finite = values[np.isfinite(values)]
    return f"from {float(finite.min()):g} to {float(finite.max()):g}" if len(finite) else "without a finite number"


def _worked_out(text: str, columns: Mapping[str, np.ndarray]) -> tuple[Any, dict[str, np.ndarray]]:
    """The value of the text, and the columns in it."""
    try:
        if len(text) > LONGEST:
            raise InputError("is too long", where="the condition", expected=f"at most {LONGEST} characters")
        tree = ast.parse(TEXT_OR_CLASS.sub(lambda m: CLASS if m[0] == "class" else m[0], text.strip()), mode="eval")
        walk = _Walk(text, columns)
        with np.errstate(all="ignore"):
            return walk.value(tree.body), walk.used
    except SyntaxError as error:
        raise _refusal(text, f"cannot be read: {error.msg.split('. ')[0]}", columns) from None  # what follows is on Python
    except (ValueError, RecursionError, MemoryError) as error:
        raise _refusal(text, f"cannot be read: {error}", columns) from None


class _Walk:
    """The value of each kind of node of the tree; whatever has no method here is refused."""

    def __init__(self, text: str, columns: Mapping[str, np.ndarray]):
        self.used: dict[str, np.ndarray] = {}
        self._text = text
        self._columns = columns

    def value(self, node: ast.AST) -> Any:
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise self._not_allowed(node)
        return method(node)

    def _name(self, node: ast.Name) -> np.ndarray:
        return self._column("class_number" if node.id == CLASS else node.id)

    def _attribute(self, node: ast.Attribute) -> np.ndarray:
        """group.field of a .cs; never an attribute of anything."""
        if not isinstance(node.value, ast.Name):
            raise self._not_allowed(node)
        return self._column(f"{node.value.id}/{'class' if node.attr == CLASS else node.attr}")

    def _constant(self, node: ast.Constant) -> Any:
        """Small numbers as float64, whose powers end at infinity; uids as they are."""
        if isinstance(node.value, str):
            return node.value
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            raise self._not_allowed(node)
        if isinstance(node.value, int) and 2**53 < node.value < 2**64:
            return np.uint64(node.value)
        return np.float64(node.value)

    def _boolop(self, node: ast.BoolOp) -> Any:
        parts = [self._condition(part) for part in node.values]
        combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return reduce(combine, parts)  # not the ufunc's own, which takes columns and numbers for one ragged array

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        if type(node.op) not in UNARY:
            raise self._not_allowed(node)
        operand = self._condition(node.operand) if isinstance(node.op, ast.Not) else self.value(node.operand)
        return self._applied(node, UNARY[type(node.op)], operand)

    def _binop(self, node: ast.BinOp) -> Any:
        if type(node.op) not in BINARY:
            raise self._not_allowed(node)
        a, b = self.value(node.left), self.value(node.right)
        if isinstance(node.op, ast.BitAnd | ast.BitOr) and not np.asarray(a).dtype == np.asarray(b).dtype == bool:
            raise _refusal(self._text, f"has {_words(node)!r}, which joins {_kind(a)} and {_kind(b)}: comparisons go in brackets")
        return self._applied(node, BINARY[type(node.op)], a, b)

    def _compare(self, node: ast.Compare) -> Any:
        if any(type(op) not in COMPARE for op in node.ops):
            raise self._not_allowed(node)
        values = [self.value(part) for part in (node.left, *node.comparators)]
        pairs = zip(node.ops, values[:-1], values[1:], strict=True)
        return reduce(np.logical_and, [self._applied(node, COMPARE[type(op)], a, b) for op, a, b in pairs])

    def _tuple(self, node: ast.Tuple | ast.List) -> list[Any]:
        """Only for `in`: of numbers or text."""
        if not all(isinstance(part, ast.Constant | ast.UnaryOp) for part in node.elts):
            raise self._not_allowed(node)
        return [self.value(part) for part in node.elts]

    _list = _tuple

    def _call(self, node: ast.Call) -> Any:
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS or node.keywords:
            raise self._not_allowed(node)
        function = FUNCTIONS[node.func.id]
        if len(node.args) != function.nin:
            raise _refusal(self._text, f"has {_words(node)!r}, but {node.func.id} takes {function.nin} of them")
        return self._applied(node, function, *(self.value(part) for part in node.args))

    def _applied(self, node: ast.AST, function: Callable[..., Any], *values: Any) -> Any:
        try:
            return function(*values)
        except TypeError:
            kinds = " and ".join(dict.fromkeys(map(_kind, values)))
            raise _refusal(self._text, f"has {_words(node)!r}, which cannot be worked out of {kinds}") from None

    def _condition(self, node: ast.AST) -> Any:
        found = self.value(node)
        if np.asarray(found).dtype != bool:
            raise _refusal(self._text, f"has {_words(node)!r} where a condition belongs")
        return found

    def _column(self, name: str) -> np.ndarray:
        if name not in self._columns and name.startswith("_rln"):
            name = name[1:]
        if name not in self._columns:
            raise InputError(
                f"there is no column {name.replace('/', '.')!r}", where=self._text, expected=f"one of {_names(self._columns)}",
                do=self._instead_of(name),
            )  # fmt: skip
        self.used[name] = self._columns[name]
        return self._columns[name]

    def _instead_of(self, name: str) -> str | None:
        if OF_ANALYZE.fullmatch(name) and "cluster" not in self._columns:
            has_states = "latent_1" in self._columns
            return "run `cryodrake analyze` on the job first" if has_states else "clusters are of states, which come with --zdim"
        near = difflib.get_close_matches(name, self._columns, n=3, cutoff=0.6)
        return f"did you mean {' or '.join(near)}?" if near else None

    def _not_allowed(self, node: ast.AST) -> InputError:
        return _refusal(self._text, f"has {_words(node)!r}, which is not allowed")


def _words(node: ast.AST) -> str:
    return re.sub(rf"\b{CLASS}\b", "class", ast.unparse(node))


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    dtype = np.asarray(value).dtype
    return "text" if dtype.kind in "OUS" else "conditions" if dtype.kind == "b" else "numbers"


def _names(columns: Mapping[str, np.ndarray]) -> str:
    return ", ".join(name.replace("/", ".") for name in columns)


def _refusal(text: str, what: str, columns: Mapping[str, np.ndarray] | None = None) -> InputError:
    """The columns are listed where they are given."""
    of = "columns" if columns is None else f"the columns {_names(columns)}"
    expected = f"comparisons of {of} and numbers, joined by and, or, not; functions {', '.join(FUNCTIONS)}"
    return InputError(f"the condition {what}", where=text, expected=expected, do=_instead(text))


def _instead(text: str) -> str:
    """What to write for the operators of other languages, or else an example."""
    bare = TEXT_OR_CLASS.sub("", text)
    operators = {r"(?<![=<>!])=(?!=)": "==", r"&+": "and", r"\|+": "or", r"!(?!=)": "not"}
    found = [f"{word} for {match[0]}" for pattern, word in operators.items() if (match := re.search(pattern, bare))]
    return f"write {', '.join(found)}" if found else "for example: confidence > 0.5 and latent_1 < 0"
