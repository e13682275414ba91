"""Numbers in, numbers out: where is the minimum of a noisy, asymmetric basin, and how sure is that?

A probe of seed s at x octaves is modelled as

    loss = level_s + basin(x) + drift_s(x) + noise

where basin and drift_s, by which a seed's basin differs from the mean one, are smooth functions: Gaussian
processes, whose amplitudes and lengths are averaged over with the weight that the losses give them. Only
differences within a seed say anything, since levels are free: that is what pairing buys. The answer is the
distribution of where the mean basin is lowest, also a little beyond what was probed if it still falls there.
`tests/benchmarks/coverage.py` compares it with the alternatives.

Source: Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, equations 2.25, 2.26 and 5.8; the
levels are taken out as in restricted maximum likelihood (Patterson & Thompson 1971).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLAS = ThreadpoolController()  # numpy's, which is loaded by now
DRAWS = 2000
INTERVAL, WIDE_INTERVAL = 0.8, 0.95  # of the distribution; the shortest that holds so much
# What smoothness real basins have, in octaves, and how much more they vary than noise does: averaged over.
LENGTHS = np.array([1.0, 1.5, 2.2, 3.2])
SIGNALS = np.geomspace(0.1, 3000.0, 16)  # amplitude of the basin over that of noise
DRIFTS = np.array([1.0, 3.0, 9.0])  # amplitude of a seed's own basin over that of noise
DRIFT_LENGTH = 1.0
# Two or three seeds show too little of how seeds differ: so much further than drawn lie real minima. Chosen on the
# surfaces of bytes, digits and text of the benchmark; those of images were not used.
STRETCH = 1.3
STEP = 0.1  # octaves between the points at which basins are drawn
SPIKE = 4.0  # median bends of the seeds' losses by which one is too high for a basin
FAR = 100.0  # so many times further above its seed's lowest loss than the next lower one: as good as diverged
NEAR = 1.5  # octaves around the lowest loss that are always fitted
AT_THE_END = 0.5  # octaves from the end of what was probed where a minimum may as well lie beyond
BEYOND = 2.0  # octaves past such an end, as far as which a minimum is looked for: by then nothing is known of the basin
SHARE_AT_END = 0.9  # share of the distribution at an end of what was probed from which the minimum is said to be there
WIDEST = 2.0  # octaves: a wider 80 % interval locates nothing; judgement
NEGLIGIBLE = 0.002  # of the loss; the band of timescales that cost no more than this


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra on one thread: on 20 x 20 matrices several wait for each other, on a busy machine for seconds."""
    with BLAS.limit(limits=1, user_api="blas"):
        yield


@dataclass(frozen=True)
class Curve:
    """The mean basin over the octaves that were fitted, at the mean level of the seeds; INTERVAL of it is in the band.

    All of shape (points,): `x` in octaves, `mean` in units of the loss, and `low` and `high`, the ends of the band.
    """

    x: Floats
    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Basin:
    """The minimum of a basin, in octaves, and what it is worth.

    `interval` and `wide_interval` hold the minimum at 80 and 95 %. `band` is where the loss is within NEGLIGIBLE of the
    lowest, `probed` the ends of what was fitted from. `noise` is the standard deviation of a loss within its seed.
    `outliers` were left out: losses as good as diverged, and, since a basin falls and then rises, those far above lower
    ones on both sides, of the same seed. `curve` is None where there is too little to fit.

    `located`: the wide interval lies inside what was probed, and the interval is narrow enough to be of use. `edge`:
    the minimum lies at an end of what was probed, or beyond, where the intervals then are; `minimum` is the end.
    `flat`: the losses do not tell.
    """

    minimum: float
    interval: tuple[float, float]
    wide_interval: tuple[float, float]
    band: tuple[float, float]
    probed: tuple[float, float]
    loss: float
    noise: float
    status: Literal["located", "flat", "edge"]
    outliers: int = 0
    curve: Curve | None = field(default=None, repr=False, compare=False)


@one_thread()
def fit_basin(x: Floats, seed: Ints, loss: Floats) -> Basin:
    """Locate the minimum of loss(x) from probes on common seeds.

    Args:
        x: Position of each probe in octaves, shape (n,).
        seed: Seed of each probe, shape (n,).
        loss: Loss of each probe, shape (n,); probes that are not finite are left out.

    Returns:
        The basin; `flat` also where too few finite probes are left to fit.

    Fails when: noise differs much from one timescale to another, or the basin has several minima within the
    octaves that are fitted.
    """
    finite = np.isfinite(loss)
    x, seed, loss = x[finite], seed[finite], loss[finite]
    plain = ~_is_outlier(x, seed, loss)
    x, seed, loss, outliers = x[plain], seed[plain], loss[plain], int((~plain).sum())
    if not _are_enough(x, seed) or np.ptp(loss) == 0:
        return _flat(x, loss)
    _, exponent = np.frexp(np.abs(loss).max())
    loss = np.ldexp(loss, -exponent)  # exact, and no square of a loss overflows
    probed = float(x.min()), float(x.max())
    near = _is_near(x, seed, loss)
    if _are_enough(x[near], seed[near]):
        x, seed, loss = x[near], seed[near], loss[near]
    posterior = _Posterior(x, seed, loss)
    low, high = float(x.min()), float(x.max())
    steps, beyond = round((high - low) / STEP), round(BEYOND / STEP)
    fitted = slice(beyond, beyond + steps + 1)
    grid: Floats = np.float64(low) + (high - low) / steps * np.arange(-beyond, steps + beyond + 1, dtype=np.float64)
    mean, draws = posterior.curves(grid)
    lowest = min(max(float(_minima(grid, mean[None], fitted)[0]), low), high)
    minima = lowest + STRETCH * (_minima(grid, draws, fitted) - lowest)
    at_end = max(np.mean(minima < probed[0] + AT_THE_END), np.mean(minima > probed[1] - AT_THE_END))
    start = grid[0] if lowest <= probed[0] + AT_THE_END else low
    end = grid[-1] if lowest >= probed[1] - AT_THE_END else high
    minima = np.clip(minima, start, end)
    interval, wide = (_shortest(minima, share) for share in (INTERVAL, WIDE_INTERVAL))
    mean += posterior.level(mean, grid)
    value = float(mean[fitted].min())
    inside = np.flatnonzero(mean[fitted] - value <= NEGLIGIBLE * abs(value))
    draws += posterior.level(draws, grid)[:, None]
    ends = np.quantile(draws[:, fitted], (0.5 - INTERVAL / 2, 0.5 + INTERVAL / 2), axis=0)
    status: Literal["located", "flat", "edge"] = "flat"
    if interval[1] - interval[0] <= WIDEST and probed[0] < wide[0] and wide[1] < probed[1]:
        status = "located"
    elif at_end > SHARE_AT_END:
        status = "edge"
    if status != "edge":
        interval, wide = ((min(left, lowest), max(right, lowest)) for left, right in (interval, wide))
    return Basin(
        minimum=lowest,
        interval=interval,
        wide_interval=wide,
        band=(float(grid[fitted][inside[0]]), float(grid[fitted][inside[-1]])),
        probed=probed,
        loss=float(np.ldexp(value, exponent)),
        noise=float(np.ldexp(posterior.noise, exponent)),
        status=status,
        outliers=outliers,
        curve=Curve(grid[fitted], *(np.ldexp(each, exponent) for each in (mean[fitted], *ends))),
    )


@one_thread()
def at_one_level(x: Floats, seed: Ints, loss: Floats) -> Floats:
    """Losses as they would be if every seed had the mean level: what a picture of paired probes shows.

    Args:
        x: Position of each probe in octaves, shape (n,).
        seed: Seed of each probe, shape (n,).
        loss: Loss of each probe, finite, shape (n,).

    Returns:
        Shape (n,); NaN for outliers.
    """
    level = np.full(len(loss), np.nan)
    plain = ~_is_outlier(x, seed, loss)
    if plain.any():
        _, levels, _ = _effects(x[plain], seed[plain], loss[plain])
        _, row = np.unique(seed[plain], return_inverse=True)
        level[plain] = loss[plain] - levels[row] + levels.mean()
    return level


def _is_outlier(x: Floats, seed: Ints, loss: Floats) -> NDArray[np.bool_]:
    """Which finite losses are none of a basin's."""
    outlier = _is_as_good_as_diverged(x, seed, loss)
    plain = np.flatnonzero(~outlier)
    outlier[plain] = _is_spike(x[plain], seed[plain], loss[plain])
    return outlier


def _effects(x: Floats, seed: Ints, loss: Floats) -> tuple[Floats, Floats, float]:
    """Least squares: the mean over seeds at each position, each seed's level, and the noise that neither explains."""
    points, column = np.unique(x, return_inverse=True)
    seeds, row = np.unique(seed, return_inverse=True)
    effects = np.column_stack([np.eye(len(points))[column], np.eye(len(seeds))[row]])
    solved, _, rank, _ = np.linalg.lstsq(effects, loss, rcond=None)
    found = np.asarray(solved, dtype=np.float64)
    rest = loss - effects @ found
    noise = math.hypot(*rest) / math.sqrt(len(loss) - rank) if len(loss) > rank else 0.0
    return found[: len(points)], found[len(points) :], noise


def _is_as_good_as_diverged(x: Floats, seed: Ints, loss: Floats) -> NDArray[np.bool_]:
    """Which finite losses only say that training broke: those of a seed beyond a gap of FAR, above four sound ones."""
    far = np.zeros(len(x), dtype=np.bool_)
    for s in np.unique(seed):
        here = np.flatnonzero(seed == s)
        here = here[np.argsort(loss[here])]
        above = loss[here] - loss[here[0]]
        gaps = np.flatnonzero((above[4:] / FAR > above[3:-1]) & (above[3:-1] > 0))
        if len(gaps):
            far[here[4 + gaps[0] :]] = True
    return far


def _is_spike(x: Floats, seed: Ints, loss: Floats) -> NDArray[np.bool_]:
    """Which losses are none of a basin's: where it has fallen it does not rise and fall again, in the same seed.

    So no loss of a basin is above both the lowest before it and the lowest after it, but for noise.
    """
    spike = np.zeros(len(x), dtype=np.bool_)
    orders = [here[np.argsort(x[here])] for s in np.unique(seed) if len(here := np.flatnonzero(seed == s)) > 2]
    if not orders:
        return spike
    bends = np.concatenate([np.abs(np.diff(loss[order], 2)) for order in orders])
    for order in orders:
        y = loss[order]
        lowest_before, lowest_after = np.minimum.accumulate(y)[:-2], np.minimum.accumulate(y[::-1])[::-1][2:]
        above = y[1:-1] - np.maximum(lowest_before, lowest_after)
        spike[order[1:-1]] = above > SPIKE * np.median(bends)
    return spike


def _are_enough(x: Floats, seed: Ints) -> bool:
    """Whether a fit can be tried: four timescales, and four differences within seeds."""
    return len(np.unique(x)) >= 4 and len(x) - len(np.unique(seed)) >= 4


def _flat(x: Floats, loss: Floats) -> Basin:
    """What can be said of too few probes, or of ones that all measured the same."""
    if not len(x):
        x, loss = np.zeros(1), np.full(1, np.inf)
    best, ends = int(np.argmin(loss)), (float(x.min()), float(x.max()))
    return Basin(float(x[best]), ends, ends, ends, ends, float(loss[best]), np.nan, "flat")


def _is_near(x: Floats, seed: Ints, loss: Floats) -> NDArray[np.bool_]:
    """Which probes are fitted: those near the lowest loss, and whatever joins them without being much worse.

    The wall on the side of short timescales says nothing about where the floor is lowest; a plateau does.
    """
    points = np.unique(x)
    curve, _, noise = _effects(x, seed, loss)
    best = points[np.argmin(curve)]
    walls = points[curve > curve[np.abs(points - best) <= NEAR].max() + 2 * noise]
    start, end = walls[walls < best].max(initial=-np.inf), walls[walls > best].min(initial=np.inf)
    return np.asarray((start < x) & (x < end))


class _Posterior:
    """What the losses say about the mean basin, under every combination of length, signal and drift that fits them."""

    def __init__(self, x: Floats, seed: Ints, loss: Floats) -> None:
        self.x, self.loss = x, loss
        seeds = np.unique(seed)
        self.member = (seed[:, None] == seeds).astype(float)
        self.contrast = np.linalg.qr(self.member, mode="complete")[0][:, len(seeds) :]
        z = self.contrast.T @ loss
        same = self.member @ self.member.T
        drift = self._between(same * _smooth(x, x, DRIFT_LENGTH))
        basins = np.stack([self._between(_smooth(x, x, length)) for length in LENGTHS])
        self.length, self.signal, squared = (
            each.ravel() for each in np.meshgrid(LENGTHS, SIGNALS**2, DRIFTS**2, indexing="ij")
        )
        of_length = np.repeat(basins, len(SIGNALS) * len(DRIFTS), axis=0)
        covariance = self.signal[:, None, None] * of_length + squared[:, None, None] * drift + np.eye(len(z))
        self.inverse = np.linalg.inv(covariance)
        self.weighted = self.inverse @ z
        self.residual = self.weighted @ z  # over the noise's variance it is a chi square
        evidence = -0.5 * np.linalg.slogdet(covariance)[1] - 0.5 * len(z) * np.log(np.maximum(self.residual, 1e-300))
        weight = np.exp(evidence - evidence.max())
        self.weight = weight / weight.sum()
        self.degrees = len(z)

    @property
    def noise(self) -> float:
        """Standard deviation of a loss within its seed."""
        return float(np.sqrt(self.weight @ self.residual / self.degrees))

    def curves(self, grid: Floats) -> tuple[Floats, Floats]:
        """At a grid's points, the basin's mean (points,) and DRAWS basins (draws, points), of arbitrary levels."""
        rng = np.random.default_rng(0)
        mean, draws = np.zeros(len(grid)), []
        for i, count in enumerate(rng.multinomial(DRAWS, self.weight)):
            if not count:
                continue
            across = self.signal[i] * _smooth(grid, self.x, self.length[i]) @ self.contrast
            center = across @ self.weighted[i]
            mean += count / DRAWS * center
            covariance = self.signal[i] * _smooth(grid, grid, self.length[i]) - across @ self.inverse[i] @ across.T
            values, vectors = np.linalg.eigh(covariance)
            spread = vectors * np.sqrt(np.maximum(values, 0.0))
            variance = self.residual[i] / 2 / rng.gamma(self.degrees / 2, size=count)
            normal = rng.standard_normal((count, len(grid)))
            draws.append(center + np.sqrt(variance)[:, None] * (normal @ spread.T))
        return mean, np.concatenate(draws)

    def level(self, curves: Floats, grid: Floats) -> Floats:
        """What to add to basins, of shape (..., points), to get losses: the mean of the seeds' levels."""
        between = np.array([np.interp(self.x, grid, point) for point in np.eye(len(grid))])
        share = self.member @ (1 / self.member.sum(axis=0)) / self.member.shape[1]
        level: Floats = (self.loss - curves @ between) @ share
        return level

    def _between(self, covariance: Floats) -> Floats:
        """A covariance of the losses as one of their differences within seeds."""
        return np.asarray(self.contrast.T @ covariance @ self.contrast)


def _smooth(x: Floats, other: Floats, length: float) -> Floats:
    """Covariance of a smooth function's values at x and at other points, by the squared exponential kernel."""
    return np.asarray(np.exp(-0.5 * ((x[:, None] - other) / length) ** 2))


def _shortest(minima: Floats, share: float) -> tuple[float, float]:
    """The shortest interval that holds a share of the draws; of several, the middle one."""
    ordered = np.sort(minima)
    count = math.ceil(share * len(ordered)) - 1
    widths = ordered[count:] - ordered[: len(ordered) - count]
    first = np.flatnonzero(widths <= widths.min() + 1e-9)
    start = int(first[len(first) // 2])
    return float(ordered[start]), float(ordered[start + count])


def _minima(grid: Floats, curves: Floats, fitted: slice) -> Floats:
    """Where each curve, of shape (curves, points), is lowest within what was fitted, or to where it falls past an end.

    What lies behind a wall is not the same basin. Between the points the parabola through the lowest three tells.
    """
    first, last = fitted.start, fitted.stop - 1
    best = first + np.argmin(curves[:, fitted], axis=1)
    for end, step in ((first, -1), (last, 1)):
        rises = np.diff(curves[:, end::step], axis=1) >= 0
        falls = np.where(rises.any(axis=1), rises.argmax(axis=1), rises.shape[1])
        best = np.where(best == end, end + step * falls, best)
    middle = np.clip(best, 1, len(grid) - 2)
    left, lowest, right = (np.take_along_axis(curves, (middle + i)[:, None], axis=1)[:, 0] for i in (-1, 0, 1))
    bend = np.maximum(left - 2 * lowest + right, 1e-300)
    vertex = grid[middle] + (grid[1] - grid[0]) * (left - right) / 2 / bend
    return np.asarray(np.where(best == middle, vertex, grid[best]))
