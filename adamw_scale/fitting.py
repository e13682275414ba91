"""Numbers in, numbers out: where is the minimum of a noisy, asymmetric basin, and how sure is that?

A probe of seed s at x octaves is modelled as

    loss = level_s + basin(x) + drift_s(x) + noise

where basin and drift_s, by which a seed's basin differs from the mean one, are smooth functions: Gaussian
processes, whose amplitudes and lengths are averaged over with the weight that the losses give them. Only
differences within a seed say anything, since levels are free: that is what pairing buys. The answer is the
distribution of where the mean basin is lowest. `tests/benchmarks/coverage.py` compares it with the alternatives.

Source: Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, equations 2.25, 2.26 and 5.8; the
levels are taken out as in restricted maximum likelihood (Patterson & Thompson 1971).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DRAWS = 2000
INTERVAL, WIDE_INTERVAL = (10.0, 90.0), (2.5, 97.5)  # percentiles: 80 and 95 %
# What smoothness real basins have, in octaves, and how much more they vary than noise does: averaged over.
LENGTHS = np.array([1.0, 1.5, 2.2, 3.2])
SIGNALS = np.geomspace(0.1, 3000.0, 16)  # amplitude of the basin over that of noise
DRIFTS = np.array([1.0, 3.0, 9.0])  # amplitude of a seed's own basin over that of noise
DRIFT_LENGTH = 1.0
# Two or three seeds show too little of how seeds differ: so much further than drawn lie real minima. Chosen on the
# surfaces of bytes, digits and text of the benchmark; those of images were not used.
STRETCH = 1.3
STEP = 0.1  # octaves between the points at which basins are drawn
NEAR = 1.5  # octaves around the lowest loss that are always fitted
AT_THE_END = 0.5  # octaves from the end of what was probed where a minimum may as well lie beyond
SURELY = 0.9  # share of the distribution at an end of what was probed from which the minimum is said to be there
TELLING = 2.0  # octaves: a wider 80 % interval locates nothing; judgement
NEGLIGIBLE = 0.002  # of the loss; the band of timescales that cost no more than this


@dataclass(frozen=True)
class Basin:
    """The minimum of a basin, in octaves, and what it is worth.

    `interval` and `wide_interval` hold the minimum at 80 and 95 %. `band` is where the loss is within NEGLIGIBLE of the
    lowest. `noise` is the standard deviation of a loss within its seed.

    `located`: the wide interval lies inside what was probed, and the interval is narrow enough to be of use. `edge`:
    the minimum lies at an end of what was probed, or beyond. `flat`: the losses do not tell.
    """

    minimum: float
    interval: tuple[float, float]
    wide_interval: tuple[float, float]
    band: tuple[float, float]
    loss: float
    noise: float
    status: Literal["located", "flat", "edge"]


def fit_basin(x: Floats, seed: Ints, loss: Floats, limits: tuple[float, float] | None = None) -> Basin:
    """Locate the minimum of loss(x) from probes on common seeds.

    Args:
        x: Position of each probe in octaves, shape (n,).
        seed: Seed of each probe, shape (n,).
        loss: Loss of each probe, shape (n,); probes that are not finite are left out.
        limits: What might have been probed: an interval that touches the end of what was reaches as far. None where
            that is the same.

    Returns:
        The basin; `flat` also where too few finite probes are left to fit.

    Fails when: noise differs much from one timescale to another, or the basin has several minima within the
    octaves that are fitted.
    """
    finite = np.isfinite(loss)
    x, seed, loss = x[finite], seed[finite], loss[finite]
    if not _tell_enough(x, seed) or np.ptp(loss) == 0:
        return _nothing(x, loss)
    probed = float(x.min()), float(x.max())
    near = _is_near(x, seed, loss)
    if _tell_enough(x[near], seed[near]):
        x, seed, loss = x[near], seed[near], loss[near]
    posterior = _Posterior(x, seed, loss)
    low, high = float(x.min()), float(x.max())
    grid = np.linspace(low, high, 1 + round((high - low) / STEP))
    mean, draws = posterior.curves(grid)
    lowest = float(_vertices(grid, mean[None])[0])
    minima = np.clip(lowest + STRETCH * (_vertices(grid, draws) - lowest), low, high)
    interval, wide = (
        _reaching(tuple(np.percentile(minima, ends).tolist()), probed, limits or probed)
        for ends in (INTERVAL, WIDE_INTERVAL)
    )
    value = float(mean.min()) + posterior.level(mean, grid)
    inside = np.flatnonzero(mean - mean.min() <= NEGLIGIBLE * abs(value))
    at_end = max(np.mean(minima < probed[0] + AT_THE_END), np.mean(minima > probed[1] - AT_THE_END))
    status: Literal["located", "flat", "edge"] = "flat"
    if interval[1] - interval[0] <= TELLING:
        status = "edge" if at_end > SURELY else "located" if probed[0] < wide[0] and wide[1] < probed[1] else "flat"
    return Basin(
        minimum=lowest,
        interval=(min(interval[0], lowest), max(interval[1], lowest)),
        wide_interval=(min(wide[0], lowest), max(wide[1], lowest)),
        band=(float(grid[inside[0]]), float(grid[inside[-1]])),
        loss=value,
        noise=posterior.noise,
        status=status,
    )


def _tell_enough(x: Floats, seed: Ints) -> bool:
    """Whether there are four timescales, and four differences within seeds."""
    return len(np.unique(x)) >= 4 and len(x) - len(np.unique(seed)) >= 4


def _nothing(x: Floats, loss: Floats) -> Basin:
    """What can be said of too few probes, or of ones that all measured the same."""
    ends = (float(x.min()), float(x.max())) if len(x) else (0.0, 0.0)
    best = int(np.argmin(loss)) if len(x) else 0
    value = float(loss[best]) if len(x) else np.inf
    return Basin(float(x[best]) if len(x) else 0.0, ends, ends, ends, value, np.nan, "flat")


def _is_near(x: Floats, seed: Ints, loss: Floats) -> NDArray[np.bool_]:
    """Which probes are fitted: those near the lowest loss, and whatever joins them without being much worse.

    The wall on the side of short timescales says nothing about where the floor is lowest; a plateau does.
    """
    points, column = np.unique(x, return_inverse=True)
    _, row = np.unique(seed, return_inverse=True)
    effects = np.column_stack([np.eye(len(points))[column], np.eye(row.max() + 1)[row]])
    found, _, rank, _ = np.linalg.lstsq(effects, loss, rcond=None)
    curve = found[: len(points)]  # mean over seeds, each at its own level
    rest = loss - effects @ found
    noise = np.sqrt(rest @ rest / (len(loss) - rank)) if len(loss) > rank else 0.0
    best = int(np.argmin(curve))
    always = np.abs(points - points[best]) <= NEAR
    most = curve[always].max() + 2 * noise
    first, last = int(np.argmax(always)), len(points) - 1 - int(np.argmax(always[::-1]))
    while first > 0 and curve[first - 1] <= most:
        first -= 1
    while last < len(points) - 1 and curve[last + 1] <= most:
        last += 1
    near: NDArray[np.bool_] = (x >= points[first]) & (x <= points[last])
    return near


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
        """The mean of the basin at a grid's points, and DRAWS basins drawn: (points,), (draws, points); levels are arbitrary."""
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

    def level(self, mean: Floats, grid: Floats) -> float:
        """What to add to the mean basin to get losses: the mean of the seeds' levels."""
        rest = self.loss - np.interp(self.x, grid, mean)
        return float(np.mean(self.member.T @ rest / self.member.sum(axis=0)))

    def _between(self, covariance: Floats) -> Floats:
        """Of the differences within seeds."""
        between: Floats = self.contrast.T @ covariance @ self.contrast
        return between


def _smooth(x: Floats, other: Floats, length: float) -> Floats:
    """Covariance of a smooth function's values: near points are alike."""
    kernel: Floats = np.exp(-0.5 * ((x[:, None] - other) / length) ** 2)
    return kernel


def _reaching(
    interval: tuple[float, float], probed: tuple[float, float], limits: tuple[float, float]
) -> tuple[float, float]:
    """An interval that goes on to the limits where it touches an end of what was probed: nothing is known beyond."""
    return (
        min(interval[0], limits[0]) if interval[0] <= probed[0] else interval[0],
        max(interval[1], limits[1]) if interval[1] >= probed[1] else interval[1],
    )


def _vertices(grid: Floats, curves: Floats) -> Floats:
    """Where each curve, of shape (curves, points), is lowest: by the parabola through its lowest point and its neighbours."""
    best = np.argmin(curves, axis=1)
    middle = np.clip(best, 1, len(grid) - 2)
    left, lowest, right = (np.take_along_axis(curves, (middle + i)[:, None], axis=1)[:, 0] for i in (-1, 0, 1))
    bend = np.maximum(left - 2 * lowest + right, 1e-300)
    vertices: Floats = np.where(
        best == middle, grid[middle] + (grid[1] - grid[0]) * (left - right) / 2 / bend, grid[best]
    )
    return vertices
