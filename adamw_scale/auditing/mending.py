"""Changing the user's own text: a value in place, a key beside another, and nothing else.

No format is written here. A candidate is the text with one number or one key changed, and it is taken only if auditing
it shows what is wanted and every other value as it was. So what changes is what the reader reads, in any format; what
cannot be found that way is left alone.
"""

import re
from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import islice
from typing import Literal

from pydantic import Field

from adamw_scale.auditing.judging import Audit
from adamw_scale.auditing.provenance import NAMES
from adamw_scale.errors import SpecError
from adamw_scale.formats.notebook import Notebook, is_notebook
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.config import Finding, Mend
from adamw_scale.frameworks.reading import DECAY_KEYS, LR_KEYS, fields_of
from adamw_scale.frameworks.table import Table
from adamw_scale.noun import Noun
from adamw_scale.theory.conventions import CONVENTIONS, L2
from adamw_scale.units import float_of

NUMBER = re.compile(r"(?<![\w.])(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.%])")
WORD = re.compile(r"[\w.+-]+")
FIXED = frozenset({"peak_lr", "weight_decay", "total_steps", "epochs", "batch_size"})  # that mending never moves
CLOSE = 1e-9  # relative difference up to which two readings are one value
DIGITS = 3  # of a recommended value
MOST_TRIALS = 200  # texts that are read for one change
SEPARATORS = (", ", " ")  # of two keys on one line: in Python, JSON and flow YAML, and in a shell

Reader = Callable[[str], Audit]
Read = tuple[str, Audit]  # a text and its audit


class Change(Noun):
    """A line of the text, before and after."""

    line: int = Field(description="of the new text, from 1")
    before: str | None = Field(description="none where the line is new")
    after: str | None = Field(description="none where it is gone")
    why: str


class Mended(Noun):
    """A text with what was certain changed."""

    schema_: Literal["adamw-scale/mended/1"] = Field("adamw-scale/mended/1", alias="schema")
    text: str
    changes: tuple[Change, ...] = ()
    left: tuple[Finding, ...] = Field((), description="errors and warnings that no single value mends")
    audit: Audit = Field(description="of the new text")


def mended(text: str, read: Reader, *, to_recommendation: bool = False) -> Mended:
    r"""The text with its faults mended where one value does it, and with the recommended weight decay where asked.

    Args:
        text: A whole config, launch script, training script or notebook.
        read: Audits a text.
        to_recommendation: Also write the recommended weight decay, in the config's own unit.

    Raises:
        SpecError: the text cannot be audited; nothing is recommended for it, or that cannot be written.

    Example:
        >>> from functools import partial
        >>> from adamw_scale import audit
        >>> config = "learning_rate = 6e-4\nmax_steps = 99_999  # mine\n"
        >>> mended(config, partial(audit, framework="nanogpt", suffix=".py")).text
        'learning_rate = 6e-4\nmax_iters = 99_999  # mine\n'
    """
    found, changes = read(text), []
    for fault in found.findings:
        if fault.mend is not None and (other := _without(fault, fault.mend, text, found, read)) is not None:
            changes += _changes(text, other[0], fault.message)
            text, found = other
    if to_recommendation and (other := _recommended(text, found, read)) is not None:
        changes += _changes(text, other[0], "the recommended weight decay")
        text, found = other
    left = tuple(each for each in found.findings if each.severity != "note")
    return Mended(text=text, changes=tuple(changes), left=left, audit=found)


def _recommended(text: str, found: Audit, read: Reader) -> Read | None:
    """The text with the recommended weight decay; None where it has it already."""
    if found.recommended is None:
        more = ", ".join(f"{flag} ({why})" for flag, why in found.asks.items())
        why = f"as the run is not known: pass {more}" if more else str(found.unadvised)
        raise SpecError(f"--to-recommendation: nothing is recommended, {why}")
    _refuse_what_one_number_is_not(found)
    new = f"{found.recommended:.{DIGITS}g}"
    written = found.groups[0].written

    def holds(other: Audit) -> bool:
        groups = zip(found.groups, other.groups, strict=True)
        still = all(each.written for one, each in groups if one.written)
        return still and _near(other.groups[0].written, float(new)) and _same(found, other, but={"weight_decay"})

    if _near(written, float(new)):
        return None
    origin = next((value.origin for value in found.values if value.field == "weight_decay"), "unknown")
    ways = [partial(_in_place, value=written, new=new)]
    ways += [partial(_beside_lr, found=found, new=new)] * (origin in ("default", "unknown"))
    other = next((other for way in ways if (other := _first(_trials(text, way), read, holds))), None)
    if other is None:
        raise SpecError(
            f"--to-recommendation: no single number in the text is its weight decay and nothing else; write {new} "
            "yourself"
        )
    return other


def _refuse_what_one_number_is_not(found: Audit) -> None:
    """SpecError for what is no weight decay, or has several over the run."""
    if CONVENTIONS[found.convention].kind == L2:
        raise SpecError(
            f"--to-recommendation: in {found.convention} the number is added to the gradient, so no value of it is a "
            "weight decay: use AdamW"
        )
    if found.run is not None and found.run.weight_decay_schedule != "constant":
        raise SpecError(
            "--to-recommendation: the weight decay has a start and an end of its own: write both yourself, or drop one"
        )


def _without(fault: Finding, mend: Mend, text: str, found: Audit, read: Reader) -> Read | None:
    """The text without a fault that one value mends; None where it cannot be found.

    It shows no new fault, unless a key that is read only now brings it.
    """
    before = {(each.code, each.key) for each in found.findings} - {(fault.code, fault.key)}
    free = set(NAMES) - FIXED | {*fields_of(mend.key), *fields_of(mend.name or "")}

    def holds(other: Audit) -> bool:
        after = {(each.code, each.key) for each in other.findings if each.severity != "note" or mend.name is not None}
        gone = (fault.code, fault.key) not in after
        return gone and (mend.name is not None or after <= before) and _same(found, other, but=free)

    return _first(_trials(text, partial(_of_key, mend=mend)), read, holds)


def _trials(text: str, way: Callable[[str], Iterator[str]]) -> Iterator[str]:
    """Texts with changes that are made in one way; those of a notebook's code, within its JSON."""
    if not is_notebook(text):
        return way(text)
    notebook = Notebook(text)
    return filter(None, map(notebook.changed, way(notebook.text)))


def _first(trials: Iterator[str], read: Reader, holds: Callable[[Audit], bool]) -> Read | None:
    """The first text that can be read and is as wanted."""
    for text in islice(trials, MOST_TRIALS):
        try:
            audit = read(text)
        except SpecError:
            continue
        if holds(audit):
            return text, audit
    return None


def _in_place(text: str, value: float | None, new: str) -> Iterator[str]:
    """Texts with another number for each one of a value, and for all of them, but what else is made of as well."""
    places = [match.span() for match in NUMBER.finditer(text) if _near(float_of(match[0]), value)]
    yield from _replaced(text, [place for place in places if not _is_shared(text, place[0])], new)


def _is_shared(text: str, place: int) -> bool:
    """Whether a number is given to a name that stands in more than one place besides."""
    start, end = text.rfind("\n", 0, place) + 1, text.find("\n", place)
    given = re.match(r"\s*(?:export\s+|readonly\s+|local\s+)?([A-Za-z_]\w*)\s*(?::[^=]*)?=", text[start:place])
    if given is None or given[1] in DECAY_KEYS:
        return False
    elsewhere = text[:start] + text[end:] if end > 0 else text[:start]
    return len(re.findall(rf"(?<![\w.]){given[1]}(?!\w|\s*=[^=])", elsewhere)) > 1


def _replaced(text: str, places: list[tuple[int, int]], new: str) -> Iterator[str]:
    """Texts with something else in each of several places, and in all of them."""
    for start, end in places:
        yield text[:start] + new + text[end:]
    if len(places) > 1:
        ends, starts = [0, *(end for _, end in places)], [*(start for start, _ in places), len(text)]
        yield new.join(text[end:start] for end, start in zip(ends, starts, strict=True))


def _beside_lr(text: str, found: Audit, new: str) -> Iterator[str]:
    """Texts with a weight decay beside the learning rate, on a line of its own or on the same one."""
    lr = found.groups[0].peak_lr
    for match in NUMBER.finditer(text):
        if not _near(float_of(match[0]), lr):
            continue
        start, end = text.rfind("\n", 0, match.start()) + 1, text.find("\n", match.end())
        end = len(text) if end < 0 else end
        line = text[start:end]
        for word in WORD.finditer(text, start, match.start()):
            name = word[0].lstrip("-").replace("-", "_")
            if name.rpartition(".")[2] not in LR_KEYS:
                continue
            first = word.start()
            quoted = first > start and text[first - 1] in "'\""
            written = text[first - quoted : match.end()]
            alone = re.fullmatch(rf"(\W*){re.escape(written)}([,;]?(?: *\\)?\r?)(?:\s*(?:#|//).*)?\s*", line)
            for key in _own_names(found.framework, is_flag=word[0].startswith("-")):
                own = word[0][: len(word[0]) - len(name.rpartition(".")[2])] + key
                pair = own.join(written.split(word[0], 1))[: -len(match[0])] + new
                if alone is not None:
                    row = alone[1] + pair + alone[2].rstrip("\r") + "\r" * line.endswith("\r")
                    yield text[:end] + "\n" + row + text[end:]
                    yield text[:start] + row + "\n" + text[start:]
                for separator in SEPARATORS:
                    yield text[: match.end()] + separator + pair + text[match.end() :]


def _own_names(framework: str, *, is_flag: bool) -> list[str]:
    """What a framework calls a weight decay, in the spelling that its command line takes."""
    part = FRAMEWORKS[framework]
    if not issubclass(part, Table) or "weight_decay" not in part.keys:
        return ["adam_weight_decay", "weight_decay", "wd"]
    names = [name.rpartition(".")[2] for name in part.keys["weight_decay"].names]
    return [name.replace("_", "-") for name in names] if is_flag and part.dashed else names


def _of_key(text: str, mend: Mend) -> Iterator[str]:
    """Texts with another value or name for each place of a key, or without it."""
    key = re.escape(mend.key).replace("_", "[_-]")
    place = re.compile(rf"(?<![\w-])(?P<dashes>--?)?(?P<quote>[\"']?)(?P<key>{key})(?P=quote)(?![\w-])")
    if mend.name is not None:
        for name in {mend.name, mend.name.replace("_", "-")}:  # as the key had it
            dashed = "-" in name
            places = [match.span("key") for match in place.finditer(text) if ("-" in match["key"]) == dashed]
            yield from _replaced(text, places, name)
        return
    for match in place.finditer(text):
        value = re.compile(r"[ \t]*[:= ][ \t]*(?P<value>\"[^\"\n]*\"|'[^'\n]*'|[^\s,;)}\]#]+)").match(text, match.end())
        if value is None:
            continue
        if mend.value is not None:
            yield text[: value.start("value")] + mend.value + text[value.end("value") :]
            continue
        start, end = text.rfind("\n", 0, match.start()) + 1, text.find("\n", value.end())
        end = len(text) if end < 0 else end + 1
        yield text[:start] + text[end:]
        yield text[: match.start()] + text[value.end() :].lstrip(", ")


def _changes(before: str, after: str, why: str) -> list[Change]:
    """What lines differ."""
    old, new = before.splitlines(), after.splitlines()
    head = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    one, two = old[head : len(old) - tail], new[head : len(new) - tail]
    rows = max(len(one), len(two))
    pairs = zip(one + [None] * (rows - len(one)), two + [None] * (rows - len(two)), strict=True)
    return [Change(line=head + i + 1, before=a, after=b, why=why) for i, (a, b) in enumerate(pairs) if a != b]


def _same(one: Audit, other: Audit, but: Collection[str]) -> bool:
    """Whether two audits are of one framework and convention, with the same values of all fields but these."""
    first, second = (
        (audit.framework, audit.convention, {each.field: each.value for each in audit.values if each.field not in but})
        for audit in (one, other)
    )
    return first == second


def _near(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= CLOSE * max(abs(one), abs(other))
