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
from adamw_scale.parametrizations import PARAMETRIZATIONS
from adamw_scale.rules import RULES, Rule, regime
from adamw_scale.rules.regimes import BASELINE, Regime
from adamw_scale.spec import (
    Alternative,
    Calibration,
    Caution,
    Optimum,
    ParamGroup,
    Recommendation,
    Timescale,
    TrainingRun,
)
from adamw_scale.units import format_count, format_percent, format_significant

# Largest lr*λ of any AdamW setting that was read in a source: 3.2e-3 (Kim et al., arXiv:2509.14786).
LARGEST_KNOWN_DECAY_PER_STEP = 5e-3
LARGEST_KNOWN_LR = 0.1
INERT_RETENTION = 0.8
# Published optima were searched on grids of factor 2: each is known to half a grid step.
GRID_UNCERTAINTY = math.sqrt(2.0)
# Growth of the range of a calibrated timescale per fourfold change of data or epochs: optima of small
# trainings drifted by up to 0.6 octave per factor 4 where the timescale in epochs was kept.
SPREAD_PER_FACTOR_4 = 1.5
CALIBRATED_REACH = 4.0


class _Answer(NamedTuple):
    """One rule's timescale for a run, before it becomes advice."""

    rule: Rule
    timescale: Timescale
    source: str
    outside: tuple[str, ...]
    spread: float
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
    kind = regime(run)
    if calibration is not None:
        if rule not in (None, calibration.rule):
            raise SpecError(f"--rule {rule} contradicts a calibration of {calibration.rule!r}: drop one of the two")
        answer = _measured(run, calibration, kind)
        others = (kind.default, *kind.competitors)
    else:
        answer = _published(run, RULES[kind.default if rule is None else rule]())
        others = kind.competitors if rule is None else (kind.default, *kind.competitors)

    weight_decay = _weight_decay(run, answer.timescale)
    alternatives = tuple(_alternatives(run, [n for n in (*others, BASELINE) if calibration or n != answer.rule.name]))
    is_default = rule in (None, kind.default) and calibration is None
    return Recommendation(
        weight_decay=weight_decay,
        weight_decay_range=_range(weight_decay, answer, alternatives, kind if is_default else None),
        peak_lr=run.peak_lr,
        rule=answer.rule.name,
        timescale=answer.timescale,
        alternatives=alternatives,
        param_groups=_param_groups(run, weight_decay),
        companions=_companions(run, weight_decay, answer),
        cautions=(*answer.cautions, *_cautions(run, weight_decay, answer, kind if is_default else None)),
        run=run,
    )


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
                fix="treat the range as the answer, or measure: adamw-scale calibrate --out DIR",
            )
        )
    if rule.fitted_parametrization not in (None, run.parametrization):
        cautions.append(
            Caution(
                code="parametrization",
                message=f"{rule.name} was fitted under {rule.fitted_parametrization}, this run is {run.parametrization}; "
                "assumed: what counts is the lr applied to hidden matrices",
                fix="give --lr as applied to the hidden matrices, or pass --parametrization with --width and --base-width",
            )
        )
    if run.num_params_kind != "total" and rule.name in ("power-lines", "steplaw-refit"):
        cautions.append(
            Caution(
                code="params-kind",
                message=f"the law is read with all parameters; {run.num_params_kind} ones were given, which moves λ by (total/given)^0.53",
                fix="give the total with --params",
            )
        )
    return _Answer(
        rule, timescale, rule.source, outside, rule.spread_outside if outside else rule.spread, tuple(cautions)
    )


def _measured(run: TrainingRun, calibration: Calibration, kind: Regime) -> _Answer:
    """A rule with calibrated constants: the range grows with the distance from what was measured."""
    located = [optimum for optimum in calibration.optima if optimum.status == "located"]
    if not located:
        statuses = ", ".join(sorted({optimum.status for optimum in calibration.optima})) or "none"
        raise CalibrationError(
            f"this calibration located no optimum (status: {statuses}), so it has nothing to recommend: "
            "calibrate with more epochs or fewer data, or leave --calibration out"
        )
    part = RULES[calibration.rule]
    known = {field.name for field in fields(cast(Any, part))}
    if unknown := sorted(set(calibration.constants) - known):
        raise CalibrationError(
            f"rule {calibration.rule!r} has no constant {unknown[0]!r}; it has {', '.join(sorted(known))}"
        )
    rule = cast(type[Any], part)(**calibration.constants)
    nearest = min(located, key=lambda optimum: _distance(run, optimum))
    _refuse_other_constants(rule, nearest)
    cautions: list[Caution] = []
    timescale, matching = _matched_to_schedule(
        run, rule.target_timescale(run), nearest.run.lr_schedule.mean(), "the calibrated schedule"
    )
    cautions += matching
    probed = nearest.run
    outside = tuple(_far_from(run, probed))
    if rule.name != kind.default:
        outside += (f"the calibration is of {rule.name!r}, a {kind.name} run has {kind.default!r}",)
    if outside:
        cautions.append(
            Caution(
                code="extrapolated",
                message=f"calibrated at {_describe(probed)}; here " + ", ".join(outside),
                fix="calibrate nearer to the run (--data, --dataset-size, --epochs, --width, --lr)",
            )
        )
    if not math.isclose(run.peak_lr * run.width_ratio, probed.peak_lr * probed.width_ratio, rel_tol=0.3):
        cautions.append(
            Caution(
                code="other-lr",
                message=f"calibrated at lr {probed.peak_lr:g}, this run has {run.peak_lr:g}; "
                "in small trainings neither the timescale nor λ stayed put when lr alone moved",
                fix="calibrate at the learning rate of the run, scaled with width: --lr",
            )
        )
    spread = max(optimum.spread for optimum in located) * SPREAD_PER_FACTOR_4 ** _distance(run, nearest)
    source = f"calibration: {len(located)} measured optimum of task {calibration.task.get('name', '?')!r}"
    return _Answer(rule, timescale, source, outside, spread, tuple(cautions))


def _refuse_other_constants(rule: Rule, optimum: Optimum) -> None:
    """Constants that do not come near the optimum they claim to be fitted to were not fitted to it."""
    try:
        ratio = rule.target_timescale(optimum.run).run / optimum.timescale_run
    except (ArithmeticError, ValueError, SpecError):
        ratio = math.inf
    if not 0.5 <= ratio <= 2:
        raise CalibrationError("the constants of this calibration do not fit its own optimum: run calibrate again")


def _distance(run: TrainingRun, optimum: Optimum) -> float:
    """How many factors of 4, in data and epochs together, lie between a run and a measured one."""
    data = abs(math.log(run.dataset_size / optimum.run.dataset_size, 4))
    return data + abs(math.log(run.epochs / optimum.run.epochs, 4))


def _far_from(run: TrainingRun, probed: TrainingRun) -> Iterator[str]:
    """One clause per quantity that is more than CALIBRATED_REACH away from the calibrated run."""
    for what, here, there in (
        ("data set", run.dataset_size, probed.dataset_size),
        ("number of epochs", run.epochs, probed.epochs),
        ("number of parameters", run.num_params, probed.num_params),
    ):
        if here is None or there is None:
            continue
        ratio = max(here / there, there / here)
        if ratio > CALIBRATED_REACH:
            yield f"{what} differs by a factor {format_count(ratio)}"
    if run.unit != probed.unit:
        yield f"{run.unit} are not {probed.unit}"


def _describe(run: TrainingRun) -> str:
    params = f", {format_count(run.num_params)} parameters" if run.num_params else ""
    return f"{format_count(run.dataset_size)} {run.unit} x {run.epochs:g} epochs{params}, lr {run.peak_lr:g}"


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
        f"assumed: the sum of lr*λ carries over, so λ was {'divided' if factor > 1 else 'multiplied'} by {max(factor, 1 / factor):.3g}",
        fix="calibrate on your schedule, or take the unmatched value as the other end of the range",
    )
    return run.timescale(iters=target.iters * factor), [caution]


def _weight_decay(run: TrainingRun, timescale: Timescale) -> float:
    if timescale.iters <= 1:
        raise SpecError(
            f"the rule asks for a timescale of {timescale.iters:.2g} steps, which would replace the weights each step: the run's "
            f"{run.total_steps:.4g} steps are too few, or its lr of {run.peak_lr:g} too high; check --batch-size, --epochs and --lr"
        )
    return ema.weight_decay(run.peak_lr, timescale.iters)


def _alternatives(run: TrainingRun, names: list[str]) -> Iterator[Alternative]:
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
    """The rule's spread around the value; the regime of a default answer may widen it."""
    low, high = weight_decay / answer.spread, weight_decay * answer.spread
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


def _companions(run: TrainingRun, weight_decay: float, answer: _Answer) -> dict[str, Any]:
    """What goes with the number; retention and RMS are of the decayed groups at the base values."""
    mean = run.lr_schedule.mean()
    companions: dict[str, Any] = {
        "source": answer.source,
        "certainty": answer.rule.certainty,
        "in_domain": not answer.outside,
        "derivation": f"{answer.rule.derivation(run)}; λ = 1 / (lr · tau) = 1 / ({run.peak_lr:g} · {answer.timescale.iters:.5g} steps)",
        "schedule_mean": mean,
        "retention": ema.retention(mean, answer.timescale.run),
        "equilibrium_rms": ema.equilibrium_rms(run.peak_lr, weight_decay),
    }
    if run.weight_decay is not None:
        companions["current"] = _current(run, mean)
    return companions


def _current(run: TrainingRun, mean: float) -> dict[str, Any]:
    """What the weight decay in use amounts to."""
    value = run.current_weight_decay
    if value == 0:
        return {"weight_decay": 0.0, "retention": 1.0}
    timescale = run.timescale_of(value)
    return {"weight_decay": value, "timescale": timescale.model_dump(), "retention": ema.retention(mean, timescale.run)}


def _cautions(run: TrainingRun, weight_decay: float, answer: _Answer, kind: Regime | None) -> Iterator[Caution]:
    """Reasons that hold whatever rule gave the number."""
    tau = answer.timescale
    beta1, beta2 = run.betas
    if kind and kind.calibrate:
        yield Caution(
            code="calibrate",
            message=kind.calibrate,
            fix="measure it on your own data: adamw-scale calibrate --out DIR --data FILE, then --calibration DIR/calibration.json",
        )
    if kind and kind.indifferent_up_to:
        yield Caution(
            code="no-law",
            message=f"nothing published says which decay finetuning wants; 0 to {kind.indifferent_up_to:g} is common practice",
            fix="keep what you have; raise it only if held-out loss says so",
        )
    kept = ema.retention(run.lr_schedule.mean(), tau.run)
    if kept > INERT_RETENTION:
        yield Caution(
            code="inert",
            message=f"{format_percent(kept)} of the initial weights survive the run: decay hardly acts, its value hardly matters",
            fix="do not tune it; if decay should act, train longer or at a higher learning rate",
        )
    if run.peak_lr > LARGEST_KNOWN_LR:
        yield Caution(
            code="lr",
            message=f"lr {run.peak_lr:g} moves each weight by about that much a step; published AdamW settings end at 0.05",
            fix="check --lr",
        )
    if run.peak_lr * weight_decay > LARGEST_KNOWN_DECAY_PER_STEP:
        yield Caution(
            code="decay-per-step",
            message=f"lr*λ = {format_significant(run.peak_lr * weight_decay)} is above every published AdamW setting (3.2e-3)",
            fix="use a smaller batch, so that the run has more steps",
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
            message=f"the timescale ({format_count(tau.iters)} steps) is not far above Adam's own memory "
            f"({1 / (1 - beta1):.3g} and {1 / (1 - beta2):.3g} steps)",
            fix="lower beta2, or use a smaller batch, so that the run has more steps",
        )
