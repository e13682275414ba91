"""Texts of shell variables of which parts are not known, or are defaults that may be changed.

Both are said inside the text, by characters of Unicode's private planes, so that they stay with it wherever it is cut,
joined and split: one for each thing that is not known, one before what came from a default, one after what may be
several words or none.
"""

import re
from typing import NamedTuple

BY_DEFAULT = "\U0010fffd"
WIDE = "\U0010fffc"
_FIRST, _LAST = 0xF0000, 0xFFFFD
_UNKNOWN = re.compile("[\U000f0000-\U000ffffd]")
PRIVATE = re.compile("[\U000f0000-\U0010ffff]")
LONGEST = 1 << 16  # characters of a value
MOST_OF_A_REASON = 160  # characters

Array = dict[str, str]  # by index or key, in order
Value = str | Array | None  # None: certainly unset


class Unknown(NamedTuple):
    """What is not known: as written, why for people, and what it might be.

    `name` is of the variable or parameter that only an environment or a command line sets; until then it is unset.
    """

    written: str
    why: str
    name: str = ""
    alternatives: tuple[str, ...] = ()


class Unknowns:
    """What is not known in a script, each with a character of its own."""

    def __init__(self) -> None:
        self._all: list[Unknown] = []
        self._places: dict[Unknown, str] = {}

    def mark(self, written: str, why: str = "", name: str = "", alternatives: tuple[str, ...] = ()) -> str:
        """The character that stands for something unknown."""
        unknown = Unknown(_short(written), _short(self.shown(why or written)), name, alternatives)
        if unknown not in self._places:
            if len(self._all) > _LAST - _FIRST:
                raise ValueError("more unknown values than a script has")
            self._places[unknown] = chr(_FIRST + len(self._all))
            self._all.append(unknown)
        return self._places[unknown]

    def within(self, text: str) -> list[Unknown]:
        """What is not known of a text, in order."""
        return [self._all[ord(each) - _FIRST] for each in _UNKNOWN.findall(text)]

    def alone(self, text: str) -> Unknown | None:
        """The unknown that a text is, where it is nothing else."""
        bare = text.replace(WIDE, "").replace(BY_DEFAULT, "")
        return self.within(bare)[0] if len(bare) == 1 and not is_known(bare) else None

    def shown(self, text: str) -> str:
        """A text with what is not known as it was written."""
        return plain(_UNKNOWN.sub(lambda each: self._all[ord(each[0]) - _FIRST].written, text))


def is_known(text: str) -> bool:
    """Whether all of a text is known."""
    return _UNKNOWN.search(text) is None


def has_text(text: str) -> bool:
    """Whether something of a text is known, so that it is not empty."""
    return re.search("[^\U000f0000-\U0010ffff]", text) is not None


def plain(text: str) -> str:
    """A text without signs of where it came from."""
    return text.replace(BY_DEFAULT, "").replace(WIDE, "")


def widened(text: str) -> str:
    """A text that is to be split: what is not known of it may be several words."""
    return _UNKNOWN.sub(rf"\g<0>{WIDE}", text.replace(WIDE, ""))


def defaulted(text: str) -> str:
    """A text that came from a default, in each of its words."""
    return re.sub(r"(?<!\S)(?=\S)", BY_DEFAULT, text)


def like(text: str, *sources: str) -> str:
    """A text that came from others, one of which may have been a default."""
    return defaulted(text) if any(BY_DEFAULT in source for source in sources) else text


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MOST_OF_A_REASON else text[: MOST_OF_A_REASON - 1] + "…"
