"""One rule's answer for a run: its timescale, the bounds around it, and what leaves the rule's domain.

Published rules answer with their published constants and spread. Calibrated ones answer with what was
measured, and bounds that grow with every quantity in which the run is not the probed one.
"""

import math
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, NamedTuple, cast

from adamw_scale import timescale as ema
from adamw_scale.errors import CalibrationError, SpecError
from adamw_scale.rules import RULES, CalibratableRule, Rule
from adamw_scale.rules.regimes import Regime
from adamw_scale.spec import Calibration, Caution, Optimum, Timescale, TrainingRun
from adamw_scale.units import format_count, format_significant

# Beyond this factor from what was probed, a calibrated answer is marked as outside its domain.
CALIBRATED_REACH = 4.0


class Answer(NamedTuple):
    """One rule's timescale for a run, before it becomes advice; `octaves` bounds it below and above."""

    rule: Rule
    timescale: Timescale
    source: str
    certainty: str
    outside: tuple[str, ...]
    octaves: tuple[float, float]
    cautions: tuple[Caution, ...] = ()


def published(run: TrainingRun, rule: Rule) -> Answer:
    """A rule with its published constants."""
    outside = tuple(rule.outside_domain(run))
    timescale, cautions = _matched_to_schedule(
        run, rule.target_timescale(run), rule.fitted_schedule_mean, rule.fitted_on
    )
    if outside:
        cautions.append(
            Caution(
                code="extrapolated",
                message=f"{rule.name} was fitted on {rule.fitted_on}; here " + ", ".join(outside),
                fix=f"treat the range as the answer, or {how_to_measure(run)}",
            )
        )
    if rule.fitted_parametrization not in (None, run.parametrization):
        cautions.append(
            Caution(
                code="parametrization",
                message=f"{rule.name} was fitted under {rule.fitted_parametrization}; assumed to hold in {run.parametrization} "
                "parametrization for the lr that hidden matrices get",
                fix="nothing to do, unless --lr is a muP base rate: then pass --parametrization, --width and --base-width",
            )
        )
    if rule.num_params_kind not in (None, run.num_params_kind):
        cautions.append(
            Caution(
                code="params-kind",
                message=f"{rule.name} counts {rule.num_params_kind} parameters, {run.num_params_kind} ones were given",
                fix=f"give the {rule.num_params_kind} number with --params, and --params-kind {rule.num_params_kind}",
            )
        )
    size = rule.num_params_fitted
    if size and run.num_params and size.describe_outside(run.num_params, ""):
        cautions.append(
            Caution(
                code="size",
                message=f"fitted on models of {format_count(size.low)} to {format_count(size.high)} parameters, this one has "
                f"{format_count(run.num_params)}; the law claims not to depend on size",
                fix="nothing to do: know that it was not checked there",
            )
        )
    octaves = math.log2(rule.spread_outside if outside else rule.spread)
    return Answer(rule, timescale, rule.source, rule.certainty, outside, (-octaves, octaves), tuple(cautions))


def how_to_measure(run: TrainingRun) -> str:
    """What to do where no law can be trusted, as the rest of a sentence."""
    if run.unit == "tokens":
        return "measure: adamw-scale calibrate --out DIR --data FILE, then --calibration DIR/calibration.json"
    return "compare the ends of the range in short trainings of your own, schedule compressed"


def measured(run: TrainingRun, calibration: Calibration, kind: Regime | None) -> Answer:
    """A rule with calibrated constants: the range is the measured interval, widened by how far the run has moved."""
    located = [optimum for optimum in calibration.optima if optimum.status == "located"]
    if not located:
        statuses = ", ".join(sorted({optimum.status for optimum in calibration.optima}))
        raise CalibrationError(
            f"this calibration located no optimum (status: {statuses}), so it has nothing to recommend: "
            "calibrate with more epochs or fewer data, or leave --calibration out"
        )
    rule = _calibrated_rule(calibration)
    nearest = min(located, key=lambda optimum: sum(abs(k) for k in _moves(run, optimum.run).values()))
    _refuse_other_constants(rule, nearest)
    probed, moves = nearest.run, _moves(run, nearest.run)
    timescale, cautions = _matched_to_schedule(
        run, rule.target_timescale(run), probed.lr_schedule.mean(), "the calibrated schedule"
    )
    low, high = nearest.octaves
    for quantity, fours in moves.items():
        drift = sorted(fours * octaves for octaves in rule.drift[quantity])
        low, high = low + min(0.0, drift[0]), high + max(0.0, drift[1])
    factors = {quantity: 4.0**fours for quantity, fours in moves.items() if abs(fours) > 0.02}
    outside = tuple(_far_from(run, probed, factors))
    if kind is not None and rule.name != kind.default:
        outside += (f"the calibration is of {rule.name!r}, a {kind.name} run has {kind.default!r}",)
    if factors or outside:
        moved = [f"{quantity} is {format_significant(factor)} times that" for quantity, factor in factors.items()]
        cautions.append(
            Caution(
                code="extrapolated" if outside else "moved",
                message=f"calibrated at {_describe(probed)}; here {', '.join(moved) or 'the run'}"
                + (f" ({', '.join(outside)})" if outside else "")
                + "; the range was widened by the drifts seen in small trainings",
                fix="calibrate nearer to the run (--data, --dataset-size, --epochs, --batch-size, --width, --lr)",
            )
        )
    source = f"calibration: {len(located)} measured optimum of task {calibration.task.get('name', '?')!r}"
    return Answer(rule, timescale, source, "measured, 80 % interval", outside, (low, high), tuple(cautions))


def _calibrated_rule(calibration: Calibration) -> CalibratableRule:
    """The rule with the calibration's constants; CalibrationError for constants it does not have."""
    part = cast(Any, RULES[calibration.rule])
    known = {field.name for field in fields(part)}
    unknown = sorted(set(calibration.constants) - known)
    if unknown or not hasattr(part, "fit"):
        raise CalibrationError(f"rule {calibration.rule!r} has no constant {unknown[:1]} to calibrate: calibrate again")
    return cast(CalibratableRule, part(**calibration.constants))


def _refuse_other_constants(rule: Rule, optimum: Optimum) -> None:
    """Constants that do not come near the optimum they claim to be fitted to were not fitted to it."""
    try:
        ratio = rule.target_timescale(optimum.run).run / optimum.timescale_run
    except (ArithmeticError, ValueError, SpecError):
        ratio = math.inf
    if not 0.5 <= ratio <= 2:
        raise CalibrationError("the constants of this calibration do not fit its own optimum: run calibrate again")


def _moves(run: TrainingRun, probed: TrainingRun) -> dict[str, float]:
    """How many factors of 4 the run is away from the probed one, by quantity.

    The learning rate is that of the hidden matrices times width, since lr ~ 1/width leaves a run where
    it is. Where a width is not given, the square root of the parameter ratio stands for its ratio.
    """
    widths = 1.0
    if run.width and probed.width:
        widths = run.width / probed.width
    elif run.num_params and probed.num_params:
        widths = math.sqrt(run.num_params / probed.num_params)
    hidden_lrs = (run.peak_lr / run.width_ratio) / (probed.peak_lr / probed.width_ratio)
    ratios = {
        "data set": run.dataset_size / probed.dataset_size,
        "epochs": run.epochs / probed.epochs,
        "batch": run.batch_size / probed.batch_size,
        "width": widths,
        "lr": hidden_lrs * widths,
    }
    return {quantity: math.log(ratio, 4) for quantity, ratio in ratios.items()}


def _far_from(run: TrainingRun, probed: TrainingRun, factors: dict[str, float]) -> Iterator[str]:
    """One clause per quantity that is more than CALIBRATED_REACH away from the calibrated run."""
    far = [quantity for quantity, factor in factors.items() if max(factor, 1 / factor) > CALIBRATED_REACH]
    if far:
        yield f"more than {CALIBRATED_REACH:g} times away in {' and '.join(far)}"
    if run.unit != probed.unit:
        yield f"{run.unit} are not {probed.unit}"


def _describe(run: TrainingRun) -> str:
    params = f", {format_count(run.num_params)} parameters" if run.num_params else ""
    return (
        f"{format_count(run.dataset_size)} {run.unit} x {run.epochs:g} epochs, batch {format_count(run.batch_size)}{params}, "
        f"lr {run.peak_lr:g}"
    )


def _matched_to_schedule(
    run: TrainingRun, target: Timescale, fitted_mean: float | None, fitted_on: str
) -> tuple[Timescale, list[Caution]]:
    """Keep the decay mass (mean lr multiplier / tau) of the schedule behind a rule's constants.

    Assumed, not measured: at equal peak values a constant schedule decays twice as much as linear to
    zero, so tau is scaled with the ratio of the means. Source: arXiv:2502.15938 uses the same EMA.
    """
    mean = run.lr_schedule.mean()
    if fitted_mean is None or math.isclose(mean, fitted_mean, rel_tol=0.01):
        return target, []
    factor = mean / fitted_mean
    caution = Caution(
        code="schedule",
        message=f"fitted on another schedule ({fitted_on}): mean lr is {mean:.3g} of the peak here, {fitted_mean:.3g} there; "
        f"assumed: the sum of lr*λ carries over, so λ was {'divided' if factor > 1 else 'multiplied'} by {max(factor, 1 / factor):.3g}; "
        f"at equal timescale it would be {format_significant(ema.weight_decay(run.peak_lr, target.iters))}",
        fix="calibrate on your schedule",
    )
    return run.timescale(iters=target.iters * factor), [caution]
