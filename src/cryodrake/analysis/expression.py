"""Conditions on columns, such as `confidence > 0.5 and latent_1 < 0`, worked out without running anybody's program.

The text is parsed as a Python expression and its tree walked here: column names, numbers, quoted text, and or not,
comparisons (also chained), `in`, arithmetic, and the functions of `FUNCTIONS`. Everything else is refused. A field of a .cs,
alignments3D/error, is written alignments3D.error.
"""

import ast
import difflib
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
from jaxtyping import Bool

from cryodrake.errors import InputError

LONGEST = 2000  # characters: deep enough for people, too shallow to exhaust the parser
FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(np, name) for name in ("abs", "sqrt", "exp", "log", "sin", "cos", "tan", "arctan2", "hypot", "isnan", "floor")
}
BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Mod: operator.mod,
    ast.Pow: operator.pow, ast.BitAnd: operator.and_, ast.BitOr: operator.or_,
}  # fmt: skip
UNARY: dict[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: np.logical_not}


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
    try:
        if len(text) > LONGEST:
            raise InputError("is too long", where="the condition", expected=f"at most {LONGEST} characters")
        tree = ast.parse(text.strip(), mode="eval")
        with np.errstate(all="ignore"):
            found = _Walk(text, columns).value(tree.body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refusal(text, f"cannot be read: {error}") from None
    except TypeError as error:  # text against numbers
        raise _refusal(text, f"cannot be worked out: {error}") from None
    if np.shape(found) != (n,) or np.asarray(found).dtype != bool:
        raise _refusal(text, "is no condition")
    return found


class _Walk:
    """The value of each kind of node of the tree; whatever has no method here is refused."""

    def __init__(self, text: str, columns: Mapping[str, np.ndarray]):
        self._text = text
        self._columns = columns

    def value(self, node: ast.AST) -> Any:
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise self._not_allowed(node)
        return method(node)

    def _name(self, node: ast.Name) -> np.ndarray:
        return self._column(node.id)

    def _attribute(self, node: ast.Attribute) -> np.ndarray:
        """group.field of a .cs; never an attribute of anything."""
        if not isinstance(node.value, ast.Name):
            raise self._not_allowed(node)
        return self._column(f"{node.value.id}/{node.attr}")

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
        return UNARY[type(node.op)](operand)

    def _binop(self, node: ast.BinOp) -> Any:
        if type(node.op) not in BINARY:
            raise self._not_allowed(node)
        return BINARY[type(node.op)](self.value(node.left), self.value(node.right))

    def _compare(self, node: ast.Compare) -> Any:
        if any(type(op) not in COMPARE for op in node.ops):
            raise self._not_allowed(node)
        values = [self.value(part) for part in (node.left, *node.comparators)]
        pairs = zip(node.ops, values[:-1], values[1:], strict=True)
        return reduce(np.logical_and, [COMPARE[type(op)](a, b) for op, a, b in pairs])

    def _tuple(self, node: ast.Tuple | ast.List) -> list[Any]:
        """Only for `in`: of numbers or text."""
        if not all(isinstance(part, ast.Constant | ast.UnaryOp) for part in node.elts):
            raise self._not_allowed(node)
        return [self.value(part) for part in node.elts]

    _list = _tuple

    def _call(self, node: ast.Call) -> Any:
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS or node.keywords:
            raise self._not_allowed(node)
        return FUNCTIONS[node.func.id](*(self.value(part) for part in node.args))

    def _condition(self, node: ast.AST) -> Any:
        found = self.value(node)
        if np.asarray(found).dtype != bool:
            raise _refusal(self._text, f"has {ast.unparse(node)!r} where a condition belongs")
        return found

    def _column(self, name: str) -> np.ndarray:
        if name not in self._columns:
            near = difflib.get_close_matches(name, self._columns, n=3, cutoff=0.6)
            hint = f"did you mean {' or '.join(near)}?" if near else None
            names = ", ".join(known.replace("/", ".") for known in self._columns)
            raise InputError(
                f"there is no column {name.replace('/', '.')!r}", where=self._text, expected=f"one of {names}", do=hint
            )
        return self._columns[name]

    def _not_allowed(self, node: ast.AST) -> InputError:
        return _refusal(self._text, f"has {ast.unparse(node)!r}, which is not allowed")


def _refusal(text: str, what: str) -> InputError:
    functions = ", ".join(FUNCTIONS)
    expected = f"comparisons of columns and numbers, joined by and, or, not; functions {functions}"
    return InputError(f"the condition {what}", where=text, expected=expected, do="for example: confidence > 0.5 and latent_1 < 0")
