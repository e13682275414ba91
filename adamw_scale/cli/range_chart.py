"""Values and their ranges on one logarithmic axis, in plain text, such as a weight decay and those of other rules."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from adamw_scale.cli.text import styled, width
from adamw_scale.units import format_significant

MOST = 60  # columns of the axis
ROUND = (1.0, 2.0, 5.0)  # of every decade, where there is room for their labels
MARGIN = 0.04  # of the axis on either side of the outermost values
GAP = 3  # columns between labels


class Row(NamedTuple):
    """A value, above 0, with its range if it has one; that may begin at 0."""

    name: str
    value: float
    interval: tuple[float, float] | None = None
    bold: bool = False


def draw_ranges(title: str, rows: Sequence[Row]) -> str:
    """The axis' labels under its title, then a line for each row; a value is ●, its range ├─┤, or ◄─┤ from 0."""
    ends = [math.log(each) for row in rows for each in (row.value, *(row.interval or ())) if each > 0]
    span = max(max(ends) - min(ends), math.log(4))
    center = (max(ends) + min(ends)) / 2
    low, high = center - span * (0.5 + MARGIN), center + span * (0.5 + MARGIN)
    indent = max(len(title), *(len(row.name) for row in rows)) + 4
    columns = min(MOST, width() - indent - 4)

    def column(value: float) -> int:
        return min(columns - 1, max(0, round((math.log(value) - low) / (high - low) * (columns - 1))))

    lines = [styled((f"  {title}".ljust(indent) + _labels(low, high, columns)).rstrip(), dim=True)]
    for row in rows:
        cells = [" "] * columns
        if row.interval is not None:
            lowest, highest = row.interval
            first, last = column(lowest) if lowest else 0, column(highest)
            cells[first : last + 1] = "─" * (last + 1 - first)
            cells[first], cells[last] = "├" if lowest else "◄", "┤"
        cells[column(row.value)] = "●"
        lines.append(styled(f"  {row.name}".ljust(indent) + "".join(cells).rstrip(), bold=row.bold))
    return "\n".join(lines)


def _labels(low: float, high: float, columns: int) -> str:
    """Round numbers over their columns: of every decade as many as there is room for."""
    for digits in (ROUND, (1.0, 3.0), (1.0,)):
        decades = range(math.floor(low / math.log(10)), math.ceil(high / math.log(10)) + 1)
        values = [digit * 10.0**decade for decade in decades for digit in digits]
        placed = [
            (round((math.log(value) - low) / (high - low) * (columns - 1)), format_significant(value))
            for value in values
            if low <= math.log(value) <= high
        ]
        if all(b - a >= len(text) + GAP for (a, text), (b, _) in pairwise(placed)):
            break
    line = ""
    for at, text in placed:
        if at >= len(line):
            line = line.ljust(at) + text + " "
    return line
