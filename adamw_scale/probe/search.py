"""Where to probe next: a pure function of what has been measured, in seeds and octaves.

A calibration that was killed asks the same question again and goes on as if it had not been.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from adamw_scale.errors import SpecError
from adamw_scale.theory.basin import Basin, fit_basin

Point = tuple[int, float]  # seed, log2(tau_run)

HALF_WINDOW = (0.0, -0.5, 0.5, -1.0, 1.0)  # octaves around the minimum, what tells most first
NARROW_ENOUGH = 0.5  # octaves: an 80 % interval that needs no further seed
RESOLVED_BY_WINDOW = 1.5  # octaves: the 80 % interval that a window of half octaves resolves


# How often the minimum is within half an octave on measured basins, and the median width of an 80 % interval: by
# tests/benchmarks/search.py and coverage.py. Plateaus have no minimum to speak of, whatever the number of probes.
RESOLVES = (
    (7, "a clear basin to half an octave in about 95 of 100 cases, without a second seed to tell how sure that is"),
    (12, "a clear basin to a tenth of an octave or two, with an interval; a noisy one to half an octave"),
    (18, "a clear basin to a tenth of an octave, a noisy one to a third"),
)


def resolution(probes: int) -> str:
    """What so many probes of one run can tell."""
    return next((says for least, says in reversed(RESOLVES) if probes >= least), RESOLVES[0][1])


@dataclass(frozen=True)
class Search:
    """A search over log2(tau_run), on common seeds: every second octave, refine, replicate where it pays.

    1. The first seed probes `coarse`. If none has a loss, that is all. While the lowest loss lies at an end, that end
       moves out by two octaves, as far as `limits`.
    2. The neighbours of the lowest loss, one octave away, until both are known; then half an octave away.
    3. Each further seed: half octaves from one octave below the fitted minimum to one above, or twice or three times as
       far where the interval is that wide. It ends when the minimum is located to within `NARROW_ENOUGH`, or there are
       no more seeds.

    A stage is looked at only when all of it is measured, so it makes no difference in which order its probes end, or
    whether the process died between them.

    Losses are infinite where a probe diverged and NaN where it failed, which says nothing about its timescale.
    """

    seeds: tuple[int, ...]
    coarse: tuple[float, ...]
    limits: tuple[float, float]
    most: int | None = None  # probes, whatever they have shown

    def __post_init__(self) -> None:
        if self.most is not None and self.most < len(self.coarse) + 2:
            raise SpecError(
                f"a budget of {self.most} probes locates nothing: at least {len(self.coarse) + 2} are needed. "
                "Raise --budget"
            )

    def next(self, seen: Mapping[Point, float]) -> list[Point]:
        """The stage after those that were seen, what tells most first; empty at the end."""
        stage = self._next(seen)
        return stage if self.most is None else stage[: max(0, self.most - len(seen))]

    @property
    def likely(self) -> int:
        """Probes of a search whose minimum lies inside `coarse`: nine or so, then five a seed."""
        usual = len(self.coarse) + 4 + len(HALF_WINDOW) * (len(self.seeds) - 1)
        return usual if self.most is None else min(usual, self.most)

    def _next(self, seen: Mapping[Point, float]) -> list[Point]:
        seed = self.seeds[0]
        first = {x: loss for (s, x), loss in seen.items() if s == seed and x == int(x) and not math.isnan(loss)}
        asked = {x for s, x in seen if s == seed}
        if not asked:
            return [(seed, x) for x in self.coarse]
        if not any(map(math.isfinite, first.values())):
            return []
        best = min(first, key=lambda x: first[x])
        low, high = self.limits
        outward = {min(first): max(low, best - 2), max(first): min(high, best + 2)}.get(best, best)
        for around in ([outward], [best - 1, best + 1], [best - 0.5, best + 0.5]):
            if refining := [x for x in around if low <= x <= high and x not in asked]:
                return [(seed, x) for x in refining]
        return self._replicate(seen)

    def _replicate(self, seen: Mapping[Point, float]) -> list[Point]:
        """The first further seed that is not measured, around where those before it lie lowest."""
        known = {point: loss for point, loss in seen.items() if point[0] == self.seeds[0]}
        for used, seed in enumerate(self.seeds[1:], start=1):
            basin = _fitted(tuple(known.items()))
            width = basin.interval[1] - basin.interval[0]
            if used > 1 and basin.status == "located" and width <= NARROW_ENOUGH:
                return []
            center = min(max(round(2 * basin.minimum) / 2, self.limits[0]), self.limits[1])
            stretch = min(max(1, round(width / RESOLVED_BY_WINDOW)), 3)
            window = [center + stretch * half for half in HALF_WINDOW]
            stage = [(seed, x) for x in window if self.limits[0] <= x <= self.limits[1]]
            if missing := [point for point in stage if point not in seen]:
                return missing
            known |= {point: seen[point] for point in stage}
        return []


@dataclass(frozen=True)
class Grid:
    """Points that are probed whatever they show, on every seed."""

    seeds: tuple[int, ...]
    coarse: tuple[float, ...]

    def next(self, seen: Mapping[Point, float]) -> list[Point]:
        """Every point that was not seen."""
        return [(seed, x) for seed in self.seeds for x in self.coarse if (seed, x) not in seen]

    @property
    def likely(self) -> int:
        """All of them."""
        return len(self.seeds) * len(self.coarse)


@lru_cache(maxsize=256)  # a stage is asked for several times, each time from the first one on
def _fitted(losses: tuple[tuple[Point, float], ...]) -> Basin:
    """What is known of the basin."""
    points, values = zip(*losses, strict=True)
    seeds, x = zip(*points, strict=True)
    return fit_basin(np.array(x, float), np.array(seeds), np.array(values, float))
