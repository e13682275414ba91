"""Assignments and calls in Python text, none of which is run."""

import ast
import operator
import warnings
from collections.abc import Callable
from typing import Any

from adamw_scale.formats.document import ANY_MORE, Call, Document, Unread, refuse_deep, without_duplicates

LARGEST_POWER = 64  # exponent in arithmetic of a Python config
LARGEST_INTEGER = 10**30


def python_source(text: str) -> Document:
    """Assignments and calls whose values are literals, names assigned earlier, or arithmetic of them."""
    refuse_deep(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other people's code
        tree = ast.parse(text)
    known: dict[str, Any] = {}
    told: dict[str, set[str]] = {}
    calls = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name | ast.Attribute):
            _assign(known, ast.unparse(node.targets[0]), node.value, told)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            _assign(known, node.target.id, node.value, told)
    changed = {ast.unparse(node.target) for node in ast.walk(tree) if isinstance(node, ast.AugAssign | ast.For)}
    arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    known = {name: value for name, value in known.items() if name not in changed}
    sure = {name: value for name, value in known.items() if len(told[name]) == 1 and name not in arguments}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            named = [(keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg is not None]
            given = _plain_or_unread([(str(place), each) for place, each in enumerate(node.args)], sure)
            more = [keyword.value for keyword in node.keywords if keyword.arg is None]
            keywords = _spread(more, sure) | _plain_or_unread(named, sure)
            calls.append(Call(ast.unparse(node.func)[:200], keywords, tuple(given.values())))
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            named = [
                (key.value, each) for key, each in pairs if isinstance(key, ast.Constant) and isinstance(key.value, str)
            ]
            calls.append(Call("dict", _plain_or_unread(named, sure)))
    return Document("Python", known, tuple(calls))


def arithmetic(text: str, known: dict[str, Any]) -> Any:
    """What an expression of numbers and known names is.

    Raises:
        ValueError: it is no such expression, or has no result.
        SyntaxError: it is no expression.
    """
    return _plain(ast.parse(text, mode="eval").body, known)


def _assign(known: dict[str, Any], name: str, value: ast.expr, told: dict[str, set[str]]) -> None:
    """Remember a plain value, and everything the name was ever given; one that gets code is unknown from then on."""
    told.setdefault(name, set()).add(ast.unparse(value)[:200])
    try:
        known[name] = _plain(value, known)
    except ValueError:
        known.pop(name, None)


def _spread(values: list[ast.expr], known: dict[str, Any]) -> dict[str, Any]:
    """What **mappings add to a call; one that is code may add anything."""
    spread: dict[str, Any] = {}
    for value in values:
        try:
            mapping = _plain(value, known)
        except ValueError:
            mapping = None
        spread |= mapping if isinstance(mapping, dict) else {ANY_MORE: Unread(f"**{ast.unparse(value)[:60]}")}
    return spread


def _plain_or_unread(named: list[tuple[str, ast.expr]], known: dict[str, Any]) -> dict[str, Any]:
    """Values that are plain data as data, others as their source."""
    values: dict[str, Any] = {}
    for name, node in named:
        try:
            values[name] = _plain(node, known)
        except ValueError:
            values[name] = Unread(ast.unparse(node)[:80])
    return values


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}


def _plain(node: ast.expr, known: dict[str, Any]) -> Any:
    """The value of a literal or of arithmetic; ValueError for everything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | bool | None):
        return node.value
    if isinstance(node, ast.Name) and node.id in known:
        return known[node.id]
    if isinstance(node, ast.List | ast.Tuple):
        return [_plain(each, known) for each in node.elts]
    if isinstance(node, ast.Dict) and all(key is not None for key in node.keys):
        keys = [_plain(key, known) for key in node.keys if key is not None]
        return without_duplicates(list(zip(keys, (_plain(each, known) for each in node.values), strict=True)))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return {keyword.arg: _plain(keyword.value, known) for keyword in node.keywords if keyword.arg}
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_number(node.operand, known)
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        left, right = _number(node.left, known), _number(node.right, known)
        if isinstance(node.op, ast.Pow) and abs(right) > LARGEST_POWER:
            raise ValueError("a power beyond reason")
        try:
            result = _ARITHMETIC[type(node.op)](left, right)
        except (ZeroDivisionError, OverflowError):
            raise ValueError("arithmetic without a result") from None
        if not isinstance(result, int | float) or abs(result) > LARGEST_INTEGER:
            raise ValueError("a number beyond reason")
        return result
    raise ValueError("not plain data")


def _number(node: ast.expr, known: dict[str, Any]) -> Any:
    value = _plain(node, known)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > LARGEST_INTEGER:
        raise ValueError("not a number")
    return value
