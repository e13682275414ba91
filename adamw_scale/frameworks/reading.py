"""Looking values up in a config that was parsed: converted, defaults remembered, errors that name the key."""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar

from adamw_scale.errors import SpecError
from adamw_scale.formats import parse
from adamw_scale.formats.document import ANY_MORE, Call, Document, Unread
from adamw_scale.frameworks.config import Finding, Mend, finding

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
STEPS_KEYS = frozenset(
    {
        *("max_steps", "total_steps", "steps", "train_iters", "max_iters", "max_update", "num_train_steps"),
        *("num_training_steps", "TOTAL_STEPS", "T_max", "decay_steps"),
    }
)
EPOCHS_KEYS = frozenset({"epochs", "num_epochs", "num_train_epochs", "max_epochs", "max_epoch", "n_epochs"})
BATCH_KEYS = frozenset(
    {
        *("batch_size", "train_batch_size", "global_batch_size", "micro_batch_size", "local_batch_size"),
        *("per_device_train_batch_size", "global_train_batch_size"),
    }
)
FIELDS_OF_KEYS = {  # what a key may fill, by how it is called
    "|".join(DECAY_KEYS): ("weight_decay",),
    "|".join(LR_KEYS): ("peak_lr",),
    "|".join(SCHEDULE_KEYS): ("schedule",),
    ".*warmup.*|pct_start": ("warmup_steps", "warmup_fraction"),
    ".*accum.*|update_freq": ("accumulation",),
    "|".join((*STEPS_KEYS, "max_train_steps")): ("total_steps",),
    ".*decay_(iters|epochs|steps)": ("decay_steps", "decay_fraction"),
    "|".join(EPOCHS_KEYS): ("epochs",),
    "|".join((*BATCH_KEYS, r"(micro_|train_|train_micro_)?batch(_size)?(_per_gpu)?", "max_sentences")): (
        *("batch_size", "per_device_batch_size"),
    ),
    ".*seq(uence)?_len.*|sequence_length|max_(target_|prompt_)?len(gth)?|tokens_per_sample|block_size|context_length": (
        "sequence_length",
    ),
    r"(.*_)?(betas?_?[12]?|b[12])": ("betas",),
    ".*eps(ilon)?": ("eps",),
    "min_lr.*|.*min_lr_rati?o?|lr_min|alpha_f|alpha|eta_min|lr_end|end_(value|learning_rate)|final_lr.*": (
        "final_lr_fraction",
    ),
    "optim|optimizer|optimizer_type|opt": ("optimizer",),
}
LEFT_OPEN = ("auto", "none", "null", "")  # spellings of "somebody else fills this in"


class Keys:
    """Values of a config by dotted path.

    Args:
        content: Nested mappings, as `formats.parse` gives them.
        overridable: Paths whose value is a default that a command line or the environment may change.
        lost: What of the text could not be followed. Where there is any, nothing is filled in by default.

    Attributes:
        defaults: Fields that were asked for with a default and not found.
        unknown: Fields that were not found where no default may be said.
        changeable: Fields that were found with an overridable value.
        findings: What a reader noted on the way.
    """

    def __init__(
        self, content: dict[str, Any], overridable: frozenset[str] = frozenset(), lost: tuple[str, ...] = ()
    ) -> None:
        self._content, self._overridable, self.lost = content, overridable, lost
        self.defaults: list[str] = []
        self.unknown: list[str] = []
        self.changeable: list[str] = []
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
                if path in self._overridable:
                    self.changeable += fields_of(path.rpartition(".")[2])
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

    def source(self, path: str) -> Any:
        """What stands there, code included."""
        return self._at(path)

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
        return self.filled(field, default, *paths) if found is None else found

    def filled(self, field: str, default: T, *paths: str) -> T | None:
        """The framework's default of a field that none of these paths says, which is then remembered.

        None where code or somebody else says it, or text that could not be followed may.
        """
        if default is None:
            return None
        if self.lost or any(self.unread(path) for path in paths):
            self.unknown.append(field)
            return None
        self.defaults.append(field)
        return default

    def fraction(self, field: str, part: float | None, whole: float | None) -> float | None:
        """A part over its whole; without that the field is unknown, unless the part is 0."""
        if not whole and part:
            self.unknown.append(field)
            return None
        return part / whole if part and whole else part

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

    def yes_or(self, field: str, default: bool, *paths: str) -> bool | None:
        """True or false, or the framework's default, as `number_or`."""
        found = self.yes(*paths)
        return self.filled(field, default, *paths) if found is None else found

    def pair(self, *paths: str) -> tuple[float, float] | None:
        """Two numbers: a list, or text such as "(0.9, 0.95)"."""
        value = self.raw(*paths)
        if value is None:
            return None
        parts = value if isinstance(value, list) else re.split(r"[,\s]+", str(value).strip("()[] "))
        if len(parts) != 2:
            raise SpecError(f"{paths[0]} = {_shown(value)}: two numbers are needed, such as 0.9, 0.95")
        return sane(paths[0], parts[0]), sane(paths[0], parts[1])

    def pair_or(self, field: str, default: tuple[float, float], *paths: str) -> tuple[float, float] | None:
        """Two numbers, or the framework's default, as `number_or`."""
        return self.pair(*paths) or self.filled(field, default, *paths)

    def text_or(self, field: str, default: str, *paths: str) -> str:
        """A word, or the framework's default; where that may not be said, the field is remembered as unknown."""
        found = self.text(*paths)
        if found is None:
            self.filled(field, default, *paths)
        return default if found is None else found

    def betas(self, default: tuple[float, float], first: str, second: str) -> tuple[float, float] | None:
        """Two betas with keys of their own."""
        one, two = self.number(first), self.number(second)
        if one is not None and two is not None:
            return one, two
        if self.filled("betas", default, first, second) is None:
            return None
        if one is not None or two is not None:
            self.defaults.append("beta1" if one is None else "beta2")  # only that one
        return (default[0] if one is None else one, default[1] if two is None else two)

    def mapping(self, path: str) -> "Keys":
        """A mapping inside; text that is JSON is one too. Empty where there is none."""
        value = self.raw(path)
        if isinstance(value, str):
            if not value.lstrip().startswith("{"):
                raise SpecError(f"{path} = {_shown(value)}: a mapping of keys is needed")
            value = parse(value, among=("JSON", "YAML")).content
        return self.within(value if isinstance(value, dict) else {})

    def within(self, content: dict[str, Any], overridable: frozenset[str] = frozenset()) -> "Keys":
        """Other values of the same text, whose looking up is remembered here."""
        inner = Keys(content, overridable, self.lost)
        inner.defaults, inner.unknown, inner.changeable = self.defaults, self.unknown, self.changeable
        inner.findings = self.findings
        return inner

    def settle(self, field: str) -> None:
        """Forget that a field was left out or not read, as it is said elsewhere."""
        for fields in (self.defaults, self.unknown, self.changeable):
            fields[:] = [each for each in fields if each != field]
        self.findings[:] = [each for each in self.findings if each.code != UNREAD or each.key != field]

    def error(self, code: str, key: str | None, message: str, fix: str, mend: Mend | None = None) -> None:
        """Remember what surely does not do what it says."""
        self.findings.append(finding("error", code, key, message, fix, mend))

    def warning(self, code: str, key: str | None, message: str, fix: str, mend: Mend | None = None) -> None:
        """Remember what its author probably does not mean."""
        self.findings.append(finding("warning", code, key, message, fix, mend))

    def note(self, code: str, key: str | None, message: str, fix: str, mend: Mend | None = None) -> None:
        """Remember what is worth knowing."""
        self.findings.append(finding("note", code, key, message, fix, mend))

    def noted(self) -> dict[str, Any]:
        """What was remembered on the way, as fields of a `Config`."""
        return {
            "defaults": tuple(dict.fromkeys(self.defaults)),
            "unknown": tuple(dict.fromkeys(self.unknown)),
            "overridable": tuple(dict.fromkeys(self.changeable)),
            "findings": tuple(self.findings),
        }

    def _at(self, path: str, missing: Any = None) -> Any:
        if path in self._content:
            return self._content[path]
        value: Any = self._content
        for part in path.split("."):
            if not isinstance(value, dict) or part not in value:
                return missing
            value = value[part]
        return value


@cache
def fields_of(key: str) -> tuple[str, ...]:
    """Fields of a `Config` that a key of this name may fill."""
    return next((fields for keys, fields in FIELDS_OF_KEYS.items() if re.fullmatch(keys, key)), ())


def keys_of(document: Document, calls: Iterable[str] = (), order: Iterable[str] = ()) -> Keys:
    """The keys of a config; in Python text, the arguments of calls of these names, later ones over earlier.

    `order` names what is passed by position.
    """
    wanted, names = set(calls), tuple(order)
    if document.format != "Python" or not wanted:
        return Keys(document.content, document.overridable, document.lost)
    called = [call for call in document.calls if call.last in wanted or call.name in wanted]
    if not called:
        raise SpecError(f"no call of {' or '.join(sorted(wanted))} is in this Python file: pass the file that has it")
    merged: dict[str, Any] = {}
    said: dict[str, dict[str, Any]] = {}
    for call in called:
        name, keywords = call.last, _arguments(call, names)
        known = {key: value for key, value in keywords.items() if not isinstance(value, Unread) and name != "dict"}
        _refuse_disagreement(name, said.setdefault(name, {}), known)
        said[name] |= known
        merged |= keywords
    return _with_overridable(document, called, names, merged)


def keys_of_call(document: Document, call: Call, order: Iterable[str] = ()) -> Keys:
    """The arguments of one call; `order` names what is passed by position."""
    names = tuple(order)
    return _with_overridable(document, [call], names, _arguments(call, names))


def _arguments(call: Call, names: tuple[str, ...]) -> dict[str, Any]:
    return dict(zip(names, call.positional, strict=False)) | call.keywords


def _with_overridable(document: Document, calls: list[Call], names: tuple[str, ...], merged: dict[str, Any]) -> Keys:
    """Keys of calls; where one takes more from code, what that says is not known, and nothing is by default."""
    lost = document.lost
    if ANY_MORE in merged:
        lost = (*lost, str(merged[ANY_MORE]))
        merged = dict.fromkeys((*sorted(DECAY_KEYS), *sorted(LR_KEYS)), merged[ANY_MORE]) | merged
    overridable = {
        key
        for call in calls
        for place, key in (*enumerate(names), *((key, key) for key in call.keywords))
        if f"{call.name}.{place}" in document.overridable
    }
    return Keys(merged, frozenset(overridable), lost)


def refuse_several(document: Document) -> None:
    """SpecError for a text with several functions that each make a config, and calls of them that differ."""
    made: dict[str, dict[str, tuple[Call, Any]]] = {}
    for call in document.calls:
        for key in call.keywords.keys() & (DECAY_KEYS | LR_KEYS | STEPS_KEYS):
            if call.place and call.name != "dict" and not isinstance(call.keywords[key], Unread):
                made.setdefault(f"{call.name.rpartition('.')[2]}.{key}", {})[call.place] = (call, call.keywords[key])
    for path, places in made.items():
        if len({repr(value) for _, value in places.values()}) > 1:
            listed = "; ".join(
                f"{place}() in {call.where}: {path.rpartition('.')[2]} {value}"
                for place, (call, value) in list(places.items())[:8]
            )
            raise SpecError(f"{len(places)} configs are in this file, {listed}: pass a file with one of them")


def _refuse_disagreement(name: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two calls of one function with different values are two configs, of which one has to be chosen."""
    for key in one.keys() & other.keys():
        if one[key] != other[key]:
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
