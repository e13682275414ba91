"""Learning-rate shapes: what fraction of the peak learning rate a run uses, and when.

A schedule is a chain of pieces: a warm-up, a stable phase at the peak, one or more falls. Each piece
is a `Curve` over its own u in [0, 1] whose area and area of the square are known in closed form, so
every sum over the run (decay mass, retention, what the weights remember) takes constant time however
long the run is. Fractions are of the whole run. A new shape is one entry in `SCHEDULES`.

Sources: linear decay to zero, arXiv:2502.15938; cosine and restarts, arXiv:1608.03983; WSD (warm-up,
stable, decay), arXiv:2404.06395, its 1-sqrt fall arXiv:2405.18392; inverse square root,
arXiv:1706.03762; one-cycle, arXiv:1708.07120; multi-step, arXiv:2401.02954.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from adamw_scale.errors import MissingInputError, SpecError, UnknownNameError
from adamw_scale.theory.curves import Curve, cosine, geometric, inverse_sqrt, level, line, one_minus_sqrt, power

MAX_PIECES = 4096
LONGEST_TO_SHORTEST = 1e9  # of the cycles of a schedule with restarts
CURVED = 64  # straight lines for a piece that is none, the shorter the earlier: square roots are steep at first
NEARLY_PEAK = 0.99  # the largest multiplier of a table, at least
SHORTEST_STRETCH = 1e-12  # of the run; what is shorter holds no step and is left out

# What is meant where an option is not given.
DECAY_FRACTION, STEP_FACTOR, POWER = 0.2, 0.1, 2.0
ONE_CYCLE_WARMUP, ONE_CYCLE_START, ONE_CYCLE_FINAL = 0.3, 1 / 25, 1 / 25e4  # as PyTorch's OneCycleLR

# Options of a schedule beyond its name, with their command-line flags.
OPTIONS = {
    "warmup_fraction": "--warmup",
    "final_lr_fraction": "--final-lr-fraction",
    "decay_fraction": "--decay-fraction",
    "schedule_power": "--schedule-power",
    "milestones": "--milestones",
    "step_factor": "--step-factor",
    "cycles": "--cycles",
    "cycle_growth": "--cycle-growth",
    "schedule_table": "--schedule-file",
}


class Piece(NamedTuple):
    """A curve on a stretch of the run."""

    start: float
    width: float
    curve: Curve


@dataclass(frozen=True)
class Schedule:
    """A learning-rate schedule as a function of progress through the run; `name` says which options have a meaning.

    Raises:
        UnknownNameError: no such schedule.
        MissingInputError: the schedule needs an option that was not given.
        SpecError: an option has no effect on this schedule, or warm-up and decay take more than the run.

    Example:
        >>> Schedule("linear", warmup_fraction=0.1).mean()
        0.5
    """

    name: str  # a key of `SCHEDULES`
    warmup_fraction: float | None = None  # part of the run spent warming up, linearly from 0, in [0, 1)
    final_lr_fraction: float | None = None  # final over peak learning rate, in [0, 1]
    decay_fraction: float | None = None  # WSD: part of the run spent falling
    schedule_power: float | None = None  # polynomial: exponent of the fall
    milestones: tuple[float, ...] | None = None  # step: points of the run, rising, at which the rate drops
    step_factor: float | None = None  # step: factor of each drop
    cycles: float | None = None  # cosine-restarts: how many
    cycle_growth: float | None = None  # cosine-restarts: length of each cycle over that of the one before
    schedule_table: tuple[tuple[float, float], ...] | None = None  # (progress, multiplier), jumps where two coincide

    def __post_init__(self) -> None:
        if self.name not in SCHEDULES:
            raise UnknownNameError("schedule", self.name, SCHEDULES)
        for option, flag in OPTIONS.items():
            given = getattr(self, option)
            if option == "warmup_fraction" and (given or 0.0) < SHORTEST_STRETCH:
                given = None
            if option not in self.kind.takes and given is not None:
                users = [other for other, kind in SCHEDULES.items() if option in kind.takes]
                raise SpecError(
                    f"{flag} has no effect in schedule {self.name!r}: drop it, or pass --schedule with "
                    f"one of {', '.join(users)}"
                )
            if option in self.kind.needs and not given:
                raise MissingInputError(f"schedule {self.name!r} needs {flag}: pass it, above 0")
        _ = self.pieces  # refuses what does not fit in the run

    @property
    def kind(self) -> "ScheduleKind":
        """The entry of `SCHEDULES`."""
        return SCHEDULES[self.name]

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The chain, in order; pieces of no width are left out."""
        return tuple(piece for piece in self.kind.pieces(self) if piece.width > SHORTEST_STRETCH)

    @property
    def warmup(self) -> float:
        """Part of the run spent warming up, given or by default."""
        if self.warmup_fraction is None:
            return ONE_CYCLE_WARMUP if self.name == "one-cycle" else 0.0
        return self.warmup_fraction

    @property
    def floor(self) -> float:
        """Where the fall of the shapes that take `final_lr_fraction` ends."""
        if self.final_lr_fraction is None:
            return ONE_CYCLE_FINAL if self.name == "one-cycle" else 0.0
        return self.final_lr_fraction

    @property
    def falling_fraction(self) -> float:
        """Part of the run over which the multiplier falls."""
        if not self.has_stable_phase:
            return 1.0 - self.warmup
        return DECAY_FRACTION if self.decay_fraction is None else self.decay_fraction

    @property
    def has_stable_phase(self) -> bool:
        """Whether the fall takes only `decay_fraction` of the run."""
        return "decay_fraction" in self.kind.takes

    @property
    def falls(self) -> bool:
        """Whether the run ends below the peak."""
        return self.final < 1.0

    @cached_property
    def final(self) -> float:
        """The multiplier at the end of the run."""
        return self.multiplier(1.0)

    @property
    def last_cycle_fraction(self) -> float:
        """Part of the run since its last restart; all of it where there is none."""
        return self.pieces[-1].width if self.name == "cosine-restarts" else 1.0

    @cached_property
    def _ends(self) -> list[tuple[float, float, float]]:
        """Start of each piece, and integrals of multiplier and of its square up to there; the run's end last."""
        rows, area, square = [], 0.0, 0.0
        for start, width, curve in self.pieces:
            rows.append((start, area, square))
            area += width * curve.area(1.0)
            square += width * curve.area_of_square(1.0)
        return [*rows, (1.0, area, square)]

    @cached_property
    def _starts(self) -> list[float]:
        return [piece.start for piece in self.pieces]

    def _at(self, progress: float) -> tuple[int, float]:
        """Piece at a point of the run, and u in it."""
        index = max(0, bisect_right(self._starts, progress) - 1)
        start, width, _ = self.pieces[index]
        if progress >= 1.0:
            return index, 1.0
        return index, min(1.0, max(0.0, (progress - start) / width))

    def multiplier(self, progress: float) -> float:
        """lr / peak_lr at a point of the run, `progress` in [0, 1]."""
        index, u = self._at(progress)
        return self.pieces[index].curve.value(u)

    def cumulative(self, progress: float) -> float:
        """Integral of the multiplier from the start of the run to `progress`."""
        index, u = self._at(progress)
        return self._ends[index][1] + self.pieces[index].width * self.pieces[index].curve.area(u)

    def cumulative_square(self, progress: float) -> float:
        """Integral of the squared multiplier from the start of the run to `progress`."""
        index, u = self._at(progress)
        return self._ends[index][2] + self.pieces[index].width * self.pieces[index].curve.area_of_square(u)

    def mean(self) -> float:
        """Mean multiplier over the run, in closed form.

        Example:
            >>> round(Schedule("cosine", final_lr_fraction=0.1).mean(), 6)
            0.55
        """
        return self._ends[-1][1]

    def mean_square(self) -> float:
        """Mean squared multiplier over the run, in closed form: 1/3 for linear, 3/8 for cosine to zero."""
        return self._ends[-1][2]


def ended(schedule: Schedule, length: float, rest: float | None = None) -> Schedule:
    """What a run gets of a schedule that was made for another length, as a table of straight lines.

    The schedule itself where the run is over before its peak, as a table is in parts of that.

    Args:
        schedule: As a function of progress through its own length.
        length: That length, over the run's; above 1 the run ends first.
        rest: Multiplier of whatever follows the schedule; None where its last one stays.

    Example:
        >>> round(ended(Schedule("cosine"), 2.0).final, 6), ended(Schedule("linear"), 0.5).mean()
        (0.5, 0.25)
    """
    points = [
        (min(1.0, start + width * (number / parts) ** 2) * length, curve.value((number / parts) ** 2))
        for start, width, curve in schedule.pieces
        for parts in (1 if curve.is_straight else CURVED,)
        for number in range(parts + 1)
    ]
    points.sort(key=lambda point: point[0])  # where one piece ends and the next starts they may differ by rounding
    points[0] = (0.0, points[0][1])
    if length < 1:
        last = schedule.final if rest is None else rest
        points += [(length, last), (1.0, last)]
    else:
        points = [*(point for point in points if point[0] < 1), (1.0, schedule.multiplier(1 / length))]
    if max(multiplier for _, multiplier in points) < NEARLY_PEAK:
        return schedule
    return Schedule("table", schedule_table=tuple(points))


class ScheduleKind(NamedTuple):
    """A shape: which options it takes and needs, and the pieces they make.

    `formula` is lr / peak_lr after the warm-up: u goes from 0 to 1 through the fall, p through the run, f is the final
    fraction and w that of the warm-up.
    """

    summary: str
    formula: str
    pieces: Callable[[Schedule], Iterator[Piece]]
    takes: tuple[str, ...]
    needs: tuple[str, ...] = ()

    @property
    def flags(self) -> str:
        """The command-line flags of what it takes."""
        return " ".join(OPTIONS[option] for option in self.takes)


def _falling(curve: Callable[[Schedule], Curve]) -> Callable[[Schedule], Iterator[Piece]]:
    """Linear warm-up, a stable phase where the shape has one, then a fall from 1 to the final fraction."""

    def pieces(schedule: Schedule) -> Iterator[Piece]:
        warmup, falling = schedule.warmup, schedule.falling_fraction
        stable = 1.0 - warmup - falling
        if stable < -SHORTEST_STRETCH:
            raise SpecError(
                f"--warmup ({warmup:.4g} of the run) and --decay-fraction ({falling:.4g}) take more than the whole "
                "run: lower one of them"
            )
        yield Piece(0.0, warmup, line(0, 1))
        yield Piece(warmup, stable, level(1))
        yield Piece(1.0 - falling, falling, curve(schedule))

    return pieces


def _step(schedule: Schedule) -> Iterator[Piece]:
    """Constant between milestones, each drop by the same factor."""
    warmup, factor = schedule.warmup, STEP_FACTOR if schedule.step_factor is None else schedule.step_factor
    milestones = schedule.milestones or ()
    if tuple(sorted(set(milestones))) != milestones or not warmup < milestones[0] or milestones[-1] >= 1:
        raise SpecError(
            f"--milestones = {','.join(f'{m:g}' for m in milestones)}: they must rise, after the warm-up and before "
            "the end of the run, which is 1"
        )
    yield Piece(0.0, warmup, line(0, 1))
    bounds = [warmup, *milestones, 1.0]
    for number, (start, end) in enumerate(pairwise(bounds)):
        yield Piece(start, end - start, level(factor**number))


def _one_cycle(schedule: Schedule) -> Iterator[Piece]:
    """Half a cosine up from a 25th of the peak, half a cosine down."""
    warmup = schedule.warmup
    yield Piece(0.0, warmup, cosine(ONE_CYCLE_START, 1))
    yield Piece(warmup, 1 - warmup, cosine(1, schedule.floor))


def _restarts(schedule: Schedule) -> Iterator[Piece]:
    """Cosine cycles, each `cycle_growth` times as long as the one before."""
    warmup, cycles, growth = schedule.warmup, schedule.cycles or 0.0, schedule.cycle_growth or 1.0
    if cycles != int(cycles) or cycles > MAX_PIECES:
        raise SpecError(f"--cycles = {cycles:g} is not a whole number up to {MAX_PIECES}")
    if (cycles - 1) * math.log(growth) > math.log(LONGEST_TO_SHORTEST):
        raise SpecError(
            f"--cycle-growth = {growth:g} leaves nothing to the shortest of {cycles:g} cycles: lower it, or --cycles"
        )
    lengths = [growth**number for number in range(int(cycles))]
    unit, start = (1.0 - warmup) / math.fsum(lengths), warmup
    yield Piece(0.0, warmup, line(0, 1))
    for length in lengths:
        yield Piece(start, unit * length, cosine(1, schedule.floor))
        start += unit * length


def _table(schedule: Schedule) -> Iterator[Piece]:
    """Straight lines between the points of a table, which has its own warm-up."""
    points = schedule.schedule_table or ()
    rising = all(a[0] <= b[0] for a, b in pairwise(points))
    if len(points) < 2 or not rising or points[0][0] != 0 or points[-1][0] != 1:
        raise SpecError("--schedule-file (schedule_table) needs points of rising progress, from 0 to 1: sort them")
    if not NEARLY_PEAK <= max(m for _, m in points) <= 1 / NEARLY_PEAK:
        raise SpecError(
            "--schedule-file (schedule_table) holds fractions of the peak, so its largest is 1: divide by the peak"
        )
    for (start, a), (end, b) in pairwise(points):
        yield Piece(start, end - start, line(a, b) if a != b else level(a))


_WARM, _FINAL, _DECAY = ("warmup_fraction",), ("final_lr_fraction",), ("decay_fraction",)

SCHEDULES: dict[str, ScheduleKind] = {
    "constant": ScheduleKind("the peak throughout", "1", _falling(lambda schedule: level(1)), _WARM),
    "linear": ScheduleKind(
        "straight down (arXiv:2502.15938)",
        "1 - (1 - f) * u",
        _falling(lambda schedule: line(1, schedule.floor)),
        _WARM + _FINAL,
    ),
    "cosine": ScheduleKind(
        "half a cosine wave (arXiv:1608.03983)",
        "f + (1 - f) * (1 + cos(pi * u)) / 2",
        _falling(lambda schedule: cosine(1, schedule.floor)),
        _WARM + _FINAL,
    ),
    "wsd": ScheduleKind(
        "stable, then straight down (arXiv:2404.06395)",
        "1, then 1 - (1 - f) * u",
        _falling(lambda schedule: line(1, schedule.floor)),
        _WARM + _FINAL + _DECAY,
    ),
    "wsd-cosine": ScheduleKind(
        "stable, then half a cosine wave",
        "1, then f + (1 - f) * (1 + cos(pi * u)) / 2",
        _falling(lambda schedule: cosine(1, schedule.floor)),
        _WARM + _FINAL + _DECAY,
    ),
    "wsd-1-sqrt": ScheduleKind(
        "stable, then 1 - sqrt (arXiv:2405.18392)",
        "1, then 1 - (1 - f) * sqrt(u)",
        _falling(lambda schedule: one_minus_sqrt(1, schedule.floor)),
        _WARM + _FINAL + _DECAY,
    ),
    "inverse-sqrt": ScheduleKind(
        "one over the square root of the step after warm-up (arXiv:1706.03762)",
        "sqrt(w / p)",
        _falling(lambda schedule: inverse_sqrt(1 / schedule.warmup - 1)),
        _WARM,
        needs=_WARM,
    ),
    "polynomial": ScheduleKind(
        "(1 - u) to a power, 2 if not said",
        "f + (1 - f) * (1 - u)^power",
        _falling(
            lambda schedule: power(
                1, schedule.floor, POWER if schedule.schedule_power is None else schedule.schedule_power
            )
        ),
        (*_WARM, *_FINAL, "schedule_power"),
    ),
    "exponential": ScheduleKind(
        "the same factor every step, down to the final fraction",
        "f^u",
        _falling(lambda schedule: geometric(schedule.floor) if schedule.floor < 1 else level(1)),
        _WARM + _FINAL,
        needs=_FINAL,
    ),
    "step": ScheduleKind(
        "drops by a factor at milestones (arXiv:2401.02954)",
        "factor^(milestones passed)",
        _step,
        (*_WARM, "milestones", "step_factor"),
        needs=("milestones",),
    ),
    "one-cycle": ScheduleKind(
        "up from a 25th of the peak over the first 30 %, then down to nothing, both cosine (arXiv:1708.07120)",
        "f + (1 - f) * (1 + cos(pi * u)) / 2",
        _one_cycle,
        _WARM + _FINAL,
    ),
    "cosine-restarts": ScheduleKind(
        "cosine cycles, each growing in length if asked (arXiv:1608.03983)",
        "in each cycle, f + (1 - f) * (1 + cos(pi * u)) / 2",
        _restarts,
        (*_WARM, *_FINAL, "cycles", "cycle_growth"),
        needs=("cycles",),
    ),
    "table": ScheduleKind(
        "your own, from a file of learning rates",
        "straight lines between the points of the file",
        _table,
        ("schedule_table",),
        needs=("schedule_table",),
    ),
}
