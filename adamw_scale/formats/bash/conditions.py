"""What [ ], [[ ]] and test say of known texts; nothing is looked up on the machine."""

import fnmatch
import operator
import re
from collections.abc import Callable
from typing import NamedTuple

from adamw_scale.formats.bash.syntax import words_of
from adamw_scale.formats.bash.values import BY_DEFAULT, WIDE, has_text, is_known, plain
from adamw_scale.formats.bash.words import Expander

LONGEST = 1000  # characters that are matched with a pattern


class Truth(NamedTuple):
    """Whether something holds; None where that is not known.

    `by_default` is an answer that hangs on a default. `external` is a command of which nothing is known but that
    scripts go on as if it had done its work. `missing` names the variable that only the environment sets of which it
    was asked whether it is set; `missing_if` is the answer if it is not.
    """

    holds: bool | None
    by_default: bool = False
    external: bool = False
    missing: str = ""
    missing_if: bool = True

    def negated(self) -> "Truth":
        """The opposite."""
        if self.holds is None:
            return self._replace(missing_if=not self.missing_if, external=False)
        return self._replace(holds=not self.holds)


YES, NO, UNKNOWN, EXTERNAL = Truth(True), Truth(False), Truth(None), Truth(None, external=True)
_NUMBERS: dict[str, Callable[[int, int], bool]] = {
    "-eq": operator.eq,
    "-ne": operator.ne,
    "-lt": operator.lt,
    "-le": operator.le,
    "-gt": operator.gt,
    "-ge": operator.ge,
}


def fits(value: str, pattern: str | None) -> bool | None:
    """Whether a whole text is matched by a pattern of fnmatch; None where that is not known."""
    if pattern is None or not is_known(value) or len(value) > LONGEST:
        return None
    return re.match(fnmatch.translate(pattern), plain(value)) is not None


def words_tested(expander: Expander, text: str) -> Truth:
    """What [ ... ] or [[ ... ]] says, from its text; brackets within it are not followed."""
    width = 2 if text.startswith("[[") else 1
    try:
        words = words_of(text[width:-width])
    except ValueError:
        return UNKNOWN
    if width == 1:
        return fields_tested(expander, [field for word in words for field in expander.fields(word)])
    if any(word.startswith("(") or word in ("!(", "=~") for word in words):
        return UNKNOWN
    return _one(expander, words)


def _joined(one: Truth, other: Truth, *, ends: bool) -> Truth:
    """Of two answers, `ends` is the one that settles it."""
    if settled := next((truth for truth in (one, other) if truth.holds is ends), None):
        return settled
    if one.holds is None or other.holds is None:
        return UNKNOWN
    return Truth(not ends, by_default=one.by_default or other.by_default)


def _one(expander: Expander, words: list[str]) -> Truth:
    """What [[ ]] says of its words, which are not split."""
    for by, ends in (("||", True), ("&&", False)):
        if by in words:
            at = words.index(by)
            return _joined(_one(expander, words[:at]), _one(expander, words[at + 1 :]), ends=ends)
    if words[:1] == ["!"]:
        return _one(expander, words[1:]).negated()
    if len(words) == 3 and words[1] in ("==", "=", "!="):
        value, source = expander.single(words[0]), expander.single(words[2])
        found = fits(value, expander.pattern(words[2]))
        equal = words[1] != "!="
        return UNKNOWN if found is None else Truth(found == equal, by_default=BY_DEFAULT in value + source)
    if len(words) == 3 and words[1] in _NUMBERS:
        return _compared(words[1], expander.number(words[0]), expander.number(words[2]))
    return fields_tested(expander, [expander.single(word) for word in words])


def fields_tested(expander: Expander, fields: list[str]) -> Truth:
    """What test says of its arguments."""
    words = [plain(field) for field in fields]
    if any(WIDE in field for field in fields) and words[:1] not in (["-z"], ["-n"], ["!"]):
        return UNKNOWN  # nobody knows how many they are
    for by, ends in (("-o", True), ("-a", False)):
        if len(words) > 3 and by in words[1:-1]:
            at = words.index(by, 1)
            left, right = fields_tested(expander, fields[:at]), fields_tested(expander, fields[at + 1 :])
            return _joined(left, right, ends=ends)
    if words[:1] == ["!"] and len(words) > 1:
        return fields_tested(expander, fields[1:]).negated()
    if len(fields) == 1 or (len(fields) == 2 and words[0] in ("-n", "-z")):
        truth = _is_set(expander, fields[-1])
        return truth.negated() if words[0] == "-z" and len(fields) == 2 else truth
    if len(fields) == 2 and words[0] == "-v" and re.fullmatch(r"[A-Za-z_]\w*", words[1]):
        if words[1] not in expander.scope.variables:
            return Truth(None, missing=words[1], missing_if=False)
        return Truth(expander.scope.variables[words[1]] is not None)
    if len(fields) == 3 and words[1] in ("=", "==", "!=") and is_known(fields[0] + fields[2]):
        equal = words[1] != "!="
        return Truth((words[0] == words[2]) == equal, by_default=BY_DEFAULT in fields[0] + fields[2])
    if len(fields) == 3 and words[1] in _NUMBERS:
        return _compared(words[1], fields[0], fields[2])
    return UNKNOWN if fields else NO


def _is_set(expander: Expander, text: str) -> Truth:
    """Whether a text is not empty; one that only the environment sets is missing until then."""
    if is_known(text):
        return Truth(bool(plain(text)), by_default=BY_DEFAULT in text)
    if has_text(text):
        return YES
    unknown = expander.unknowns.alone(text)
    return Truth(None, missing=unknown.name if unknown else "", missing_if=False)


def _compared(by: str, left: str, right: str) -> Truth:
    try:
        holds = _NUMBERS[by](int(plain(left)), int(plain(right)))
    except ValueError:
        return UNKNOWN
    return Truth(holds, by_default=BY_DEFAULT in left + right)
