"""One rule's answer for a run: its timescale, the bounds around it, and what leaves the rule's domain.

Published rules answer with their published constants and spread. Fitted ones, to a calibration's optima or
to one tuned run, answer with what was measured, and bounds that grow with every quantity in which the run
is not the measured one.
"""

import math
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, NamedTuple, cast

from adamw_scale.advisor.scaling import EIGHTY, ScalingFit, fours_between
from adamw_scale.errors import CalibrationError, MissingInputError, SpecError
from adamw_scale.rules import RULES, CalibratableRule, Rule
from adamw_scale.rules.regimes import TRANSFERS, Regime
from adamw_scale.spec.advice import Caution
from adamw_scale.spec.measurement import Calibration, Optimum
from adamw_scale.spec.run import Timescale, TrainingRun
from adamw_scale.theory import timescale as ema
from adamw_scale.theory.parametrizations import PARAMETRIZATIONS
from adamw_scale.units import format_count, format_significant

REACH = 4.0  # factor from what was measured beyond which a fitted answer is outside its domain
TUNED_OCTAVES = 0.5  # a tuned run is known to half a step of the usual grid, a factor 2


class Answer(NamedTuple):
    """One rule's timescale for a run, before it becomes advice; `octaves` bounds it below and above."""

    rule: Rule
    timescale: Timescale
    derivation: str
    source: str
    certainty: str
    outside: tuple[str, ...]
    octaves: tuple[float, float]
    cautions: tuple[Caution, ...] = ()


def published(run: TrainingRun, rule: Rule) -> Answer:
    """A rule with its published constants."""
    outside = tuple(rule.outside_domain(run))
    target = rule.target_timescale(run)
    timescale, cautions = _matched_to_schedule(run, target, rule.fitted_schedule_mean, rule.fitted_on)
    octaves = math.log2(rule.spread_outside if outside else rule.spread)
    return Answer(
        rule=rule,
        timescale=timescale,
        derivation=rule.derivation(run),
        source=rule.source,
        certainty=rule.certainty,
        outside=outside,
        octaves=(-octaves, octaves),
        cautions=(*cautions, *_limits(run, rule, outside)),
    )


def _limits(run: TrainingRun, rule: Rule, outside: tuple[str, ...]) -> Iterator[Caution]:
    """In what the run is not what the rule was fitted on."""
    if outside:
        yield Caution(
            code="extrapolated",
            message=f"{rule.name} was fitted on {rule.fitted_on}; here " + ", ".join(outside),
            fix=f"treat the range as the answer, or {how_to_measure(run)}",
        )
    by_width = "width" in PARAMETRIZATIONS[run.parametrization].needs
    if rule.fitted_parametrization is not None and (rule.fitted_parametrization == "standard") == by_width:
        yield Caution(
            code="parametrization",
            message=f"{rule.name} was fitted under {rule.fitted_parametrization}; assumed to hold in "
            f"{run.parametrization} parametrization for the lr that hidden matrices get",
            fix="nothing to do, unless --lr is a muP base rate: then pass --parametrization, --width and --base-width",
        )
    if rule.num_params_kind not in (None, run.num_params_kind):
        yield Caution(
            code="params-kind",
            message=f"{rule.name} counts {rule.num_params_kind} parameters, {run.num_params_kind} ones were given",
            fix=f"give the {rule.num_params_kind} number with --params, and --params-kind {rule.num_params_kind}",
        )
    size = rule.num_params_fitted
    if size and run.num_params and size.describe_outside(run.num_params, ""):
        yield Caution(
            code="size",
            message=f"fitted on models of {format_count(size.low)} to {format_count(size.high)} parameters, this one "
            f"has {format_count(run.num_params)}; the law claims not to depend on size",
            fix="nothing to do: know that it was not checked there",
        )


def published_for(reference: TrainingRun, name: str) -> float | None:
    """λ that a rule with its published constants would give the tuned run itself; None where it cannot say."""
    try:
        iters = published(reference, RULES[name]()).timescale.iters
    except MissingInputError:
        return None
    return ema.weight_decay(reference.lr, iters)


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
    _refuse_other_constants(rule, located)
    scaling = ScalingFit.of(rule, located)
    nearest = min(located, key=lambda optimum: sum(map(abs, fours_between(run, optimum.run).values())))
    unlike = (
        [f"the calibration is of {rule.name!r}, a {kind.name} run has {kind.default!r}"]
        if kind is not None and rule.name != kind.default
        else []
    )
    name, many = calibration.task.get("name", "?"), len(located) > 1
    return _fitted(
        run,
        rule,
        nearest,
        unlike,
        scaling=scaling if scaling.measured else None,
        verb="calibrated",
        source=f"calibration: {len(located)} measured {'optima' if many else 'optimum'} of task {name!r}",
        certainty="measured, 80 % interval",
        fix="calibrate nearer to the run (--data, --dataset-size, --epochs, --batch-size, --width, --lr)",
    )


def transferred(run: TrainingRun, reference: TrainingRun, name: str) -> Answer:
    """A rule fitted to one tuned run: what it kept of that run is carried to this one."""
    tuned, unfitted = tuned_optimum(reference), carrier(name)
    return _fitted(
        run,
        unfitted.fit([tuned]),
        tuned,
        [] if run.task == reference.task else [f"{run.task} is not {reference.task}"],
        verb="tuned",
        source=f"reference run, carried by {name} ({unfitted.source})",
        certainty="one tuned run, carried by a published rule",
        fix="treat the range as the answer, or tune again nearer to the run",
    )


def carrier(name: str) -> CalibratableRule:
    """A rule that can carry a tuned run to another.

    Raises:
        UnknownNameError: no such rule.
        SpecError: the rule has no constant to fit.
    """
    rule = RULES[name]()
    if not hasattr(rule, "fit"):
        raise SpecError(
            f"rule {name!r} has nothing to carry from a tuned run: pass --rule with one of {', '.join(TRANSFERS)}"
        )
    return cast(CalibratableRule, rule)


def tuned_optimum(reference: TrainingRun) -> Optimum:
    """A tuned run as a measured optimum, known to half a step of a factor-2 grid.

    Raises:
        MissingInputError: the reference has no learning rate or no weight decay.
    """
    if not reference.weight_decay or reference.peak_lr is None:
        lacking = "weight_decay above 0" if reference.peak_lr is not None else "peak_lr"
        raise MissingInputError(
            f"the reference run lacks {lacking}: write what was tuned into its file, such as lr = 3e-4 and "
            "weight_decay = 0.1"
        )
    tau = reference.timescale_of(reference.current_weight_decay).run
    octave = math.log2(tau)
    return Optimum(
        run=reference,
        timescale_run=tau,
        log2_interval=(octave - TUNED_OCTAVES, octave + TUNED_OCTAVES),
        status="located",
    )


def _fitted(
    run: TrainingRun,
    rule: CalibratableRule,
    optimum: Optimum,
    unlike: list[str],
    *,
    verb: str,
    source: str,
    certainty: str,
    fix: str,
    scaling: ScalingFit | None = None,
) -> Answer:
    """A fitted rule: the range is the optimum's interval, widened by how far the run has moved from it.

    Where slopes were measured, they move the answer, and its range is what they predict.
    """
    measured_run, moves = optimum.run, fours_between(run, optimum.run)
    target, derivation = rule.target_timescale(run), rule.derivation(run)
    if scaling is not None:
        predicted = scaling.predict(run)
        low, high = -EIGHTY * predicted.deviation, EIGHTY * predicted.deviation
        factor = 2.0**predicted.log2_tau / target.run
        derivation += f"; times {factor:.3g}, as {_slopes(scaling)}"
        target = run.timescale(run=2.0**predicted.log2_tau)
    else:
        low, high = optimum.octaves
        for quantity, fours in moves.items():
            drift = sorted(fours * octaves for octaves in rule.drift[quantity])
            low, high = low + min(0.0, drift[0]), high + max(0.0, drift[1])
    timescale, cautions = _matched_to_schedule(run, target, measured_run.decay_schedule.mean(), f"the {verb} schedule")
    factors = {quantity: 4.0**fours for quantity, fours in moves.items() if abs(fours) > 0.02}
    outside = (*_far_from(run, measured_run, factors), *unlike)
    if factors or outside:
        named = {"lr": "lr · width", "width": "width (or the square root of the parameters)"}
        moved = [
            f"{named.get(quantity, quantity)} is {format_significant(factor)} times that"
            for quantity, factor in factors.items()
        ]
        cautions.append(
            Caution(
                code="extrapolated" if outside else "moved",
                message=f"{verb} at {_describe(measured_run)}; here {', '.join(moved) or 'the run'}"
                + (f" ({', '.join(outside)})" if outside else "")
                + f"; the range was widened by {'what the optima tell and ' if scaling else ''}the drifts seen in "
                "small trainings",
                fix=fix,
            )
        )
    return Answer(rule, timescale, derivation, source, certainty, outside, (low, high), tuple(cautions))


def _slopes(scaling: ScalingFit) -> str:
    """What was measured of the law, for people."""
    told = (
        f"the timescale moves {mean:+.2g} ± {deviation:.2g} octaves against it for 4 x the {quantity}"
        for quantity, (mean, deviation) in scaling.slopes.items()
    )
    return "measured: " + ", ".join(told)


def _calibrated_rule(calibration: Calibration) -> CalibratableRule:
    """The rule with the calibration's constants; CalibrationError for constants it does not have."""
    part = cast(Any, RULES[calibration.rule])
    known = {field.name for field in fields(part)}
    unknown = sorted(set(calibration.constants) - known)
    if unknown or not hasattr(part, "fit"):
        raise CalibrationError(f"rule {calibration.rule!r} has no constant {unknown[:1]} to calibrate: calibrate again")
    return cast(CalibratableRule, part(**calibration.constants))


def _refuse_other_constants(rule: CalibratableRule, located: list[Optimum]) -> None:
    """Constants that the optima do not give were not fitted to them."""
    try:
        fitted = rule.fit(located)
        pairs = [(rule.target_timescale(o.run).run, fitted.target_timescale(o.run).run) for o in located]
    except (ArithmeticError, ValueError, SpecError):
        pairs = [(math.inf, 1.0)]
    if not all(math.isclose(claimed, fitted, rel_tol=1e-3) for claimed, fitted in pairs):
        raise CalibrationError("the constants of this calibration do not fit its own optima: run calibrate again")


def _far_from(run: TrainingRun, probed: TrainingRun, factors: dict[str, float]) -> Iterator[str]:
    """One clause per quantity that is more than REACH away from the calibrated run."""
    far = [quantity for quantity, factor in factors.items() if max(factor, 1 / factor) > REACH]
    if far:
        yield f"more than {REACH:g} times away in {' and '.join(far)}"
    if run.unit != probed.unit:
        yield f"{run.unit} are not {probed.unit}"


def _describe(run: TrainingRun) -> str:
    params = f", {format_count(run.num_params)} parameters" if run.num_params else ""
    return (
        f"{format_count(run.dataset_size)} {run.unit} x {run.epochs:g} epochs, batch "
        f"{format_count(run.batch_size)}{params}, lr {run.lr:g}"
    )


def _mean_of(run: TrainingRun) -> str:
    return "lr" if run.weight_decay_schedule == "constant" else "lr*λ"


def _matched_to_schedule(
    run: TrainingRun, target: Timescale, fitted_mean: float | None, fitted_on: str
) -> tuple[Timescale, list[Caution]]:
    """Keep the decay mass (mean lr multiplier / tau) of the schedule behind a rule's constants.

    Assumed, not measured: at equal peak values a constant schedule decays twice as much as linear to
    zero, so tau is scaled with the ratio of the means. Source: arXiv:2502.15938 uses the same EMA.
    """
    mean = run.decay_schedule.mean()
    if fitted_mean is None or math.isclose(mean, fitted_mean, rel_tol=0.01):
        return target, []
    factor = mean / fitted_mean
    unmatched = (
        ""
        if run.peak_lr is None
        else f"; at equal timescale it would be {format_significant(ema.weight_decay(run.peak_lr, target.iters))}"
    )
    caution = Caution(
        code="schedule",
        message=f"fitted on another schedule ({fitted_on}): mean {_mean_of(run)} is {mean:.3g} of the peak here, "
        f"{fitted_mean:.3g} there; assumed: the sum of lr*λ carries over, so λ was "
        f"{'divided' if factor > 1 else 'multiplied'} by {max(factor, 1 / factor):.3g}{unmatched}",
        fix="calibrate on your schedule",
    )
    return run.timescale(iters=target.iters * factor), [caution]
