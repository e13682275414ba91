"""Is the calibration right? What it predicts for a larger run, and what was measured there."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from adamw_scale.advisor import recommend
from adamw_scale.calibration.design import Ask, run_at, sweep_of
from adamw_scale.calibration.fitting import optimum_of
from adamw_scale.errors import SpecError
from adamw_scale.probe.sweep import Sweep
from adamw_scale.spec.measurement import Calibration, ProbeResult, Validation
from adamw_scale.training.tasks.task import Task

OFFSETS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)  # octaves around the prediction that are trained


class Predicted(NamedTuple):
    """log2(tau_run) of a run that was not measured, and what holds it at 80 %."""

    log2_tau: float
    log2_interval: tuple[float, float]


def prediction_for(
    task: Task, ask: Ask, calibration: Calibration, larger: Mapping[str, str | float]
) -> tuple[Sweep, Predicted]:
    """The sweep that checks a prediction: the recommended timescale and its neighbours, on every seed.

    Raises:
        SpecError: the run is one of those that were calibrated.
    """
    run = run_at(task, ask, larger)
    if any(run == optimum.probed for optimum in calibration.optima):
        raise SpecError("--validate names a run that was calibrated: pass a larger one, which was not used")
    advice = recommend(run, calibration=calibration)
    center = math.log2(advice.tau.run)
    fast, slow = advice.timescale_range
    interval = (math.log2(fast), math.log2(slow))
    probe = sweep_of(task, run, ask, None, grid=tuple(center + offset for offset in OFFSETS))
    return probe, Predicted(center, interval)


def validation_of(sweep: Sweep, predicted: Predicted, results: Mapping[str, ProbeResult]) -> Validation | None:
    """What the prediction cost against the best of its neighbours: on the same seeds, so that the difference is paired.

    A neighbour that diverged or failed on a seed is left out. None where the prediction itself did, or was not trained.
    """
    seen = list(sweep.seen(results).values())
    if not seen:
        return None
    optimum = optimum_of(sweep.run, seen, sweep.value)
    by_offset = {
        x: np.array([sweep.value(result) for result in seen if math.isclose(result.config.log2_tau, x, abs_tol=1e-6)])
        for x in sweep.grid or ()
    }
    center = min(by_offset, key=lambda x: abs(x - predicted.log2_tau))
    means = {x: float(values.mean()) for x, values in by_offset.items() if len(values) and np.isfinite(values).all()}
    if center not in means:
        return None
    best = min(means, key=lambda x: means[x])
    paired = by_offset[center] - by_offset[best]
    return Validation(
        run=sweep.run,
        predicted=predicted.log2_tau,
        log2_interval=predicted.log2_interval,
        optimum=optimum,
        losses=tuple(means.items()),
        regret=float(paired.mean()),
        regret_deviation=float(paired.std(ddof=1) / math.sqrt(len(paired))) if len(paired) > 1 else 0.0,
    )
