"""Reading a learning-rate schedule from a file of any length, in constant memory.

One number a line is the learning rate of each step in turn. Two numbers a line, separated by a comma,
a semicolon or blanks, are a step and its learning rate, with straight lines between. Quotes, what follows
a #, and one heading are skipped. The largest learning rate is the peak; where it is 1 the file holds fractions.
"""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from adamw_scale.errors import SpecError

MAX_BINS = 1024
MAX_LINE = 4096  # characters, without comments
PUNCTUATION = str.maketrans(',;"', "   ")

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
    """What a file holds."""

    points: tuple[Point, ...]  # (progress, lr / peak) from progress 0 to 1; two at the same progress are a jump
    steps: float  # that it was written for
    peak: float


def read_schedule_file(path: str) -> ScheduleFile:
    """The shape, the length and the peak of a file's learning rates.

    Raises:
        SpecError: unreadable, a line that is not one or two numbers, a negative rate, steps that do not rise, no rate
            above 0.
    """
    bins, points, last, peak = _Bins(), [], None, 0.0
    for row in _rows(path):
        peak = max(peak, row[-1])
        if len(row) == 1:
            bins.add(1.0, row[0])
            continue
        step, lr = row
        if last is not None:
            bins.add(step - last[0], (step - last[0]) * (lr + last[1]) / 2)
        last = step, lr
        if not bins.thinned:
            points.append(last)
    steps = sum(width for width, _ in bins.bins)
    if peak <= 0 or not steps:
        raise SpecError(f"{path}: no learning rate above 0 lasts a step in it. Write one a line, or step and rate")
    shape = _scaled(points, peak) if points and not bins.thinned else _levels(bins.bins, peak)
    return ScheduleFile(shape, steps, peak)


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
    """One or two finite numbers a line, checked; what comes first may be a heading."""
    columns, before, heading = 0, -1.0, False
    for number, line in enumerate(_lines(path), 1):
        parts = line.translate(PUNCTUATION).split()
        try:
            row = tuple(float(part) for part in parts)
        except ValueError:
            if not columns and not heading:
                heading = True
                continue
            row = ()
        if not parts:
            continue
        columns = columns or len(row)
        if len(row) != columns or columns not in (1, 2) or not 0 <= row[-1] <= 1e6 or not row[0] <= 1e18:
            raise SpecError(
                f"{path}, line {number}: {line.strip()[:40]!r} is not a learning rate, or a step and a learning rate, "
                "like the lines before it. Write numbers of at least 0"
            )
        if columns == 2 and row[0] < before:
            raise SpecError(f"{path}, line {number}: step {row[0]:g} comes after {before:g}. Sort the file by step")
        before = row[0]
        yield row


def _lines(path: str) -> Iterator[str]:
    """Lines of a text file without their comments, whose length does not matter."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise SpecError(f"{path} is not a file. Pass a file of learning rates")
        with Path(path).open(encoding="utf-8-sig") as file:
            for number, part in enumerate(iter(lambda: file.readline(MAX_LINE), ""), 1):
                line, comment, _ = part.partition("#")
                if _skip_rest(file, part) and not comment:
                    raise SpecError(
                        f"{path}, line {number}: longer than {MAX_LINE} characters. Write a learning rate a line"
                    )
                yield line
    except (OSError, ValueError) as error:
        reason = (
            "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", None) or error
        )
        raise SpecError(f"{path}: {reason}. Pass a readable text file of learning rates") from None


def _skip_rest(file: TextIO, part: str) -> bool:
    """Go on to the next line; whether the one that begins with `part` has more than that."""
    longer = False
    while part and not part.endswith("\n"):
        part = file.readline(MAX_LINE)
        longer |= bool(part.strip())
    return longer
