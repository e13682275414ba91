"""Reading a learning-rate schedule from a file of any length, in constant memory.

One number a line is the learning rate of each step in turn. Two numbers a line, separated by a comma,
a semicolon or blanks, are a step and its learning rate, with straight lines between. Quotes, what follows
a #, and one heading are skipped. The largest learning rate is the peak; where it is 1 the file holds fractions.
"""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from adamw_scale.errors import SpecError

MAX_BINS = 1024
MAX_LINE = 200

Point = tuple[float, float]


class _Bins:
    """Learning rate against width, thinned two by two so that its sum stays exact."""

    def __init__(self) -> None:
        self.bins: list[Point] = []  # width, area
        self.size = 1.0  # narrowest width that a bin is closed at
        self.thinned = False

    def add(self, width: float, area: float) -> None:
        if self.bins and self.thinned and self.bins[-1][0] < self.size:
            last_width, last_area = self.bins.pop()
            width, area = width + last_width, area + last_area
        self.bins.append((width, area))
        if len(self.bins) > MAX_BINS:
            self.thinned = True
            pairs = zip(self.bins[::2], [*self.bins[1::2], (0.0, 0.0)], strict=False)
            self.bins = [(a[0] + b[0], a[1] + b[1]) for a, b in pairs]
            self.size = max(width for width, _ in self.bins)


class ScheduleFile(NamedTuple):
    """What a file holds: points (progress, lr / peak) from 0 to 1, two at the same progress being a jump; steps; peak."""

    points: tuple[Point, ...]
    steps: float
    peak: float


def read_schedule_file(path: str) -> ScheduleFile:
    """The shape, the length and the peak of a file's learning rates.

    Raises:
        SpecError: unreadable, a line that is not one or two numbers, a negative rate, steps that do not rise, no rate
            above 0.
    """
    bins, points, peak = _Bins(), [], 0.0
    rows = _rows(path)
    first = next(rows, None)
    if first is None:
        raise SpecError(f"{path}: holds no learning rate. Write one a line, or step and learning rate")
    if len(first) == 1:
        bins.add(1.0, first[0])
        peak = first[0]
        for row in rows:
            bins.add(1.0, row[0])
            peak = max(peak, row[0])
    else:
        before = (first[0], first[1])
        points.append(before)
        peak = before[1]
        for step, lr in rows:
            bins.add(step - before[0], (step - before[0]) * (lr + before[1]) / 2)
            before, peak = (step, lr), max(peak, lr)
            if not bins.thinned:
                points.append(before)
    if peak <= 0 or not sum(width for width, _ in bins.bins):
        raise SpecError(
            f"{path}: no stretch of it has a learning rate above 0. Check its columns: step, then learning rate"
        )
    shape = _scaled(points, peak) if points and not bins.thinned else _levels(bins.bins, peak)
    return ScheduleFile(shape, sum(width for width, _ in bins.bins), peak)


def _scaled(points: list[Point], peak: float) -> tuple[Point, ...]:
    start, end = points[0][0], points[-1][0]
    return tuple(((step - start) / (end - start), lr / peak) for step, lr in points)


def _levels(bins: list[Point], peak: float) -> tuple[Point, ...]:
    """Bins as level stretches with jumps between; equal neighbours become one, and thinning lowers no peak."""
    total = sum(width for width, _ in bins)
    heights = [area / width if width else 0.0 for width, area in bins]
    if max(heights) < 0.99 * peak:
        raise SpecError(
            f"the peak of {peak:g} lasts too short to be told from a slip: cut the spike out of the schedule file"
        )
    points: list[Point] = []
    position = 0.0
    for (width, _), height in zip(bins, heights, strict=True):
        level = min(1.0, height / peak)
        if len(points) > 1 and points[-1][1] == level:
            points.pop()
        else:
            points.append((position / total, level))
        position += width
        points.append((min(1.0, position / total), level))
    points[-1] = (1.0, points[-1][1])
    return tuple(points)


def _rows(path: str) -> Iterator[tuple[float, ...]]:
    """One or two finite numbers a line, checked; the first line may be a heading."""
    columns, before = 0, -1.0
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise SpecError(f"{path} is not a file. Pass a file of learning rates")
        with Path(path).open(encoding="utf-8-sig") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), ""), 1):
                parts = line.split("#")[0].replace(",", " ").replace(";", " ").replace('"', " ").split()
                if not parts:
                    continue
                try:
                    row = tuple(float(part) for part in parts)
                except ValueError:
                    if number == 1:
                        continue
                    row = ()
                columns = columns or len(row)
                if len(row) != columns or columns not in (1, 2) or not 0 <= row[-1] <= 1e6 or not row[0] <= 1e18:
                    raise SpecError(
                        f"{path}, line {number}: {line.strip()[:40]!r} is not a learning rate, or a step and a learning rate, "
                        "like the lines before it. Write numbers of at least 0"
                    )
                if columns == 2 and row[0] < before:
                    raise SpecError(
                        f"{path}, line {number}: step {row[0]:g} comes after {before:g}. Sort the file by step"
                    )
                before = row[0]
                yield row
    except (OSError, ValueError) as error:
        reason = (
            "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", None) or error
        )
        raise SpecError(f"{path}: {reason}. Pass a readable text file of learning rates") from None
