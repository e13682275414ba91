"""What a text says, whatever its format: a mapping, and the calls of a Python text."""

import re
from collections.abc import Hashable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from adamw_scale.errors import SpecError

ANY_MORE = "**"  # key of a call that takes arguments from a mapping that is code
DEEPEST = 100  # levels of nesting; parsers recurse, and some take quadratic time
MOST_OF_A_PATH = 200  # characters
MOST_VALUES = 20_000  # of a document; YAML's aliases can write many in a few bytes


class Unread(str):
    """Source of an argument that is no plain data."""


class Call(NamedTuple):
    """A call in Python text: its dotted name as imported, and its arguments; a {"key": value} is a call of dict.

    `place` is the function that it stands in; `spelled` are the names that arguments are in the text, by keyword or
    place, where they are no more than that ("T_max": "args.epochs").
    """

    name: str
    keywords: dict[str, Any]
    positional: tuple[Any, ...] = ()
    line: int = 0
    place: str = ""
    spelled: Mapping[str, str] = {}
    cell_line: str = ""  # in a notebook, as `where`

    @property
    def last(self) -> str:
        """Its name without what it is imported from."""
        return self.name.rpartition(".")[2]

    @property
    def where(self) -> str:
        """Its line, for people."""
        return self.cell_line or f"line {self.line}"


class _Parts(NamedTuple):
    format: str
    content: dict[str, Any]
    calls: tuple[Call, ...] = ()
    text: str = ""
    # keys whose value is a default that a command line or the environment may change
    overridable: frozenset[str] = frozenset()
    lost: tuple[str, ...] = ()  # what of the text could not be followed, such as "$EXTRA_ARGS"


class Document(_Parts):
    """What a text says: a mapping, and the calls of a Python text.

    `content` of Python text holds its assignments ("lr", "cfg.optim.lr") and the options of its command line, that of
    shell text its --flags without the dashes. `text` is what was parsed. `overridable` names an argument of a call by
    the call and its keyword or place ("torch.optim.AdamW.lr").
    """

    def keys(self) -> frozenset[str]:
        """Every key at any depth, alone and with the path to it, and the last part of every name that is called."""
        return self._keys

    @cached_property
    def _keys(self) -> frozenset[str]:
        found = {call.last for call in self.calls}
        for mapping in (self.content, *(call.keywords for call in self.calls)):
            for path, _, _ in entries(mapping):
                found |= {path, path.rpartition(".")[2]}
        return frozenset(found)


def entries(mapping: dict[Any, Any]) -> Iterator[tuple[str, str, Any]]:
    """Keys at any depth: the dotted path to each, the key itself, and its value.

    Raises:
        SpecError: more values than a config has.
    """
    stack: list[tuple[str, Any]] = [("", mapping)]
    count = 0
    while stack:
        before, item = stack.pop()
        named = item.items() if isinstance(item, dict) else (("", each) for each in item)
        for key, value in named:
            count += 1
            if count > MOST_VALUES:
                raise SpecError(f"more than {MOST_VALUES} values: this is no training config")
            path = f"{before}{key}" if isinstance(key, str) else before
            if isinstance(key, str) and key:
                yield path[:MOST_OF_A_PATH], key, value
            if isinstance(value, dict | list):
                stack.append((f"{path[:MOST_OF_A_PATH]}." if key else before, value))


def without_duplicates(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A mapping of pairs; ValueError for a key that is there twice."""
    content: dict[Any, Any] = {}
    for key, value in pairs:
        if not isinstance(key, Hashable):
            raise ValueError("a key is a list or a mapping")
        if key in content:
            raise ValueError(f"{str(key)[:40]!r} is given twice")
        content[key] = value
    return content


def refuse_deep(text: str) -> None:
    """ValueError for brackets that are nested beyond reason."""
    depth = 0
    for bracket in re.finditer(r"[\[\]{}()]", text):
        depth = max(0, depth + (1 if bracket[0] in "[{(" else -1))
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
