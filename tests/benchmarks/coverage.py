"""Do the fit's intervals hold what they claim? Simulated sweeps over real basins with their own noise.

    python tests/benchmarks/coverage.py [--repeats 1000] [--estimator cubic]

A surface of surfaces.csv gives the mean basin (smoothed: the truth) and how seeds differ from it; new seeds are drawn
with the same covariance. Each repeat runs the real search on them and fits what it probed. Kinds of cases: `located`,
whole surfaces with a basin; `flat`, whole surfaces whose measured basin is a plateau; `edge`, the same basins where
probes may not reach the minimum, or just so: the truth is then the minimum that could not be probed.

What is compared: `processes`, the fit; `cubic`, least squares within an octave of the lowest mean with Student t draws;
`quadratic`, the same with a parabola. For each: how often the 80 and 95 % intervals hold the truth, their median width,
the error, and what the error costs in loss, both against the best that could be probed.
"""

import argparse
import csv
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, make_smoothing_spline
from scipy.stats import multivariate_t

from adamw_scale.probe.search import Point, Search
from adamw_scale.theory.basin import fit_basin

Floats = NDArray[np.float64]
FILE = Path(__file__).with_name("surfaces.csv")
PLATEAUS = ("text 128K, 1 epoch", "images 640, resnet")
COARSE = (-6.0, -4.0, -2.0, 0.0, 2.0)
HIGHEST = 4.0


@dataclass(frozen=True)
class Surface:
    """A measured basin: at `x` octaves the mean loss and the seeds' deviations from it, of shape (seeds, len(x))."""

    name: str
    x: Floats
    mean: Floats
    deviations: Floats

    @classmethod
    def of(cls, name: str, losses: dict[Point, float]) -> "Surface":
        """Levels taken out, the mean smoothed; timescales at which any seed diverged are left out."""
        seeds = sorted({seed for seed, _ in losses})
        x = np.array(sorted({x for _, x in losses if all(math.isfinite(losses[seed, x]) for seed in seeds)}))
        table = np.array([[losses[seed, at] for at in x] for seed in seeds])
        mean = table.mean(0)
        best = np.argmin(mean)
        near = slice(max(0, best - 3), best + 4)
        levels = table[:, near].mean(1, keepdims=True) - mean[near].mean()
        deviations = table - levels - mean
        noise = deviations.std(0, ddof=1) / np.sqrt(len(seeds))
        smooth = make_smoothing_spline(x, mean, w=1 / np.maximum(noise, 1e-4) ** 2)(x)
        return cls(name, x, smooth, deviations)

    def seed(self, rng: np.random.Generator) -> Floats:
        """Losses of a new seed at every x."""
        weights = rng.standard_normal(len(self.deviations)) / math.sqrt(len(self.deviations) - 1)
        return self.mean + weights @ self.deviations + 0.1 * rng.standard_normal()

    def truth(self, high: float) -> float:
        """Where the mean is lowest, between the shortest timescale and `high`."""
        grid = np.linspace(self.x[0], high, 1201)
        return float(grid[np.argmin(self.curve(grid))])

    def curve(self, at: Floats) -> Floats:
        """The mean loss anywhere."""
        return np.asarray(CubicSpline(self.x, self.mean)(at))


@dataclass(frozen=True)
class Estimate:
    """What an estimator says of a basin."""

    minimum: float
    interval: tuple[float, float]
    wide: tuple[float, float]
    status: str


def processes(x: Floats, seed: NDArray[np.int64], loss: Floats) -> Estimate:
    """The package's own."""
    basin = fit_basin(x, seed, loss)
    return Estimate(basin.minimum, basin.interval, basin.wide_interval, basin.status)


def polynomial(degree: int) -> Callable[[Floats, NDArray[np.int64], Floats], Estimate]:
    """Least squares in x with a level per seed, within an octave of the lowest mean."""

    def estimate(x: Floats, seed: NDArray[np.int64], loss: Floats) -> Estimate:
        points = np.unique(x)
        center = points[np.argmin([loss[x == point].mean() for point in points])]
        near = (np.abs(x - center) <= 1.0) & np.isfinite(loss)
        x, seed, loss = x[near] - center, seed[near], loss[near]
        seeds = np.unique(seed)
        design = np.column_stack([*(x**power for power in range(1, degree + 1)), *(seed == s for s in seeds)])
        degrees = len(x) - design.shape[1]
        if degrees < 1:
            return Estimate(center, (center - 1, center + 1), (center - 1, center + 1), "flat")
        coefficients, *_ = np.linalg.lstsq(design, loss, rcond=None)
        rest = loss - design @ coefficients
        covariance = (rest @ rest / degrees * np.linalg.pinv(design.T @ design))[:degree, :degree]
        grid = np.linspace(x.min(), x.max(), 161)
        powers = np.vstack([grid**power for power in range(1, degree + 1)])
        draws = multivariate_t.rvs(
            coefficients[:degree], covariance + 1e-18 * np.eye(degree), df=degrees, size=2000, random_state=0
        )
        minima = center + grid[np.argmin(draws @ powers, axis=1)]
        low, high = np.percentile(minima, (10, 90))
        lowest, highest = np.percentile(minima, (2.5, 97.5))
        inside = center + grid[0] < lowest and highest < center + grid[-1]
        best = center + grid[np.argmin(coefficients[:degree] @ powers)]
        return Estimate(float(best), (low, high), (lowest, highest), "located" if inside else "flat")

    return estimate


ESTIMATORS = {"processes": processes, "cubic": polynomial(3), "quadratic": polynomial(2)}


@dataclass(frozen=True)
class Case:
    """A surface, and the longest timescale that probes may have."""

    kind: str
    surface: Surface
    high: float


@dataclass(frozen=True)
class Outcome:
    """One simulated sweep: its estimate, and what it is compared with."""

    estimate: Estimate
    truth: float  # wherever it is
    best: float  # of what may be probed
    probes: int
    regret: float

    def covered(self, interval: tuple[float, float]) -> bool:
        """Whether the truth is inside, to the resolution at which it is known."""
        return bool(interval[0] - 0.005 <= self.truth <= interval[1] + 0.005)


def cases(surfaces: list[Surface]) -> Iterator[Case]:
    """Every surface whole; those with a basin also cut near their minimum."""
    for surface in surfaces:
        if surface.name in PLATEAUS:
            yield Case("flat", surface, HIGHEST)
            continue
        yield Case("located", surface, HIGHEST)
        lowest = surface.truth(HIGHEST)
        for beyond in (-1.0, 0.0, 0.5):
            yield Case("edge", surface, math.floor(2 * (lowest + beyond)) / 2)


def probed(
    surface: Surface, high: float, seeds: int, most: int | None, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.int64], Floats]:
    """What the search sees of new seeds of a surface: positions, seeds and losses."""
    table = [dict(zip(surface.x, surface.seed(rng), strict=True)) for _ in range(seeds)]
    limits = (max(math.ceil(surface.x[0]), -10), high)
    search = Search(tuple(range(seeds)), tuple(x for x in COARSE if limits[0] <= x <= high), limits, most)
    seen: dict[Point, float] = {}
    while stage := search.next(seen):
        seen |= {(seed, x): table[seed].get(x, math.inf) for seed, x in stage}
    seed, x = (np.array(column) for column in zip(*seen, strict=True))
    return x.astype(float), seed, np.array(list(seen.values()))


def sweep(case: Case, estimator: str, seeds: int, number: int) -> Outcome:
    """Search and fit on new seeds; the same ones for every estimator."""
    surface = case.surface
    rng = np.random.default_rng((number, sum(map(ord, surface.name))))
    x, seed, loss = probed(surface, case.high, seeds, None, rng)
    estimate = ESTIMATORS[estimator](x, seed, loss)
    best = surface.truth(case.high)
    regret = float(surface.curve(np.array([estimate.minimum]))[0] - surface.curve(np.array([best]))[0])
    return Outcome(estimate, surface.truth(HIGHEST), best, len(x), regret)


def read() -> list[Surface]:
    """All surfaces."""
    losses: dict[str, dict[Point, float]] = defaultdict(dict)
    with FILE.open() as file:
        for row in csv.DictReader(file):
            losses[row["surface"]][int(row["seed"]), float(row["log2_tau"])] = float(row["loss"])
    return [Surface.of(name, of) for name, of in losses.items()]


def _star(arguments: tuple[Case, str, int, int]) -> Outcome:
    return sweep(*arguments)


def report(name: str, outcomes: list[Outcome]) -> str:
    """One line of the table."""
    statuses = [o.estimate.status for o in outcomes]
    share = " ".join(f"{statuses.count(s) / len(statuses):4.0%}" for s in ("located", "flat", "edge"))
    covered = statistics.mean(o.covered(o.estimate.interval) for o in outcomes)
    wide = statistics.mean(o.covered(o.estimate.wide) for o in outcomes)
    width = statistics.median(o.estimate.interval[1] - o.estimate.interval[0] for o in outcomes)
    errors = [abs(o.estimate.minimum - o.best) for o in outcomes]
    half = statistics.mean(error <= 0.5 for error in errors)
    regret = statistics.mean(o.regret for o in outcomes)
    probes = statistics.mean(o.probes for o in outcomes)
    return (
        f"{name:38} {covered:5.0%} {wide:5.0%} {width:6.2f} {statistics.median(errors):6.2f} {half:6.0%} {regret:8.4f}"
        f" {probes:6.1f}  {share}"
    )


def main() -> None:
    """Simulate, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000, help="of each kind of case")
    parser.add_argument("--estimator", choices=ESTIMATORS, default="processes")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    kinds: dict[str, list[Case]] = defaultdict(list)
    for case in cases(read()):
        kinds[case.kind].append(case)
    heading = "80 %  95 %  width  error  <=1/2   regret probes  located flat edge"
    print(f"{options.estimator}, {options.seeds} seeds\n{'':39}{heading}")
    with Pool(2) as pool:
        for kind, members in kinds.items():
            each = -(-options.repeats // len(members))
            asked = [(case, options.estimator, options.seeds, n) for case in members for n in range(each)]
            outcomes = pool.map(_star, asked, chunksize=20)
            for i, case in enumerate(members):
                print(report(f"  {case.surface.name} to {case.high:g}", outcomes[i * each : (i + 1) * each]))
            print(report(kind, outcomes), flush=True)


if __name__ == "__main__":
    main()
