"""A schedule in whole steps, for frameworks that chain schedules of their own."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.spelling import whole
from adamw_scale.theory.schedules import Schedule

MOST_PHASES = 64  # of a schedule that is written out phase by phase
_CURVES = {
    **dict.fromkeys(("cosine", "wsd-cosine", "one-cycle", "cosine-restarts"), "cosine"),
    **dict.fromkeys(("polynomial", "exponential", "inverse-sqrt"), "own"),
    "wsd-1-sqrt": "1-sqrt",
}


class Phase(NamedTuple):
    """A stretch of a schedule in whole steps, with the multipliers at its ends.

    `curve` is "level", "line", "cosine", "1-sqrt", or the name of the schedule whose fall it is.
    """

    curve: str
    start: int
    end: int
    first: float
    last: float

    @property
    def steps(self) -> int:
        """How many steps it takes."""
        return self.end - self.start


def phases(config: Config) -> tuple[Phase, ...]:
    """The schedule in whole steps; phases shorter than a step are left out."""
    schedule, steps = config.lr_schedule, whole(config.total_steps)
    return tuple(_phases(schedule, steps))


def _phases(schedule: Schedule, steps: int) -> Iterator[Phase]:
    end = 0
    for piece in schedule.pieces:
        start, end = end, math.ceil((piece.start + piece.width) * steps - 1e-6)
        first, last = piece.curve.value(0.0), piece.curve.value(1.0)
        curve = _CURVES.get(schedule.name, "line")
        if first == last:
            curve = "level"
        elif (piece.start, first, last) == (0.0, 0.0, 1.0):
            curve = "line"
        if end > start:
            yield Phase(schedule.name if curve == "own" else curve, start, end, first, last)
