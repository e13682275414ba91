"""From a run to a recommendation."""

import math
from collections.abc import Iterator

from adamw_scale import timescale as ema
from adamw_scale.advisor.answers import Answer, measured, published
from adamw_scale.advisor.cautions import cautions_of
from adamw_scale.errors import MissingInputError, SpecError
from adamw_scale.parametrizations import PARAMETRIZATIONS
from adamw_scale.rules import RULES, regime
from adamw_scale.rules.regimes import BASELINE, Regime
from adamw_scale.spec import (
    Alternative,
    Calibration,
    Companions,
    Current,
    ParamGroup,
    Recommendation,
    Timescale,
    TrainingRun,
)
from adamw_scale.units import format_count

# Published optima were searched on grids of factor 2: each is known to half a grid step.
GRID_UNCERTAINTY = math.sqrt(2.0)


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
        answer = measured(run, calibration, kind)
    else:
        answer = published(run, RULES[competitors[0] if rule is None else rule]())
        competitors = tuple(name for name in competitors if name != answer.rule.name)

    weight_decay = _weight_decay(run, answer.timescale)
    groups = _param_groups(run, weight_decay)
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
        param_groups=groups,
        companions=_companions(run, answer, hidden=groups[0]),
        cautions=(*answer.cautions, *cautions_of(run, weight_decay, answer.timescale, default_of)),
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
            answer = published(run, RULES[name]())
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
    weight_decay: float, answer: Answer, alternatives: tuple[Alternative, ...], kind: Regime | None
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


def _companions(run: TrainingRun, answer: Answer, hidden: ParamGroup) -> Companions:
    """What goes with the number, on the hidden matrices."""
    mean = run.lr_schedule.mean()
    return Companions(
        source=answer.source,
        certainty=answer.certainty,
        in_domain=not answer.outside,
        derivation=f"{answer.rule.derivation(run)}; λ = 1 / (lr · tau) = 1 / ({run.peak_lr:g} · {format_count(answer.timescale.iters)})",
        schedule_mean=mean,
        retention=ema.retention(mean, answer.timescale.run),
        equilibrium_rms=ema.equilibrium_rms(hidden.peak_lr, hidden.weight_decay),
        current=None if run.weight_decay is None else _current(run, mean, hidden.peak_lr),
    )


def _current(run: TrainingRun, mean: float, hidden_lr: float) -> Current:
    """The decay in use, taken as that of every group, judged on the hidden matrices."""
    value = run.current_weight_decay
    if value == 0:
        return Current(weight_decay=0.0, retention=1.0)
    timescale = run.timescale(iters=ema.tau_iter(hidden_lr, value))
    return Current(weight_decay=value, timescale=timescale, retention=ema.retention(mean, timescale.run))
