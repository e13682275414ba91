"""From a run to a recommendation."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from adamw_scale.advisor.answers import Answer, carrier, measured, published, transferred, tuned_optimum
from adamw_scale.advisor.cautions import cautions_of
from adamw_scale.advisor.laws import laws_for
from adamw_scale.errors import MissingInputError, SpecError
from adamw_scale.rules import RULES, regime
from adamw_scale.rules.regimes import BASELINE, TRANSFERS, Regime
from adamw_scale.spec.advice import (
    Alternative,
    Caution,
    Companions,
    Current,
    DecayPerStep,
    InConvention,
    ParamGroup,
    Recommendation,
    Transfer,
)
from adamw_scale.spec.measurement import Calibration
from adamw_scale.spec.run import Timescale, TrainingRun
from adamw_scale.theory import timescale as ema
from adamw_scale.theory.batch_scaling import beta2_for_batch, beta_power, beta_sde, completed_p, eps_sde
from adamw_scale.theory.conventions import CONVENTIONS, from_pytorch, to_pytorch
from adamw_scale.theory.parametrizations import PARAMETRIZATIONS
from adamw_scale.units import format_count

# Published optima were searched on grids of factor 2: each is known to half a grid step.
GRID_UNCERTAINTY = math.sqrt(2.0)


class Choice(NamedTuple):
    """The answer that is taken, those that are shown beside it, and the regime whose default the first one is."""

    answer: Answer
    alternatives: tuple[Alternative, ...]
    default_of: Regime | None


def advise(
    run: TrainingRun,
    rule: str | None = None,
    calibration: Calibration | None = None,
    reference: TrainingRun | None = None,
) -> Recommendation | DecayPerStep:
    """What `recommend` says; where neither the run nor a reference has a learning rate, the product lr*λ."""
    if run.peak_lr is None and reference is None:
        return decay_per_step(run, rule, calibration)
    return recommend(run, rule, calibration, reference)


def recommend(
    run: TrainingRun,
    rule: str | None = None,
    calibration: Calibration | None = None,
    reference: TrainingRun | None = None,
) -> Recommendation:
    """Which weight decay to use for a run, with its range, its rule, its competitors and its limits.

    Args:
        run: What is trained. With a reference its learning rate may be missing; the rule then gives it.
        rule: Name of a rule to use instead of the default of the run's regime.
        calibration: Measured constants to use instead of a rule's published ones.
        reference: A tuned run with its learning rate and weight decay, to be carried to this run.

    Raises:
        UnknownNameError: no such rule.
        MissingInputError: the run lacks something the rule needs, its learning rate included.
        SpecError: the sources contradict each other, or no possible weight decay results.
        CalibrationError: the calibration located no optimum.

    Example:
        >>> run = TrainingRun(dataset_size="26B", batch_size="0.5M", peak_lr=3e-4, num_params="1.3B")
        >>> advice = recommend(run)
        >>> advice.rule, round(advice.weight_decay, 4)
        ('power-lines', 0.2867)
    """
    if reference is not None and run.peak_lr is None:
        run = run.model_copy(update={"peak_lr": _transferred_lr(run, reference, rule)})
    choice = _choice(run, rule, calibration, reference)
    answer = choice.answer
    weight_decay = _weight_decay(run, answer.timescale)
    groups = _param_groups(run, weight_decay)
    span = _range(weight_decay, choice, lambda other: other.weight_decay or 0.0)
    return Recommendation(
        weight_decay=weight_decay,
        weight_decay_range=span,
        peak_lr=run.lr,
        rule=answer.rule.name,
        timescale=answer.timescale,
        alternatives=choice.alternatives,
        param_groups=groups,
        companions=_companions(run, answer, groups[0], reference, weight_decay, span),
        cautions=(*answer.cautions, *cautions_of(run, weight_decay, answer.timescale, choice.default_of, reference)),
        run=run,
    )


def decay_per_step(run: TrainingRun, rule: str | None = None, calibration: Calibration | None = None) -> DecayPerStep:
    """The product lr*λ for a run without a learning rate, and what published laws say about that rate.

    Raises:
        UnknownNameError: no such rule.
        MissingInputError: the run lacks something the rule needs.
        CalibrationError: the calibration located no optimum.

    Example:
        >>> advice = decay_per_step(TrainingRun(dataset_size="20B", batch_size="0.5M", num_params="1B"))
        >>> round(advice.lr_times_weight_decay * advice.timescale.iters, 9), advice.laws[0].law
        (1.0, 'step-law')
    """
    choice = _choice(run, rule, calibration, None)
    answer = choice.answer
    product = 1.0 / answer.timescale.iters
    return DecayPerStep(
        lr_times_weight_decay=product,
        lr_times_weight_decay_range=_range(product, choice, lambda other: 1.0 / other.timescale.iters),
        rule=answer.rule.name,
        source=answer.source,
        certainty=answer.certainty,
        in_domain=not answer.outside,
        derivation=f"{answer.derivation}; lr · λ = 1 / tau = 1 / {format_count(answer.timescale.iters)}",
        timescale=answer.timescale,
        alternatives=choice.alternatives,
        laws=tuple(laws_for(run, product)),
        beta2=_beta2(run),
        cautions=(*answer.cautions, *cautions_of(run, None, answer.timescale, choice.default_of, None)),
        run=run,
    )


def _choice(
    run: TrainingRun, rule: str | None, calibration: Calibration | None, reference: TrainingRun | None
) -> Choice:
    """The answer of the rule that was asked for, or of the regime's default; only the latter keeps the regime."""
    if calibration is not None and reference is not None:
        raise SpecError("a calibration and a reference are both measurements to start from: drop one of the two")
    kind = _regime(run, optional=(rule, calibration, reference) != (None, None, None))
    if reference is not None:
        name = rule or _transfer_rule(run, reference, kind)
        others = _transferred_alternatives(run, reference, [other for other in TRANSFERS if other != name])
        return Choice(transferred(run, reference, name), tuple(others), None)
    competitors = () if kind is None else (kind.default, *kind.competitors)
    if calibration is not None:
        if rule not in (None, calibration.rule):
            raise SpecError(f"--rule {rule} contradicts a calibration of {calibration.rule!r}: drop one of the two")
        answer = measured(run, calibration, kind)
        if kind is not None and (narrower := _narrower_than(answer, run, kind)) is not None:
            others = _alternatives(run, (*kind.competitors, BASELINE))
            return Choice(narrower, (_as_alternative(run, answer), *others), kind)
    else:
        answer = published(run, RULES[competitors[0] if rule is None else rule]())
        competitors = tuple(name for name in competitors if name != answer.rule.name)
    baseline = () if answer.rule.name == BASELINE else (BASELINE,)
    default_of = kind if kind and rule in (None, kind.default) and calibration is None else None
    return Choice(answer, tuple(_alternatives(run, (*competitors, *baseline))), default_of)


def _narrower_than(calibrated: Answer, run: TrainingRun, kind: Regime) -> Answer | None:
    """The regime's published rule, where its range is narrower than that of a calibration made far from the run.

    Near the probes they decide, however wide their range: a published one is narrow about other trainings than these.
    """
    if kind.calibrate or not calibrated.outside:
        return None
    try:
        rule = published(run, RULES[kind.default]())
    except MissingInputError:
        return None
    theirs, ours = (high - low for low, high in (calibrated.octaves, rule.octaves))
    if rule.outside or ours >= theirs:
        return None
    caution = Caution(
        code="calibration-outweighed",
        message=f"the calibration was made so far from this run that its range spans a factor {2**theirs:.2g}, the "
        f"published rule's {2**ours:.2g}: the rule is used",
        fix="calibrate nearer to the run (--data, --sizes, --widths), or pass --rule to choose",
    )
    return rule._replace(cautions=(caution, *rule.cautions))


def _as_alternative(run: TrainingRun, answer: Answer) -> Alternative:
    """An answer that was not taken."""
    return Alternative(
        rule=answer.rule.name,
        weight_decay=None if run.peak_lr is None else _weight_decay(run, answer.timescale),
        timescale=answer.timescale,
        in_domain=not answer.outside,
        source=answer.source,
    )


def _transfer_rule(run: TrainingRun, reference: TrainingRun, kind: Regime | None) -> str:
    """The regime's; with as many units seen as in the reference one that keeps tau_epoch, and needs no num_params."""
    same_duration = math.isclose(run.total_units, reference.total_units) and math.isclose(run.epochs, reference.epochs)
    unknown = run.num_params is None or reference.num_params is None
    if kind is None or (same_duration and unknown):
        return "constant-tau-epoch"
    return kind.transfer


def _transferred_lr(run: TrainingRun, reference: TrainingRun, rule: str | None) -> float:
    """The learning rate that goes with the rule, where the run has none of its own."""
    name = rule or _transfer_rule(run, reference, _regime(run, optional=True))
    tuned_optimum(reference)  # refuses a reference without one
    return carrier(name).transferred_lr(reference, run)


def _transferred_alternatives(run: TrainingRun, reference: TrainingRun, names: list[str]) -> Iterator[Alternative]:
    """What other rules keep of the tuned run; one that carries the learning rate along says which."""
    tuned = reference.current_weight_decay
    for name in names:
        try:
            lr = carrier(name).transferred_lr(reference, run)
            own = run.model_copy(update={"peak_lr": lr}) if lr != reference.lr else run
            answer = transferred(own, reference, name)
        except MissingInputError:
            continue
        if answer.timescale.iters > 1:
            value = _weight_decay(own, answer.timescale)
            yield Alternative(
                rule=name,
                weight_decay=value,
                peak_lr=own.peak_lr if own is not run else None,
                factor=value / tuned,
                timescale=answer.timescale,
                in_domain=not answer.outside,
                source=answer.rule.source,
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
            f"the rule asks for a timescale of {timescale.iters:.2g} steps, which would replace the weights each "
            f"step: the run's {run.total_steps:.4g} steps are too few, or its lr of {run.lr:g} too high; check "
            "--batch-size, --epochs and --lr"
        )
    return ema.weight_decay(run.lr, timescale.iters)


def _alternatives(run: TrainingRun, names: tuple[str, ...]) -> Iterator[Alternative]:
    """The same run through other rules; one that lacks an input of its own is left out."""
    for name in names:
        try:
            answer = published(run, RULES[name]())
        except MissingInputError:
            continue
        if answer.timescale.iters > 1:
            yield _as_alternative(run, answer)


def _range(value: float, choice: Choice, value_of: Callable[[Alternative], float]) -> tuple[float, float]:
    """The answer's bounds, longest timescale first; the regime of a default answer may widen them."""
    shorter, longer = choice.answer.octaves
    low, high = value * 2.0**-longer, value * 2.0**-shorter
    kind = choice.default_of
    if kind and kind.spans_competitors:
        others = [value_of(other) for other in choice.alternatives if other.rule != BASELINE]
        low = min([low, *(other / GRID_UNCERTAINTY for other in others)])
        high = max([high, *(other * GRID_UNCERTAINTY for other in others)])
    if kind and kind.indifferent_up_to:
        low, high = 0.0, max(kind.indifferent_up_to, value)
    return low, high


def _param_groups(run: TrainingRun, weight_decay: float) -> tuple[ParamGroup, ...]:
    multipliers = PARAMETRIZATIONS[run.parametrization].multipliers(run.width_ratio, run.depth_ratio)
    return tuple(
        ParamGroup(
            group=group,
            peak_lr=run.lr * by.peak_lr,
            weight_decay=weight_decay * by.weight_decay,
            eps=run.eps * by.eps,
            init_variance=by.init_variance,
            forward=by.forward,
        )
        for group, by in multipliers.items()
    )


def _companions(
    run: TrainingRun,
    answer: Answer,
    hidden: ParamGroup,
    reference: TrainingRun | None,
    weight_decay: float,
    span: tuple[float, float],
) -> Companions:
    """What goes with the number, on the hidden matrices."""
    mean = run.decay_schedule.mean()
    drift = PARAMETRIZATIONS[run.parametrization].timescale_drift(run.width_ratio, run.depth_ratio)
    return Companions(
        source=answer.source,
        certainty=answer.certainty,
        in_domain=not answer.outside,
        derivation=f"{answer.derivation}; λ = 1 / (lr · tau) = 1 / ({run.lr:g} · "
        f"{format_count(answer.timescale.iters)})",
        schedule_mean=run.lr_schedule.mean(),
        decay_mean=mean,
        retention=ema.retention(mean, answer.timescale.run * drift),
        equilibrium_rms=ema.equilibrium_rms(hidden.peak_lr, hidden.weight_decay),
        relative_update=ema.equilibrium_relative_update(hidden.peak_lr, hidden.weight_decay, run.betas[0]),
        weight_bound=ema.weight_bound(hidden.weight_decay),
        beta2=_beta2(run),
        in_convention=_in_convention(run, hidden, weight_decay, span),
        current=None if run.weight_decay is None else _current(run, mean, hidden.peak_lr),
        reference=None if reference is None else _transfer(run, reference, weight_decay),
    )


def _in_convention(
    run: TrainingRun, hidden: ParamGroup, weight_decay: float, span: tuple[float, float]
) -> InConvention | None:
    """The hidden matrices' values in the run's own convention, with the same sum over the run."""
    if CONVENTIONS[run.convention].kind == "pytorch":
        return None
    setting = run.setting._replace(peak_lr=hidden.peak_lr)
    own = run.decay_schedule.mean() / run.lr_schedule.mean()  # λ stands for lr*λ that moves as the run says
    value, low, high = (
        from_pytorch(run.convention, hidden.weight_decay * own * factor, setting, match="mass")
        for factor in (1.0, span[0] / weight_decay, span[1] / weight_decay)
    )
    return InConvention(convention=run.convention, weight_decay=value, weight_decay_range=(low, high))


def _beta2(run: TrainingRun) -> float | None:
    """Marek et al.'s beta2 for the batch; it is known in tokens only."""
    return beta2_for_batch(run.batch_size) if run.unit == "tokens" else None


def _transfer(run: TrainingRun, reference: TrainingRun, weight_decay: float) -> Transfer:
    """Factors against the reference, and its betas and eps scaled with batch and duration, where that is possible."""
    pairs = {
        "data set": (run.dataset_size, reference.dataset_size),
        "epochs": (run.epochs, reference.epochs),
        "batch": (run.batch_size, reference.batch_size),
        "parameters": (run.num_params, reference.num_params),
        "width": (run.width, reference.width or run.base_width),
        "depth": (run.depth, reference.depth or run.base_depth),
        "lr": (run.peak_lr, reference.peak_lr),
    }
    moved = {name: a / b for name, (a, b) in pairs.items() if a and b and not math.isclose(a, b)}
    batch, duration = run.batch_size / reference.batch_size, run.total_units / reference.total_units
    factors = completed_p(batch, duration)
    language, bigger = run.unit == "tokens", not math.isclose(batch, 1.0)
    scaled = _scaled(reference.betas, factors.one_minus_beta) if language else None
    sde = _scaled(reference.betas, batch) if bigger else None
    return Transfer(
        weight_decay=reference.current_weight_decay,
        peak_lr=reference.lr,
        factor=weight_decay / reference.current_weight_decay,
        moved=moved,
        betas=scaled,
        eps=reference.eps * factors.eps if scaled else None,
        sde_betas=sde,
        sde_eps=eps_sde(reference.eps, batch) if sde else None,
        half_life_beta2=beta_power(reference.betas[1], batch) if bigger else None,
    )


def _scaled(betas: tuple[float, float], k: float) -> tuple[float, float] | None:
    """Both betas with 1 - beta times k; None where k is 1, or so large that nothing of a beta would be left."""
    if math.isclose(k, 1.0):
        return None
    try:
        return beta_sde(betas[0], k), beta_sde(betas[1], k)
    except SpecError:
        return None


def _current(run: TrainingRun, mean: float, hidden_lr: float) -> Current:
    """The decay in use, taken as that of every group, judged on the hidden matrices."""
    setting = run.setting._replace(peak_lr=hidden_lr)  # a decay that is independent of lr is so of this one too
    value = to_pytorch(run.convention, run.weight_decay, setting, match="mass") if run.weight_decay else 0.0
    if value == 0:
        return Current(weight_decay=0.0, retention=1.0)
    timescale = run.timescale(iters=ema.tau_iter(hidden_lr, value))
    return Current(weight_decay=value, timescale=timescale, retention=ema.retention(mean, timescale.run))
