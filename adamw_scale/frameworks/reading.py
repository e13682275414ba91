"""Looking values up in a config that was parsed: converted, defaults remembered, errors that name the key."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

from adamw_scale.errors import SpecError
from adamw_scale.formats import parse
from adamw_scale.formats.document import ANY_MORE, Document, Unread
from adamw_scale.frameworks.config import Finding, finding

T = TypeVar("T")
MOST_HOPS = 8  # of ${references} to other keys
SMALLEST, LARGEST = (
    1e-30,
    1e30,
)  # in size, of a number that is no slip; products of several stay far from 0 and infinity
MISSING = object()
UNREAD = "unread-value"  # code of the finding that a value is a variable or code
DECAY_KEYS = frozenset({"weight_decay", "adam_weight_decay", "wd", "start_weight_decay", "end_weight_decay"})
LR_KEYS = frozenset({"lr", "learning_rate", "max_lr", "warmup_max_lr", "blr"})
SCHEDULE_KEYS = frozenset(
    {"lr_scheduler_type", "lr_scheduler", "lr_decay_style", "sched", "lr_schedule", "lr_schedule_type", "decay_type"}
)
LEFT_OPEN = ("auto", "none", "null", "")  # spellings of "somebody else fills this in"


class Optimizer(NamedTuple):
    """An optimizer that a config names, and what it gets where the config says nothing."""

    convention: str
    lr: float
    weight_decay: float


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
            value, hops = self._at(path), 0
            while isinstance(value, str) and (reference := re.fullmatch(r"\$\{([\w.]+)\}", value)) and hops < MOST_HOPS:
                value, hops = self._at(reference[1]), hops + 1
            open_ = isinstance(value, Unread) or (isinstance(value, str) and value.startswith("$"))
            if open_:
                self._note_unread(path, str(value))
            elif value is not None and not (isinstance(value, str) and value.lower() in LEFT_OPEN):
                return value
        return None

    def _note_unread(self, path: str, value: str) -> None:
        """Remember that a value which matters is not known."""
        name = path.rpartition(".")[2]
        if name in DECAY_KEYS | LR_KEYS | SCHEDULE_KEYS and path not in [each.key for each in self.findings]:
            message = f"{name} is {value[:60]}, which is a variable or code and not known here"
            self.note(UNREAD, path, message, fix="pass its value as an option, or audit the file with it written out")

    def __contains__(self, path: str) -> bool:
        return self.raw(path) is not None

    def unread(self, path: str) -> bool:
        """Whether there is something that is no plain data: code, or left to somebody else."""
        return self._at(path, MISSING) is not MISSING and self.raw(path) is None

    def number(self, *paths: str) -> float | None:
        """A number of at least 0; text such as 3e-4, 5e5 or 1_000 is read as one.

        Raises:
            SpecError: there is something else, or a number that no config means.
        """
        found = self.signed(*paths)
        if found is not None and found < 0:
            raise SpecError(f"{paths[0]} = {found:g}: below 0. Check it")
        return found

    def signed(self, *paths: str) -> float | None:
        """A number that may be below 0, such as a -1 for "not set"; else as `number`."""
        value = self.raw(*paths)
        return None if value is None else sane(paths[0], value)

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
        if len(parts) != 2:
            raise SpecError(f"{paths[0]} = {_shown(value)}: two numbers are needed, such as 0.9, 0.95")
        return sane(paths[0], parts[0]), sane(paths[0], parts[1])

    def betas(self, default: tuple[float, float], first: str, second: str) -> tuple[float, float]:
        """Two betas with keys of their own."""
        one, two = self.number(first), self.number(second)
        return (default[0] if one is None else one, default[1] if two is None else two)

    def mapping(self, path: str) -> "Keys":
        """A mapping inside; text that is JSON is one too. Empty where there is none."""
        value = self.raw(path)
        if isinstance(value, str):
            value = parse(value, ".json").content
        inner = Keys(value if isinstance(value, dict) else {})
        inner.defaults, inner.findings = self.defaults, self.findings
        return inner

    def settle(self, field: str) -> None:
        """Forget that a field was left out or not read, as it is said elsewhere."""
        self.defaults[:] = [each for each in self.defaults if each != field]
        self.findings[:] = [each for each in self.findings if each.code != UNREAD or each.key != field]

    def error(self, code: str, key: str | None, message: str, fix: str) -> None:
        """Remember what surely does not do what it says."""
        self.findings.append(finding("error", code, key, message, fix))

    def warning(self, code: str, key: str | None, message: str, fix: str) -> None:
        """Remember what its author probably does not mean."""
        self.findings.append(finding("warning", code, key, message, fix))

    def note(self, code: str, key: str | None, message: str, fix: str) -> None:
        """Remember what is worth knowing."""
        self.findings.append(finding("note", code, key, message, fix))

    def noted(self) -> dict[str, Any]:
        """What was remembered on the way, as fields of a `Config`."""
        return {"defaults": tuple(self.defaults), "findings": tuple(self.findings)}

    def _at(self, path: str, missing: Any = None) -> Any:
        if path in self._content:
            return self._content[path]
        value: Any = self._content
        for part in path.split("."):
            if not isinstance(value, dict) or part not in value:
                return missing
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
        (call.name.rpartition(".")[2], dict(zip(order, call.positional, strict=False)) | call.keywords)
        for call in document.calls
        if call.name.rpartition(".")[2] in wanted or call.name in wanted
    ]
    if not found:
        raise SpecError(f"no call of {' or '.join(sorted(wanted))} is in this Python file: pass the file that has it")
    for number, (name, keywords) in enumerate(found):
        for other, before in found[:number]:
            _refuse_disagreement(name, before if name == other != "dict" else {}, keywords)
        merged |= keywords
    if ANY_MORE in merged:
        merged = dict.fromkeys((*sorted(DECAY_KEYS), *sorted(LR_KEYS)), merged[ANY_MORE]) | merged
    return Keys(merged)


def _refuse_disagreement(name: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two calls of one function with different values are two configs, of which one has to be chosen."""
    for key in one.keys() & other.keys():
        if one[key] != other[key] and not isinstance(one[key], Unread) and not isinstance(other[key], Unread):
            raise SpecError(f"two calls of {name} in this file disagree about {key}: pass a file with one of them")


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


def sane(name: str, value: Any) -> float:
    """The number that a value is: finite, and 0 or of a size that a config can mean.

    Raises:
        SpecError: it is not.
    """
    try:
        if isinstance(value, bool | list | dict):
            raise ValueError
        number = float(value)
    except (ValueError, TypeError, OverflowError):
        raise SpecError(f"{name} = {_shown(value)}: not a number. Write one, such as 3e-4") from None
    if number and not SMALLEST <= abs(number) <= LARGEST:  # NaN is not between them either
        raise SpecError(f"{name} = {_shown(value)}: not between {SMALLEST:g} and {LARGEST:g} in size. Check it")
    return number


def _shown(value: Any) -> str:
    return str(value)[:60] if isinstance(value, str | int | float) else f"a {type(value).__name__}"
