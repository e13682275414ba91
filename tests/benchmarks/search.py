"""How good is the answer after so many probes? The search against Optuna's samplers, on measured basins.

    python tests/benchmarks/search.py [--repeats 20]

Basins and new seeds are those of coverage.py. `search` is the package's; of the others each trial is a timescale
between 2^-8 and 2^4 of the run, on one seed, and the answer is the best trial, as in Optuna. For each: how often the
answer is within half an octave of the truth, and the mean loss it costs (regret), with its standard error.
"""

import argparse
import math
import statistics
import warnings
from collections.abc import Callable
from multiprocessing import Pool
from typing import Any

import numpy as np
import optuna
from coverage import HIGHEST, PLATEAUS, Surface, probed, read
from scipy.interpolate import CubicSpline

from adamw_scale.theory.basin import fit_basin

PROBES = (7, 9, 13, 18)


def searched(surface: Surface, most: int, rng: np.random.Generator, number: int) -> float:
    """The package's search, on as many seeds as it uses."""
    x, seed, loss = probed(surface, HIGHEST, 3, most, rng)
    return fit_basin(x, seed, loss).minimum


def sampled(make: Callable[[int], Any]) -> Callable[[Surface, int, np.random.Generator, int], float]:
    """One of Optuna's samplers, on one seed."""

    def answer(surface: Surface, most: int, rng: np.random.Generator, number: int) -> float:
        curve = CubicSpline(surface.x, surface.seed(rng))
        study = optuna.create_study(sampler=make(number))
        low = float(surface.x[0])
        study.optimize(lambda trial: float(curve(trial.suggest_float("log2_tau", low, HIGHEST))), n_trials=most)
        return float(study.best_params["log2_tau"])

    return answer


WAYS: dict[str, Callable[[Surface, int, np.random.Generator, int], float]] = {
    "search": searched,
    "TPE": sampled(lambda number: optuna.samplers.TPESampler(seed=number)),
    "TPE, 4 at random": sampled(lambda number: optuna.samplers.TPESampler(n_startup_trials=4, seed=number)),
    "GP": sampled(lambda number: optuna.samplers.GPSampler(seed=number)),
    "random": sampled(lambda number: optuna.samplers.RandomSampler(seed=number)),
}


def trial(arguments: tuple[Surface, str, int, int]) -> tuple[float, float]:
    """Error in octaves, and regret, of one way on one new seed."""
    surface, way, most, number = arguments
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    rng = np.random.default_rng((number, sum(map(ord, surface.name))))
    answer = WAYS[way](surface, most, rng, number)
    truth = surface.truth(HIGHEST)
    regret = surface.curve(np.array([answer])) - surface.curve(np.array([truth]))
    return abs(answer - truth), float(regret[0])


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repeats", type=int, default=20, help="of each surface; of the GP sampler, which is slow, a quarter"
    )
    parser.add_argument("--kind", choices=("basins", "plateaus"), help="these only")
    options = parser.parse_args()
    surfaces = read()
    with Pool(2) as pool:
        for kind in (options.kind,) if options.kind else ("basins", "plateaus"):
            chosen = [surface for surface in surfaces if (surface.name in PLATEAUS) == (kind == "plateaus")]
            print(f"{len(chosen)} {kind}: within half an octave, mean regret (standard error)")
            for most in PROBES:
                for way in WAYS:
                    repeats = max(1, options.repeats // 4) if way == "GP" else options.repeats
                    asked = [(surface, way, most, number) for surface in chosen for number in range(repeats)]
                    errors, regrets = zip(*pool.map(trial, asked, chunksize=5), strict=True)
                    half = statistics.mean(float(error <= 0.5) for error in errors)
                    error = statistics.stdev(regrets) / math.sqrt(len(regrets))
                    print(
                        f"  {most:3} probes  {way:18} {half:5.0%}  {statistics.mean(regrets):.4f} ({error:.4f})",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
