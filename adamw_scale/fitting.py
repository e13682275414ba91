"""Numbers in, numbers out: where is the minimum of a noisy, asymmetric basin?

Too short a timescale costs two to three times more than too long a one, so the basin is not a
parabola; losses of one seed share most of their noise, so each seed gets its own level. The fit is
a cubic in x = log2(tau) within one octave of the lowest point, plus one offset per seed.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS = 4000
INTERVAL = (10.0, 90.0)  # percentiles: an 80 % interval
SURELY = (2.5, 97.5)  # percentiles that must lie inside the probed range before an optimum is claimed
# Real basins have kinks that no cubic over two octaves follows; on kinked planted basins the fit is off
# by 0.05 to 0.1 octave however little noise there is. Judgement.
MISFIT_OCTAVES = 0.1


@dataclass(frozen=True)
class Basin:
    """The minimum of a basin: position and 80 % interval in octaves, loss there, and what it is worth.

    `located`: 95 % of the posterior lies inside what was probed. `flat`: it does not; the data cannot
    tell. On pure noise about one fit in twenty claims to have located something.
    """

    minimum: float
    interval: tuple[float, float]
    loss: float
    noise: float
    status: Literal["located", "flat"]


def fit_basin(x: Floats, seed: NDArray[np.int64], loss: Floats) -> Basin:
    """Locate the minimum of loss(x), x in octaves, from probes on common seeds.

    The interval adds three uncertainties. Noise and misfit within seeds: coefficients are drawn from
    multivariate Student t around the least-squares fit, and each draw has its own minimum over the
    probed range. Between seeds: where residuals slope differently from seed to seed by more than
    noise explains, the minimum itself moves, and its mean over seeds is that unsure. And
    MISFIT_OCTAVES.

    Args:
        x: Position of each probe, shape (n,).
        seed: Seed of each probe, shape (n,).
        loss: Loss of each probe, shape (n,); probes that are not finite are left out.

    Returns:
        The basin; `flat` also where too few finite probes are left to fit.

    Source: paired, local and asymmetric fits beat symmetric and global ones on measured basins of
    small trainings. Fails when: noise differs much between seeds, or the basin has a sharp kink.
    """
    finite = np.isfinite(loss)
    x, seed, loss = x[finite], seed[finite], loss[finite]
    seeds = np.unique(seed)
    center = float(x[np.argmin(loss)]) if len(x) else 0.0
    degrees = len(x) - len(seeds) - 3
    if degrees < 1 or len(np.unique(x)) < 4:
        low, high = (float(x.min()), float(x.max())) if len(x) else (0.0, 0.0)
        return Basin(center, (low, high), float(loss.min()) if len(x) else np.inf, np.nan, "flat")

    u = x - center
    design = np.column_stack([u, u**2, u**3, *(seed == s for s in seeds)])
    coefficients, *_ = np.linalg.lstsq(design, loss, rcond=None)
    residual = loss - design @ coefficients
    variance = float(residual @ residual) / degrees
    covariance = variance * np.linalg.inv(design.T @ design)[:3, :3]

    from scipy.stats import multivariate_t, t  # half a second to import, needed only to fit

    rng = np.random.default_rng(0)
    grid = np.linspace(u.min(), u.max(), 401)
    powers = np.vstack([grid, grid**2, grid**3])
    shape = coefficients[:3]
    best = int(np.argmin(shape @ powers))
    draws = multivariate_t.rvs(shape, covariance + 1e-24 * np.eye(3), df=degrees, size=DRAWS, random_state=rng)
    minima = grid[np.argmin(draws @ powers, axis=1)]
    curvature = 2 * shape[1] + 6 * shape[2] * grid[best]
    if len(seeds) > 1 and curvature > 0:
        drift = _seed_slope(u, seed, residual, variance) / (len(seeds) ** 0.5 * curvature)
        minima = minima + drift * t.rvs(len(seeds) - 1, size=DRAWS, random_state=rng)
    minima = minima + MISFIT_OCTAVES * rng.standard_normal(DRAWS)
    low, high = (float(value) for value in np.percentile(minima, INTERVAL))
    lowest, highest = np.percentile(minima, SURELY)
    inside = grid[0] < lowest and highest < grid[-1] and 0 < best < len(grid) - 1
    return Basin(
        minimum=center + float(grid[best]),
        interval=(center + low, center + high),
        loss=float(shape @ powers[:, best] + np.mean(coefficients[3:])),
        noise=variance**0.5,
        status="located" if inside else "flat",
    )


def _seed_slope(u: Floats, seed: NDArray[np.int64], residual: Floats, variance: float) -> float:
    """Standard deviation between seeds of the slope of their residuals, beyond what noise explains.

    A seed whose basin is shifted by d has residuals that slope by -curvature * d.
    """
    slopes: list[float] = []
    expected: list[float] = []
    for s in np.unique(seed):
        mine = u[seed == s] - u[seed == s].mean()
        slopes.append(float(mine @ residual[seed == s]) / float(mine @ mine))
        expected.append(variance / float(mine @ mine))
    excess = float(np.var(slopes, ddof=1)) - float(np.mean(expected))
    return math.sqrt(max(0.0, excess))
