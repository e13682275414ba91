"""Results become optima, and optima say how the optimum moves."""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from adamw_scale.advisor.answers import believed_of, from_optima
from adamw_scale.calibration.design import AXES
from adamw_scale.calibration.files import folder_of, refuse_newer, save_calibration
from adamw_scale.calibration.trained import as_trained
from adamw_scale.errors import CalibrationError
from adamw_scale.probe.store import PROBES_FILE, ProbeStore
from adamw_scale.probe.sweep import Sweep
from adamw_scale.spec.measurement import Calibration, LeftOut, Optimum, ProbeResult, Slope, TunedLr, value_of
from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory.basin import Basin, at_one_level, fit_basin

ENOUGH = 4  # timescales of a run, to fit it
MOST_FITTED = 150  # probes of one run
Value = Callable[[ProbeResult], float]  # what is minimised


def fit(sweeps: Sequence[Sweep], results: Mapping[str, ProbeResult], *, tune_lr: bool = False) -> Calibration:
    """Fit finished sweeps, the first of which is the base run's."""
    seen = [list(sweep.seen(results).values()) for sweep in sweeps]
    optima = [optimum_of(s.run, each, s.value) for s, each in zip(sweeps, seen, strict=True)]
    lr = tuned_lr(optima, seen, sweeps[0].value) if tune_lr else None
    optima = [as_trained(optimum, each) for optimum, each in zip(optima, seen, strict=True)]
    return _calibration(
        optima, [result for each in seen for result in each], sweeps[0].metric, lr, maximize=sweeps[0].maximize
    )


def fit_stored(
    folder: str | Path,
    notice: Callable[[str], None] = lambda text: None,
    *,
    metric: str = "loss",
    maximize: bool = False,
) -> Calibration:
    r"""Fit what a folder holds, whoever trained it, and write it there: every run with 4 timescales or more.

    The run with most probes is the base. Probes that failed say nothing about their timescale and are left out; so are
    probes of another task, device or precision than the base run's.

    Args:
        folder: Of a calibration or an import.
        notice: Told what was skipped.
        metric: What is optimised: "loss", or any other number that the probes measured.
        maximize: The metric is better the higher it is.

    Raises:
        CalibrationError: no probes there, or fewer than 4 timescales of any one run, or no such metric.

    Example:
        >>> import tempfile
        >>> from adamw_scale.calibration import load_calibration
        >>> from adamw_scale.probe.exchange import import_csv
        >>> rows = [f"{0.01 * 2**x},{2 + (x - 3) ** 2 / 10}" for x in range(7)]
        >>> run = {"unit": "samples", "dataset_size": 1e5, "batch_size": 100, "epochs": 4, "peak_lr": 1e-3}
        >>> with tempfile.TemporaryDirectory() as out:
        ...     _ = Path(out, "runs.csv").write_text("\n".join(["weight_decay,loss", *rows]))
        ...     _ = import_csv(Path(out, "runs.csv"), out, run)
        ...     _ = fit_stored(out)
        ...     measured = load_calibration(out)
        >>> round(measured.optima[0].weight_decay, 3)
        0.08
    """
    refuse_newer(folder)
    stored = load_results(folder, notice)
    if not stored:
        raise CalibrationError(f"{folder} has no {PROBES_FILE}: pass the --out of a calibration or an import")
    alike: dict[str, list[ProbeResult]] = {}
    for result in stored:
        same = result.config.model_copy(update={"seed": 0, "run": without_decay(result.config.run)})
        alike.setdefault(same.key, []).append(result)
    runs = sorted(alike.values(), key=len, reverse=True)
    most = max((_timescales(run) for run in runs), default=0)
    if most < ENOUGH:
        raise CalibrationError(
            f"{folder}: of {len(stored)} probes at most {most} timescales are of one run, and a fit needs 4: train "
            "or import runs that differ in weight decay only"
        )
    fitted = [run for run in runs if _timescales(run) >= ENOUGH and _common(run[0]) == _common(runs[0][0])]
    if left := sum(map(len, runs)) - sum(map(len, fitted)):
        notice(f"{left} probes are of runs with fewer than 4 timescales, or of another task: left out")
    if (largest := len(fitted[0])) > MOST_FITTED:
        notice(f"a run has {largest} probes: {MOST_FITTED} at most are fitted, of the seeds that have most timescales")
    value = partial(value_of, metric=metric, maximize=maximize)
    optima = [as_trained(optimum_of(without_decay(run[0].config.run), run, value), run) for run in fitted]
    calibration = _calibration(optima, [result for run in fitted for result in run], metric, None, maximize=maximize)
    save_calibration(calibration, folder)
    return calibration


def load_results(folder: str | Path, notice: Callable[[str], None] = lambda text: None) -> list[ProbeResult]:
    """Every result that a folder holds, none where it holds no probes; `notice` is told what was skipped."""
    file = folder_of(folder) / PROBES_FILE
    if not file.is_file():
        return []
    with ProbeStore(file, read_only=True, waiting=notice) as store:
        for skipped in store.notices:
            notice(skipped)
        return list(store.results.values())


def without_decay(run: TrainingRun) -> TrainingRun:
    """What probes of one sweep have in common."""
    return run.model_copy(update={"weight_decay": None})


def thinned(seen: Sequence[ProbeResult]) -> list[ProbeResult]:
    """Of the probes of one run as many as are fitted and drawn: those of the seeds that have most, evenly spread.

    A fit takes the cube of its probes in time, and the interval is as narrow as it will be long before MOST_FITTED.
    """
    if len(seen) <= MOST_FITTED:
        return list(seen)
    of_seed: dict[int, list[ProbeResult]] = {}
    for result in seen:
        of_seed.setdefault(result.config.seed, []).append(result)
    kept: list[ProbeResult] = []
    for own in sorted(of_seed.values(), key=lambda own: (-len(own), own[0].config.seed)):
        room = min(MOST_FITTED - len(kept), len(own))
        if room < min(4, len(own)):
            break
        own.sort(key=lambda result: result.config.log2_tau)
        last = max(1, room - 1)
        kept += [own[i * (len(own) - 1) // last] for i in range(room)]
    return kept


def optimum_of(run: TrainingRun, seen: Sequence[ProbeResult], value: Value) -> Optimum:
    """Fit the probes of one run."""
    seen = thinned(seen)
    basin = basin_of(seen, value)
    return Optimum(
        run=run,
        timescale_run=2.0**basin.minimum,
        log2_interval=basin.interval,
        log2_interval_95=basin.wide_interval,
        log2_band=basin.band,
        log2_probed=basin.probed,
        log2_diverged=tuple(sorted({result.config.log2_tau for result in seen if value(result) == math.inf})),
        status=basin.status,
        loss=basin.loss if math.isfinite(basin.loss) else None,
        outliers=basin.outliers,
        noise=basin.noise if math.isfinite(basin.noise) else None,
    )


def basin_of(seen: Sequence[ProbeResult], value: Value) -> Basin:
    """The basin that the probes of one run show."""
    points = [(result.config.log2_tau, result.config.seed, value(result)) for result in thinned(seen)]
    x, seed, loss = (np.array(column) for column in zip(*points, strict=True))
    return fit_basin(x.astype(float), seed.astype(np.int64), loss.astype(float))


def probes_of(calibration: Calibration, optimum: Optimum, results: Iterable[ProbeResult]) -> list[ProbeResult]:
    """Those of the calibration's task that differ from one of its optima's run in weight decay only."""
    run = without_decay(optimum.probed).model_copy(update={"convention": "pytorch"})  # that of every probe
    task, device = _without_data(calibration.task), calibration.probes.get("device")
    return [
        result
        for result in results
        if without_decay(result.config.run) == run
        and _without_data(result.config.task) == task
        and result.config.device == (device or result.config.device)
    ]


def paired(results: Sequence[ProbeResult], value: Value) -> list[tuple[ProbeResult, float]]:
    """Each result that is fitted, with its value as if every seed had the mean level: what a picture shows."""
    known = [(result, value(result)) for result in thinned(results) if math.isfinite(value(result))]
    if not known:
        return []
    x, seed, loss = (np.array(c) for c in zip(*((r.config.log2_tau, r.config.seed, v) for r, v in known), strict=True))
    levels = zip(known, at_one_level(x, seed, loss), strict=True)
    return [(result, float(level)) for (result, _), level in levels if math.isfinite(level)]


def tuned_lr(optima: Sequence[Optimum], seen: Sequence[Sequence[ProbeResult]], value: Value) -> TunedLr:
    """Where the loss is lowest in the learning rate, each at its own best timescale, and how that one moves with it.

    Losses are compared on the seeds that all learning rates have, at the lowest timescale of each seed. Slopes are
    least squares through the located optima, in octaves of the timescale per octave of lr: 0 where the timescale stays,
    -1 where the weight decay stays.
    """
    of_lr = [
        (o.run.lr, o, _lowest(results, value))
        for o, results in zip(optima, seen, strict=True)
        if same_but_lr(o.run, optima[0].run)
    ]
    of_lr.sort(key=lambda each: each[0])
    common = set.intersection(*(set(lowest) for _, _, lowest in of_lr))
    means = [statistics.fmean(lowest[s] for s in common) if common else math.inf for _, _, lowest in of_lr]
    best = min(range(len(means)), key=lambda i: means[i])
    located = [(math.log2(lr), math.log2(o.timescale_run)) for lr, o, _ in of_lr if o.status == "located"]
    slope = statistics.linear_regression(*zip(*located, strict=True)).slope if len(located) > 1 else None
    at_end = best in (0, len(means) - 1)
    log2_lr = math.log2(of_lr[best][0])
    if not at_end and all(map(math.isfinite, means[best - 1 : best + 2])):
        left, lowest, right = means[best - 1 : best + 2]
        log2_lr += (left - right) / 2 / max(left - 2 * lowest + right, 1e-300)
    return TunedLr(
        peak_lr=2.0**log2_lr,
        status="edge" if at_end else "located",
        losses=tuple((lr, loss) for (lr, _, _), loss in zip(of_lr, means, strict=True) if math.isfinite(loss)),
        timescale_slope=slope,
        steadier=None if slope is None else "timescale" if abs(slope) < 0.5 else "weight_decay",
    )


def _lowest(results: Sequence[ProbeResult], value: Value) -> dict[int, float]:
    """The lowest loss of each seed."""
    lowest: dict[int, float] = {}
    for result in results:
        if math.isfinite(loss := value(result)):
            lowest[result.config.seed] = min(loss, lowest.get(result.config.seed, math.inf))
    return lowest


def same_but_lr(run: TrainingRun, other: TrainingRun) -> bool:
    """Whether two runs differ in nothing but their learning rate."""
    return run.model_copy(update={"peak_lr": other.peak_lr}) == other


def _timescales(results: Sequence[ProbeResult]) -> int:
    """How many different timescales are known, counted as far as is enough."""
    known: set[float] = set()
    for result in results:
        if result.status != "failed":
            known.add(round(result.config.log2_tau, 6))
        if len(known) == ENOUGH:
            break
    return len(known)


def _common(result: ProbeResult) -> tuple[object, ...]:
    """What runs must share to be scales of one training."""
    return (
        tuple(sorted(_without_data(result.config.task).items())),
        result.config.device,
        result.config.precision,
        result.config.run.unit,
    )


def _without_data(task: Mapping[str, str]) -> dict[str, str]:
    """A task as it is at any size of its data."""
    return {name: value for name, value in task.items() if not name.endswith("sha256")}


def _calibration(
    optima: Sequence[Optimum], seen: Sequence[ProbeResult], metric: str, lr: TunedLr | None, *, maximize: bool
) -> Calibration:
    """What is written: optima, and what they say across scales."""
    return Calibration(
        task=seen[0].config.task,
        optima=tuple(optima),
        slopes=_slopes(optima),
        left_out=tuple(_left_out(optima)),
        lr=lr,
        probes={
            "count": len(seen),
            **{status: sum(result.status == status for result in seen) for status in ("diverged", "failed")},
            "seeds": len({result.config.seed for result in seen}),
            "device": seen[0].config.device,
            "metric": metric,
            **({"maximize": True} if maximize else {}),
            **({"noise": optima[0].noise} if optima[0].noise is not None else {}),
        },
    )


def _slopes(optima: Sequence[Optimum]) -> dict[str, Slope]:
    """How far the optimum moves for 4 times each quantity in which the measured ones differ, from the base run on."""
    base = optima[0].run
    posterior = believed_of(from_optima(optima, base), base)
    return {
        name: Slope(octaves_per_factor_4=moved.log2_tau, deviation=moved.deviation)
        for name, larger in _larger(base, [optimum.probed for optimum in optima])
        for moved in [posterior.move(base, larger)]
    }


def _larger(base: TrainingRun, runs: Sequence[TrainingRun]) -> Iterator[tuple[str, TrainingRun]]:
    """Each axis in which the runs differ, with the base run at 4 times it; a width takes the parameters along."""
    for axis in AXES:
        if len({getattr(run, axis) for run in runs}) > 1 and getattr(base, axis):
            four = {axis: 4 * getattr(base, axis)}
            if axis == "width" and base.num_params:
                four["num_params"] = 16 * base.num_params
            yield axis, base.model_copy(update=four)


def _left_out(optima: Sequence[Optimum]) -> Iterator[LeftOut]:
    """Each located optimum beside what all the others predict for it."""
    for optimum in optima:
        rest = [other for other in optima if other is not optimum]
        if optimum.status == "located" and any(other.status == "located" for other in rest):
            predicted = believed_of(from_optima(rest, optimum.run), optimum.run).predict(optimum.run)
            yield LeftOut(
                run=optimum.run,
                measured=math.log2(optimum.timescale_run),
                predicted=predicted.log2_tau,
                log2_interval=predicted.interval,
            )
