"""Looking values up in a config that was parsed: converted, defaults remembered, errors that name the key."""

import math
import re
from collections.abc import Iterable
from typing import Any, TypeVar

from adamw_scale.errors import SpecError
from adamw_scale.formats import Document, Unread, parse
from adamw_scale.frameworks.config import Finding

T = TypeVar("T")
MOST_HOPS = 8  # of ${references} to other keys
LEFT_OPEN = ("auto", "none", "null", "")  # spellings of "somebody else fills this in"


class Keys:
    """Values of a config by dotted path.

    Args:
        content: Nested mappings, as `formats.parse` gives them.

    Attributes:
        defaults: Fields that were asked for with a default and not found.
        findings: What a reader noted on the way.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        self._content = content
        self.defaults: list[str] = []
        self.findings: list[Finding] = []

    def raw(self, *paths: str) -> Any:
        """The first of several spellings that is there; None where none is, or where it is left open."""
        for path in paths:
            value = self._at(path)
            hops = 0
            while isinstance(value, str) and (reference := re.fullmatch(r"\$\{([\w.]+)\}", value)) and hops < MOST_HOPS:
                value, hops = self._at(reference[1]), hops + 1
            left_open = str(value).lower() in LEFT_OPEN or str(value).startswith("$")
            if value is not None and not isinstance(value, Unread) and not left_open:
                return value
        return None

    def __contains__(self, path: str) -> bool:
        return self.raw(path) is not None

    def unread(self, path: str) -> bool:
        """Whether there is something that is no plain data: code, or left to somebody else."""
        return path in self._content and self.raw(path) is None

    def number(self, *paths: str) -> float | None:
        """A finite number; text such as 3e-4, 5e5, 1_000 or "10%"... of a number is read as one.

        Raises:
            SpecError: there is something else.
        """
        value = self.raw(*paths)
        if value is None:
            return None
        try:
            if isinstance(value, bool | list | dict):
                raise ValueError
            number = float(value)
        except (ValueError, OverflowError):
            raise SpecError(f"{paths[0]} = {_shown(value)}: not a number. Write one, such as 3e-4") from None
        if not math.isfinite(number):
            raise SpecError(f"{paths[0]} = {_shown(value)}: not a finite number. Write one, such as 3e-4")
        return number

    def number_or(self, field: str, default: float | None, *paths: str) -> float | None:
        """A number, or the framework's default, which is then remembered under the name of the field it fills.

        None where the config leaves it to code or to somebody else ("auto").
        """
        found = self.number(*paths)
        if found is None and default is not None and not any(self.unread(path) for path in paths):
            self.defaults.append(field)
            return default
        return found

    def text(self, *paths: str) -> str | None:
        """A word; SpecError for lists and mappings."""
        value = self.raw(*paths)
        if isinstance(value, list | dict):
            raise SpecError(f"{paths[0]} = {_shown(value)}: not a word")
        return None if value is None else str(value)

    def yes(self, *paths: str) -> bool | None:
        """True or false, however the format spells it."""
        value = self.raw(*paths)
        if value is None:
            return None
        spelled = str(value).lower()
        if spelled in ("true", "yes", "on", "1"):
            return True
        if spelled in ("false", "no", "off", "0"):
            return False
        raise SpecError(f"{paths[0]} = {_shown(value)}: neither true nor false")

    def pair(self, *paths: str) -> tuple[float, float] | None:
        """Two numbers: a list, or text such as "(0.9, 0.95)"."""
        value = self.raw(*paths)
        if value is None:
            return None
        parts = value if isinstance(value, list) else re.split(r"[,\s]+", str(value).strip("()[] "))
        try:
            first, second = (float(part) for part in parts)
        except (ValueError, TypeError):
            raise SpecError(f"{paths[0]} = {_shown(value)}: two numbers are needed, such as 0.9, 0.95") from None
        return first, second

    def betas(self, default: tuple[float, float], first: str, second: str) -> tuple[float, float]:
        """Two betas with keys of their own."""
        one, two = self.number(first), self.number(second)
        return (default[0] if one is None else one, default[1] if two is None else two)

    def mapping(self, path: str) -> "Keys":
        """A mapping inside; text that is JSON is one too. Empty where there is none."""
        value = self.raw(path)
        if isinstance(value, str):
            value = parse(value, ".json").content
        return Keys(value if isinstance(value, dict) else {})

    def note(self, finding: Finding) -> None:
        """Remember something that the author may not mean."""
        self.findings.append(finding)

    def _at(self, path: str) -> Any:
        if path in self._content:
            return self._content[path]
        value: Any = self._content
        for part in path.split("."):
            if not isinstance(value, dict) or part not in value:
                return None
            value = value[part]
        return value


def keys_of(document: Document, calls: Iterable[str] = (), order: Iterable[str] = ()) -> Keys:
    """The keys of a config; in Python text, the arguments of calls of these names, later ones over earlier.

    `order` names what is passed by position.
    """
    wanted = set(calls)
    if document.format != "Python" or not wanted:
        return Keys(document.content)
    merged: dict[str, Any] = {}
    found = [
        dict(zip(order, call.positional, strict=False)) | call.keywords
        for call in document.calls
        if call.name.rpartition(".")[2] in wanted or call.name in wanted
    ]
    if not found:
        raise SpecError(f"no call of {' or '.join(sorted(wanted))} is in this Python file: pass the file that has it")
    for keywords in found:
        merged |= keywords
    return Keys(merged)


def chosen(what: str, name: str | None, known: dict[str, T], default: T | None) -> T | None:
    """What a config's word stands for; the default where it says nothing.

    Raises:
        SpecError: the word is not known.
    """
    if name is None:
        return default
    for spelled, meaning in known.items():
        if name.lower() == spelled.lower():
            return meaning
    raise SpecError(f"{what} = {name[:60]!r}: not known here. Known: {', '.join(known)}")


def _shown(value: Any) -> str:
    return str(value)[:60] if isinstance(value, str | int | float) else f"a {type(value).__name__}"
