"""A curve in one line of text."""

import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-=+*%#"
NO_NUMBER = "x"


def sparkline(values: Sequence[float], width: int, levels: str = BLOCKS) -> str:
    """A character per value, higher for higher ones; of more values than `width`, every so manieth, and the last.

    Values that are equal are drawn at the lowest level, what is not a finite number as "x".

    Example:
        >>> sparkline([4.0, 2.5, 1.8, 1.4, 1.2, 1.1], 6)
        '█▄▂▁▁▁'
    """
    count = min(len(values), max(0, width))
    shown = [values[(i + 1) * len(values) // count - 1] for i in range(count)]
    finite = [value for value in shown if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    span = high / 2 - low / 2  # the halves' difference is finite, whatever the values
    return "".join(
        levels[_level((value / 2 - low / 2) / span if span else 0.0, len(levels))]
        if math.isfinite(value)
        else NO_NUMBER
        for value in shown
    )


def _level(share: float, levels: int) -> int:
    return min(levels - 1, int(share * levels))
