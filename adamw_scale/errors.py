"""What can go wrong, as types.

AdamWScaleError
├── SpecError            the input contradicts itself or leaves the possible range
│   ├── UnknownNameError     no rule, schedule, framework ... of that name
│   └── MissingInputError    a needed value was not given
├── UnusableAnswerError  there is an answer, and it must not be used; exit status 1, all others 2
├── CalibrationError     a calibration cannot be read or cannot be fitted
├── ProbeError           a probe training could not be run at all
└── MissingExtraError    an optional dependency is not installed

Every message is one line: what is wrong with its value, why, and what to pass instead. All of them
mean "the caller must change something"; the command line ends with status 2. A *scientific* failure
(no optimum located, a diverged probe, a run outside a rule's domain) is a value, never an exception.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class AdamWScaleError(Exception):
    """Base of every error this package raises on purpose; `status` is what a command exits with."""

    status: ClassVar[int] = 2


class SpecError(AdamWScaleError):
    """The description of a run contradicts itself or leaves the possible range."""


class UnknownNameError(SpecError):
    """A name is not registered; the message carries the nearest match and the whole list.

    Where the list is too long for a line, `lister` is the command that shows it, and the nearest few are named.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], lister: str = "") -> None:
        names = sorted(known)
        near = get_close_matches(name[:60].lower(), names, n=4 if lister else 1, cutoff=0.5)
        guess = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        rest = f"{lister} lists them all" if lister else f"known: {', '.join(names)}"
        super().__init__(f"unknown {kind} {name[:60]!r}: {guess}{rest}")


class UnusableAnswerError(AdamWScaleError):
    """There is an answer, and it must not be used as it is."""

    status = 1


class MissingInputError(SpecError):
    """A needed value was not given; the message names the option that gives it."""


class CalibrationError(AdamWScaleError):
    """A calibration, or its store of probes, cannot be read or cannot be used."""


class ProbeError(AdamWScaleError):
    """A probe training could not be run at all (a diverged one is a result, not an error)."""


class MissingExtraError(AdamWScaleError):
    """An optional dependency is not installed; the message is the command that installs it."""

    def __init__(self, package: str, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs {package}, which is not installed. "
            f"Run: pip install 'adamw-scale[{extra}]', or from a clone: pip install '.[{extra}]'"
        )
