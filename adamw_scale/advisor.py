"""recommend(): the only place where a timescale becomes advice.

    rule -> target timescale -> matched to the run's schedule -> weight decay = 1 / (peak_lr * tau)

with a range, the same run through the competing rules, per-group values, and every reason why the
number may hold less surely.
"""

import math
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, NamedTuple, cast

from adamw_scale import timescale as ema
from adamw_scale.errors import CalibrationError, MissingInputError, SpecError
from adamw_scale.parametrizations import HIDDEN, PARAMETRIZATIONS
from adamw_scale.rules import RULES, CalibratableRule, Rule, regime
from adamw_scale.rules.regimes import BASELINE, Regime
from adamw_scale.spec import (
    Alternative,
    Calibration,
    Caution,
    Companions,
    Current,
    Optimum,
    ParamGroup,
    Recommendation,
    Timescale,
    TrainingRun,
)
from adamw_scale.units import format_count, format_percent, format_significant

# Largest lr and lr*λ of any AdamW setting that was read in a source: 0.05 (2305.17212), 3.2e-3 (2509.14786).
LARGEST_KNOWN_LR = 0.1
LARGEST_KNOWN_DECAY_PER_STEP = 5e-3
LARGEST_SANE_WEIGHT_DECAY = 10.0
SMALLEST_USUAL_BATCH = 16_384  # tokens, for models of more than 100M parameters
INERT_RETENTION = 0.8
HARMLESS_RETENTION = 0.99
# Published optima were searched on grids of factor 2: each is known to half a grid step.
GRID_UNCERTAINTY = math.sqrt(2.0)
# Beyond this factor from what was probed, a calibrated answer is marked as outside its domain.
CALIBRATED_REACH = 4.0


class _Answer(NamedTuple):
    """One rule's timescale for a run, before it becomes advice; `octaves` bounds it below and above."""

    rule: Rule
    timescale: Timescale
    source: str
    certainty: str
    outside: tuple[str, ...]
    octaves: tuple[float, float]
    cautions: tuple[Caution, ...] = ()


def recommend(run: TrainingRun, rule: str | None = None, calibration: Calibration | None = None) -> Recommendation:
    """Which weight decay to use for a run, with its range, its rule, its competitors and its limits.

    Args:
        run: What is trained.
        rule: Name of a rule to use instead of the default of the run's regime.
        calibration: Measured constants to use instead of a rule's published ones.

    Raises:
        UnknownNameError: no such rule.
        MissingInputError: the run lacks something the rule needs.
        SpecError: rule and calibration contradict each other, or no possible weight decay results.
        CalibrationError: the calibration located no optimum.

    Example:
        >>> run = TrainingRun(dataset_size="26B", batch_size="0.5M", peak_lr=3e-4, num_params="1.3B")
        >>> advice = recommend(run)
        >>> advice.rule, round(advice.weight_decay, 4)
        ('power-lines', 0.2867)
    """
    kind = _regime(run, optional=rule is not None or calibration is not None)
    competitors = () if kind is None else (kind.default, *kind.competitors)
    if calibration is not None:
        if rule not in (None, calibration.rule):
            raise SpecError(f"--rule {rule} contradicts a calibration of {calibration.rule!r}: drop one of the two")
        answer = _measured(run, calibration, kind)
    else:
        answer = _published(run, RULES[competitors[0] if rule is None else rule]())
        competitors = tuple(name for name in competitors if name != answer.rule.name)

    weight_decay = _weight_decay(run, answer.timescale)
    baseline = () if answer.rule.name == BASELINE else (BASELINE,)
    alternatives = tuple(_alternatives(run, (*competitors, *baseline)))
    default_of = kind if kind and rule in (None, kind.default) and calibration is None else None
    return Recommendation(
        weight_decay=weight_decay,
        weight_decay_range=_range(weight_decay, answer, alternatives, default_of),
        peak_lr=run.peak_lr,
        rule=answer.rule.name,
        timescale=answer.timescale,
        alternatives=alternatives,
        param_groups=_param_groups(run, weight_decay),
        companions=_companions(run, weight_decay, answer),
        cautions=(*answer.cautions, *_cautions(run, weight_decay, answer, default_of)),
        run=run,
    )


def _regime(run: TrainingRun, *, optional: bool) -> Regime | None:
    """The run's regime; None if it cannot be told and is not needed, because the rule is given."""
    try:
        return regime(run)
    except MissingInputError:
        if optional:
            return None
        raise


def _published(run: TrainingRun, rule: Rule) -> _Answer:
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
                fix=f"treat the range as the answer, or {_how_to_measure(run)}",
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
    return _Answer(rule, timescale, rule.source, rule.certainty, outside, (-octaves, octaves), tuple(cautions))


def _how_to_measure(run: TrainingRun) -> str:
    if run.unit == "tokens":
        return "measure: adamw-scale calibrate --out DIR --data FILE, then --calibration DIR/calibration.json"
    return "compare the ends of the range in short trainings of your own, schedule compressed"


def _measured(run: TrainingRun, calibration: Calibration, kind: Regime | None) -> _Answer:
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
    return _Answer(rule, timescale, source, "measured, 80 % interval", outside, (low, high), tuple(cautions))


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


def _weight_decay(run: TrainingRun, timescale: Timescale) -> float:
    if timescale.iters <= 1:
        raise SpecError(
            f"the rule asks for a timescale of {timescale.iters:.2g} steps, which would replace the weights each step: the run's "
            f"{run.total_steps:.4g} steps are too few, or its lr of {run.peak_lr:g} too high; check --batch-size, --epochs and --lr"
        )
    return ema.weight_decay(run.peak_lr, timescale.iters)


def _alternatives(run: TrainingRun, names: tuple[str, ...]) -> Iterator[Alternative]:
    """The same run through other rules; one that lacks an input of its own is left out."""
    for name in names:
        try:
            answer = _published(run, RULES[name]())
        except MissingInputError:
            continue
        if answer.timescale.iters > 1:
            yield Alternative(
                rule=name,
                weight_decay=_weight_decay(run, answer.timescale),
                timescale=answer.timescale,
                in_domain=not answer.outside,
                source=answer.source,
            )


def _range(
    weight_decay: float, answer: _Answer, alternatives: tuple[Alternative, ...], kind: Regime | None
) -> tuple[float, float]:
    """The answer's bounds, longest timescale first; the regime of a default answer may widen them."""
    shorter, longer = answer.octaves
    low, high = weight_decay * 2.0**-longer, weight_decay * 2.0**-shorter
    if kind and kind.spans_competitors:
        others = [other.weight_decay for other in alternatives if other.rule != BASELINE]
        low = min([low, *(other / GRID_UNCERTAINTY for other in others)])
        high = max([high, *(other * GRID_UNCERTAINTY for other in others)])
    if kind and kind.indifferent_up_to:
        low, high = 0.0, max(kind.indifferent_up_to, weight_decay)
    return low, high


def _param_groups(run: TrainingRun, weight_decay: float) -> tuple[ParamGroup, ...]:
    multipliers = PARAMETRIZATIONS[run.parametrization].multipliers(run.width_ratio)
    return tuple(
        ParamGroup(group=group, peak_lr=run.peak_lr * by.peak_lr, weight_decay=weight_decay * by.weight_decay)
        for group, by in multipliers.items()
    )


def _companions(run: TrainingRun, weight_decay: float, answer: _Answer) -> Companions:
    """What goes with the number."""
    mean = run.lr_schedule.mean()
    m = run.width_ratio if PARAMETRIZATIONS[run.parametrization].needs_base_width else 1.0
    hidden = PARAMETRIZATIONS[run.parametrization].multipliers(m)[HIDDEN]
    return Companions(
        source=answer.source,
        certainty=answer.certainty,
        in_domain=not answer.outside,
        derivation=f"{answer.rule.derivation(run)}; λ = 1 / (lr · tau) = 1 / ({run.peak_lr:g} · {format_count(answer.timescale.iters)})",
        schedule_mean=mean,
        retention=ema.retention(mean, answer.timescale.run),
        equilibrium_rms=ema.equilibrium_rms(run.peak_lr * hidden.peak_lr, weight_decay * hidden.weight_decay),
        current=None if run.weight_decay is None else _current(run, mean, run.peak_lr * hidden.peak_lr),
    )


def _current(run: TrainingRun, mean: float, hidden_lr: float) -> Current:
    """The decay in use, taken as that of every group, judged on the hidden matrices."""
    value = run.current_weight_decay
    if value == 0:
        return Current(weight_decay=0.0, retention=1.0)
    timescale = run.timescale(iters=ema.tau_iter(hidden_lr, value))
    return Current(weight_decay=value, timescale=timescale, retention=ema.retention(mean, timescale.run))


def _cautions(run: TrainingRun, weight_decay: float, answer: _Answer, kind: Regime | None) -> Iterator[Caution]:
    """Reasons that hold whatever rule gave the number."""
    tau = answer.timescale
    beta1, beta2 = run.betas
    if kind and kind.calibrate:
        yield Caution(
            code="calibrate",
            message=kind.calibrate,
            fix=_how_to_measure(run),
        )
    if kind and kind.indifferent_up_to:
        yield Caution(
            code="no-law",
            message=f"nothing published says which decay finetuning wants; 0 to {kind.indifferent_up_to:g} is common practice",
            fix="keep what you have, no decay included; raise it only if held-out loss says so",
        )
    kept = ema.retention(run.lr_schedule.mean(), tau.run)
    if kind and kind.indifferent_up_to and kept < HARMLESS_RETENTION:
        yield Caution(
            code="erases",
            message=f"after this run {format_percent(kept)} of the pretrained weights are left",
            fix=f"if they should stay, lower --weight-decay: a hundredth of decay mass keeps {HARMLESS_RETENTION:.0%}",
        )
    if kept > INERT_RETENTION:
        yield Caution(
            code="inert",
            message=f"{format_percent(kept)} of the initial weights survive the run: decay hardly acts, so its value can hardly matter",
            fix="do not tune it; if decay should act, train longer or at a higher learning rate",
        )
    if run.unit == "tokens" and run.batch_size < SMALLEST_USUAL_BATCH and (run.num_params or 0) > 1e8:
        yield Caution(
            code="batch-unit",
            message=f"a batch of {run.batch_size:g} tokens is smaller than usual for a model of this size: are these sequences?",
            fix="give --batch-size in tokens: sequences times sequence length",
        )
    if run.peak_lr > LARGEST_KNOWN_LR:
        yield Caution(
            code="lr",
            message=f"lr {run.peak_lr:g} moves each weight by about that much a step; the largest published AdamW setting we know is 0.05",
            fix="check --lr",
        )
    if weight_decay > LARGEST_SANE_WEIGHT_DECAY:
        yield Caution(
            code="weight-decay",
            message=f"λ = {format_significant(weight_decay)} is far above every published one (3.2): at lr {run.peak_lr:g} and "
            f"{format_count(run.total_steps)} steps decay cannot act as it does in pretraining",
            fix="do not use this number as it is; if this is finetuning, pass --task finetuning, else check --lr",
        )
    if run.peak_lr * weight_decay > LARGEST_KNOWN_DECAY_PER_STEP:
        yield Caution(
            code="decay-per-step",
            message=f"lr*λ = {format_significant(run.peak_lr * weight_decay)} is above every published AdamW setting we know (3.2e-3): "
            f"the run has only {format_count(run.total_steps)} steps",
            fix="do not use this number as it is; if this is finetuning, pass --task finetuning, else train in more, smaller batches",
        )
    warmup_steps = run.warmup_share * run.total_steps
    if tau.iters < warmup_steps:
        yield Caution(
            code="warmup",
            message=f"the timescale ({format_count(tau.iters)} steps) is shorter than the warm-up ({format_count(warmup_steps)} steps)",
            fix="shorten the warm-up",
        )
    if tau.iters < 10 / (1 - beta1) or tau.iters < 1 / (1 - beta2):
        yield Caution(
            code="betas",
            message=f"the timescale ({format_count(tau.iters)} steps) is short against Adam's own memory "
            f"({1 / (1 - beta1):.0f} and {1 / (1 - beta2):.0f} steps)",
            fix="use a smaller batch, so that the run has more steps, or lower the beta whose memory is longest",
        )
