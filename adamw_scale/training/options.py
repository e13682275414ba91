"""Options that are given as NAME=VALUE: which there are, and the numbers among them."""

import math
from collections.abc import Callable, Iterable

from adamw_scale.errors import SpecError


def refuse_unknown(whose: str, options: Iterable[str], known: Iterable[str] = ()) -> None:
    """SpecError for an option that a task or an engine does not know."""
    for option in options:
        if option not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise SpecError(f"{whose} has no option {option!r}: {takes}")


def number(option: str, text: str, low: float, high: float, kind: str, read: Callable[[str], float] = float) -> float:
    """The number that an option is given as; SpecError where it is none of that kind (such as "whole number of steps").

    Example:
        >>> number("--task-option batch", "4", 1, 1024, "whole number")
        4.0
    """
    try:
        value = read(text)
    except (ValueError, SpecError):
        value = math.nan
    if not low <= value <= high or (kind.startswith("whole") and not value.is_integer()):
        raise SpecError(f"{option}={text[:60]}: pass a {kind} from {low:g} to {high:g}")
    return value
