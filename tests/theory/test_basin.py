"""The basin fit on planted optima."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import ThreadpoolController

from adamw_scale.theory.basin import BEYOND, Basin, Floats, at_one_level, fit_basin

WINDOW = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])


def fit(minimum: float, curvature: float, skew: float, noise: float, seeds: int, rng: np.random.Generator) -> Basin:
    """Fit a window of half octaves around the grid point nearest to a planted minimum."""
    center = round(minimum)
    x = np.tile(center + WINDOW, seeds)
    seed = np.repeat(np.arange(seeds), len(WINDOW))
    d = x - minimum
    loss = 2.0 + curvature * d**2 + skew * d**3 + 0.1 * rng.standard_normal(seeds)[seed]
    return fit_basin(x, seed, loss + noise * rng.standard_normal(len(x)))


@given(
    minimum=st.floats(-6, 2),
    curvature=st.floats(0.02, 0.2),
    skew=st.floats(-0.25, 0.25),
    seeds=st.integers(2, 5),
)
def test_finds_a_noiseless_minimum(minimum: float, curvature: float, skew: float, seeds: int) -> None:
    """Whatever the level of each seed and the lopsidedness, the minimum is found to a few hundredths of an octave."""
    basin = fit(minimum, curvature, skew * curvature, 0.0, seeds, np.random.default_rng(0))
    assert basin.status == "located"
    assert basin.minimum == pytest.approx(minimum, abs=0.05)


@pytest.mark.parametrize(("skew", "drift"), [(0.0, 0.0), (0.5, 0.0), (0.5, 0.1), (-0.5, 0.2)], ids=str)
def test_intervals_cover_the_planted_minimum(skew: float, drift: float) -> None:
    """In 100 repeats of lopsided basins that move between seeds, 80 % intervals hold the truth in 72 to 97 %."""
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(100):
        minimum = rng.uniform(-3.3, -2.7)
        x = np.tile(-3 + WINDOW, 3)
        seed = np.repeat(np.arange(3), len(WINDOW))
        d = x - minimum - drift * rng.standard_normal(3)[seed]
        loss = 2.0 + 0.1 * (d**2 if skew == 0 else 2 * (np.exp(-skew * d) + skew * d - 1) / skew**2)
        basin = fit_basin(x, seed, loss + 0.01 * rng.standard_normal(len(x)))
        covered.append(basin.interval[0] <= minimum <= basin.interval[1])
    assert 0.72 <= np.mean(covered) <= 0.97


def test_the_band_covers_the_planted_basin() -> None:
    """In 100 repeats the band at 80 % holds 70 to 97 % of the mean basin, at the level that its seeds have."""
    rng = np.random.default_rng(6)
    covered = []
    for _ in range(100):
        x, seed, level = np.tile(WINDOW, 3), np.repeat(np.arange(3), 5), 0.1 * rng.standard_normal(3)
        noise = 0.01 * rng.standard_normal(len(x))
        curve = fit_basin(x, seed, 2.0 + 0.1 * (x - 0.2) ** 2 + level[seed] + noise).curve
        assert curve is not None
        truth = 2.0 + 0.1 * (curve.x - 0.2) ** 2 + level.mean() + noise.mean()
        covered.append((curve.low <= truth) & (truth <= curve.high))
    assert 0.7 <= np.mean(covered) <= 0.97


def test_flat_is_flat() -> None:
    """Without curvature almost every repeat says so; more noise than basin is not an optimum."""
    rng = np.random.default_rng(2)
    statuses = [fit(-3.0, 0.0, 0.0, 0.01, 3, rng).status for _ in range(100)]
    assert statuses.count("flat") >= 90


@pytest.mark.parametrize("side", [-1, 1])
def test_a_slope_is_an_edge(side: int) -> None:
    """A loss that falls throughout what was probed has its minimum at the end, or beyond: the interval says beyond."""
    x = np.tile(WINDOW, 3)
    seed = np.repeat(np.arange(3), 5)
    basin = fit_basin(x, seed, 2.0 - 0.1 * side * x)
    assert (basin.status, basin.minimum) == ("edge", side)
    assert max(end * side for end in basin.interval) == pytest.approx(1 + BEYOND, abs=0.1)


@pytest.mark.parametrize("minimum", [-1.2, 1.2, 1.6])
def test_intervals_hold_a_minimum_that_was_not_probed(minimum: float) -> None:
    """Just past an end the basin's bend still tells: at least 70 % of 80 % intervals hold it."""
    rng = np.random.default_rng(3)
    x, seed = np.tile(WINDOW, 3), np.repeat(np.arange(3), 5)
    basins = [
        fit_basin(x, seed, 2.0 + 0.1 * (x - minimum) ** 2 + 0.01 * rng.standard_normal(len(x))) for _ in range(60)
    ]
    assert np.mean([basin.interval[0] <= minimum <= basin.interval[1] for basin in basins]) >= 0.7


def test_a_second_basin_behind_a_wall_is_not_looked_for() -> None:
    """Far from what was probed nothing is known; that does not widen the interval of a clear minimum."""
    x, seed = np.tile(WINDOW, 3), np.repeat(np.arange(3), 5)
    loss = 2.0 + 0.1 * x**2 + 0.005 * np.random.default_rng(4).standard_normal(len(x))
    basin = fit_basin(x, seed, loss)
    assert -0.5 < basin.wide_interval[0] < basin.wide_interval[1] < 0.5


def test_diverged_probes_are_left_out() -> None:
    """An infinite loss is no number to fit; the others still tell."""
    x, seed = np.tile(WINDOW, 3), np.repeat(np.arange(3), 5)
    loss = 2.0 + 0.1 * (x - 0.1) ** 2
    loss[0] = np.inf
    assert fit_basin(x, seed, loss).minimum == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("spike", [6, 7, 8])
def test_an_outlier_is_left_out(spike: int) -> None:
    """A loss far above lower ones on both sides is none of a basin's, wherever it is; noise is."""
    rng = np.random.default_rng(5)
    x, seed = np.tile(WINDOW, 3), np.repeat(np.arange(3), 5)
    loss = 2.0 + 0.1 * (x - 0.1) ** 2 + 0.005 * rng.standard_normal(len(x))
    clean = fit_basin(x, seed, loss)
    loss[spike] += 1.5
    basin = fit_basin(x, seed, loss)
    assert (clean.outliers, basin.outliers) == (0, 1)
    assert basin.status == "located"
    assert basin.minimum == pytest.approx(0.1, abs=0.1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("broken", [50.0, 1e6, 1e30, 1e160, 1.7e308])
def test_a_loss_as_good_as_diverged_is_left_out(broken: float) -> None:
    """Training that broke may print any number: it is no wall of the basin, and nothing overflows."""
    rng = np.random.default_rng(5)
    x, seed = np.tile(np.arange(-3.0, 2.1, 0.5), 2), np.repeat(np.arange(2), 11)
    loss = 2.0 + 0.05 * (x - 0.1) ** 2 + 0.005 * rng.standard_normal(len(x))
    assert fit_basin(x, seed, loss).outliers == 0
    loss[(x < -2) | ((x < -1) & (seed == 1))] = broken
    basin = fit_basin(x, seed, loss)
    assert basin.outliers == 6
    assert basin.status == "located"
    assert basin.minimum == pytest.approx(0.1, abs=0.1)
    assert fit_basin(x, seed, np.full(len(x), broken)).status == "flat"
    assert np.isfinite(at_one_level(x, seed, loss)).sum() == len(x) - 6


def test_nothing_to_fit_is_flat() -> None:
    """All probes diverged, or too few are left: no claim, no crash."""
    x, seed = np.tile(WINDOW, 2), np.repeat(np.arange(2), 5)
    assert fit_basin(x, seed, np.full(10, np.inf)).status == "flat"
    assert fit_basin(x[:4], seed[:4], np.array([1.0, 2.0, 3.0, 4.0])).status == "flat"


def test_fits_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy's linear algebra has one thread while a basin is fitted, and as many as before afterwards."""
    threads = ThreadpoolController().select(user_api="blas")
    seen, solve = [], np.linalg.eigh

    def noted(matrix: Floats) -> tuple[Floats, Floats]:
        seen.append([each["num_threads"] for each in threads.info() if "numpy" in each["filepath"]])
        return solve(matrix)

    monkeypatch.setattr(np.linalg, "eigh", noted)
    x, seed = np.tile(WINDOW, 3), np.repeat(np.arange(3), 5)
    with threads.limit(limits=2):
        fit_basin(x, seed, 2.0 + 0.1 * x**2)
        assert {each["num_threads"] for each in threads.info()} == {2}
    assert seen
    assert {count for each in seen for count in each} == {1}
