"""From a run to a recommendation."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from adamw_scale.advisor.answers import (
    Answer,
    believed,
    believed_of,
    carried,
    completed,
    from_optima,
    from_reference,
    moved_by,
    published,
    same_base,
    same_run,
    tuned_timescale,
)
from adamw_scale.advisor.cautions import cautions_of
from adamw_scale.advisor.laws import laws_for
from adamw_scale.errors import MissingInputError, SpecError
from adamw_scale.law.cost import cost_of
from adamw_scale.law.nearness import nearest
from adamw_scale.law.posterior import Observation, Posterior
from adamw_scale.rules import BASELINE, COMPETITORS, RULES, Rule, default_rule
from adamw_scale.rules.fixed import Fixed
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
from adamw_scale.spec.run import Timescale, TrainingRun
from adamw_scale.theory import timescale as ema
from adamw_scale.theory.batch_scaling import beta2_for_batch, beta_power, beta_sde, completed_p, eps_sde
from adamw_scale.theory.conventions import CONVENTIONS, from_pytorch
from adamw_scale.theory.parametrizations import HIDDEN
from adamw_scale.units import format_count, format_percent

if TYPE_CHECKING:
    from adamw_scale.spec.measurement import Calibration

LEAST_ITERS = 1.01  # no range goes to where a step would replace the weights
NEVER = Timescale(iters=1e18, epochs=1e18, run=1e18)  # nothing is forgotten
INDIFFERENT_UP_TO = 0.1  # finetuning: decays from 0 to this are all in use, and none is known to be better
CARRIERS = ("power-lines", "constant-tau-epoch", "run-fraction", "complete-d-p", "loshchilov-hutter", "fixed")


class Known(NamedTuple):
    """What the user knows, as the law takes it in, what is believed then, and the words for it."""

    seen: list[Observation]
    posterior: Posterior
    words: str


class Choice(NamedTuple):
    """The answer that is taken, and those that are shown beside it.

    `octaves` holds 80 % of what is believed of log2 of the timescale; None where nothing is known but practice.
    `measured` is whether this very run was tuned or measured.
    """

    answer: Answer
    alternatives: tuple[Alternative, ...]
    octaves: tuple[float, float] | None
    measured: bool
    known: Known


def advise(
    run: TrainingRun,
    rule: str | None = None,
    calibration: "Calibration | None" = None,
    reference: TrainingRun | None = None,
) -> Recommendation | DecayPerStep:
    """What `recommend` says; where neither the run nor a reference has a learning rate, the product lr*λ."""
    if run.peak_lr is None and reference is None:
        return decay_per_step(run, rule, calibration)
    return recommend(run, rule, calibration, reference)


def recommend(
    run: TrainingRun,
    rule: str | None = None,
    calibration: "Calibration | None" = None,
    reference: TrainingRun | None = None,
) -> Recommendation:
    """Which weight decay to use for a run, with its range, its rule, its competitors and its limits.

    Args:
        run: What is trained. With a reference its learning rate may be missing; the rule then gives it.
        rule: Name of a rule to use instead of the law, or of `retention` where weights were trained before.
        calibration: Measured optima that the law is to take in.
        reference: A tuned run with its learning rate and weight decay, which the law is to take in, or `rule` to carry.

    Raises:
        UnknownNameError: no such rule.
        MissingInputError: the run lacks something the rule needs, its learning rate included.
        SpecError: the sources contradict each other, or no possible weight decay results.

    Example:
        >>> run = TrainingRun(dataset_size="26B", batch_size="0.5M", peak_lr=3e-4, num_params="1.3B")
        >>> advice = recommend(run)
        >>> advice.rule, f"{advice.weight_decay:.2g}"
        ('law', '0.42')
    """
    if reference is not None and run.peak_lr is None:
        tuned_timescale(reference)  # refuses one without a learning rate
        run = _at_carried_lr(run, reference, RULES["law" if rule is None else rule]())
    choice = _choice(run, rule, calibration, reference)
    answer = choice.answer
    low, high = (
        0.0 if math.isinf(end) else _weight_decay(run, run.timescale(iters=end))
        for end in reversed(_timescales(choice, run))
    )
    off = answer.rule == "kept" and run.weight_decay == 0  # then no decay is what is kept
    timescale = None if off else run.timescale(iters=answer.timescale.iters * run.drift)
    base = 0.0 if off else _base_weight_decay(run, answer.timescale)
    groups = _param_groups(run, base)
    hidden = groups[0]
    return Recommendation(
        weight_decay=hidden.weight_decay,
        weight_decay_range=(low, high),
        peak_lr=hidden.peak_lr,
        base_weight_decay=base,
        base_peak_lr=run.lr,
        rule=answer.rule,
        timescale=timescale,
        alternatives=choice.alternatives,
        param_groups=groups,
        companions=_companions(
            run, answer, hidden, reference, (low, high), _at(run, 2 * run.lr, rule, choice.known, reference)
        ),
        cautions=(
            *answer.cautions,
            *cautions_of(run, hidden.weight_decay, timescale or NEVER, choice.octaves, reference, choice.measured),
        ),
        run=run,
    )


def _at_carried_lr(run: TrainingRun, reference: TrainingRun, rule: Rule) -> TrainingRun:
    """The run at the learning rate that a rule carries; where bases differ, that of the hidden matrices is."""
    lr = rule.carried_lr(reference, run)
    if not same_base(run, reference):
        lr *= reference.on_hidden.peak_lr / run.on_hidden.peak_lr
    return TrainingRun.model_construct(_fields_set=set(run.model_fields_set), **{**dict(run), "peak_lr": lr})


def decay_per_step(run: TrainingRun, rule: str | None = None, calibration: "Calibration | None" = None) -> DecayPerStep:
    """The product lr*λ for a run without a learning rate, and what published laws say about that rate.

    Raises:
        UnknownNameError: no such rule.
        MissingInputError: the run lacks something the rule needs.

    Example:
        >>> advice = decay_per_step(TrainingRun(dataset_size="20B", batch_size="0.5M", num_params="1B"))
        >>> round(advice.lr_times_weight_decay * advice.timescale.iters, 9), advice.laws[0].law
        (1.0, 'step-law')
    """
    choice = _choice(run, rule, calibration, None)
    answer = choice.answer
    _refuse_less_than_a_step(run, answer.timescale)
    timescale = run.timescale(iters=answer.timescale.iters * run.drift)
    product = 1.0 / timescale.iters
    low, high = (product * answer.timescale.iters / end for end in reversed(_timescales(choice, run)))
    return DecayPerStep(
        lr_times_weight_decay=product,
        lr_times_weight_decay_range=(low, high),
        rule=answer.rule,
        source=answer.source,
        certainty=answer.certainty,
        in_domain=not answer.outside,
        derivation=f"{answer.derivation}; lr · λ = 1 / tau = 1 / {format_count(round(timescale.iters))}",
        timescale=timescale,
        alternatives=choice.alternatives,
        laws=tuple(laws_for(run, lambda lr: _at(run, lr, rule, choice.known, None))),
        beta2=_beta2(run),
        cautions=(
            *answer.cautions,
            *cautions_of(run, None, timescale, choice.octaves, None, choice.measured),
        ),
        run=run,
    )


def _at(run: TrainingRun, lr: float, rule: str | None, known: Known, reference: TrainingRun | None) -> float | None:
    """λ of the hidden matrices at a base learning rate; None where their timescale would be below a step."""
    there = run.model_copy(update={"peak_lr": lr})
    timescale = _answer(there, rule, known, reference).timescale
    return _weight_decay(there, timescale) if timescale.iters > 1 else None


def _choice(
    run: TrainingRun, rule: str | None, calibration: "Calibration | None", reference: TrainingRun | None
) -> Choice:
    """The answer, by the law or the rule that was asked for; whatever it is, the range is what the law believes."""
    if calibration is not None and reference is not None:
        raise SpecError("a calibration and a reference are both measurements to start from: drop one of the two")
    if calibration is not None and rule not in (None, "law"):
        raise SpecError(f"--rule {rule} leaves --calibration out: drop one of the two")
    known = _known(run, calibration, reference)
    answer, seen = _answer(run, rule, known, reference), known.seen
    taken = "" if calibration else answer.rule  # beside a calibration the law alone is shown too
    others = _carried_alternatives(run, reference, answer.rule) if reference else _alternatives(run, taken)
    like = completed(run, seen[0].run) if seen else run
    octaves = known.posterior.predict(like).interval if run.task == "pretraining" or seen else None
    told = [*_of_the_sweeps(calibration), *_of_the_rule(answer, octaves, run)]
    measured = any(each.bound is None and same_run(each.run, like) for each in seen)
    return Choice(answer._replace(cautions=(*answer.cautions, *told)), tuple(others), octaves, measured, known)


def _known(run: TrainingRun, calibration: "Calibration | None", reference: TrainingRun | None) -> Known:
    if calibration:
        seen, words = from_optima(calibration.optima, run), "this calibration"
    elif reference:
        seen, words = [from_reference(reference, run)], "the tuned run"
    else:
        seen, words = [], ""
    return Known(seen, believed_of(seen, run), words)


def _answer(run: TrainingRun, rule: str | None, known: Known, reference: TrainingRun | None) -> Answer:
    """What the law or a rule says of a run."""
    name = rule if rule is not None else "law" if known.words else default_rule(run)
    if name == "law":
        return believed(run, known.posterior, known.seen, known.words)
    return carried(run, reference, RULES[name]()) if reference else published(run, RULES[name]())


def _of_the_sweeps(calibration: "Calibration | None") -> Iterator[Caution]:
    """That sweeps located no optimum, which the answer alone would not show."""
    statuses = [optimum.status for optimum in calibration.optima if optimum.status != "located"] if calibration else []
    if statuses and calibration:
        yield Caution(
            code="unlocated",
            message=f"{len(statuses)} of the {len(calibration.optima)} sweeps of this calibration located no optimum "
            f"({', '.join(sorted(set(statuses)))}): they only bound the answer, where they rule anything out",
            fix="see what calibrate --fit-only says of them; a range that lies beyond what was probed is a guess",
        )


def _of_the_rule(answer: Answer, octaves: tuple[float, float] | None, run: TrainingRun) -> Iterator[Caution]:
    """That a rule's value lies where the law does not believe the optimum to be."""
    at = math.log2(answer.timescale.run)
    if answer.rule != "law" and octaves is not None and not octaves[0] <= at <= octaves[1]:
        low, high = (format_percent(2.0**end) for end in octaves)
        yield Caution(
            code="unlike-evidence",
            message=f"{answer.rule} asks for a timescale of {format_percent(answer.timescale.run)} of the run, the law "
            f"believes in {low} to {high}: the range was stretched to hold both",
            fix="leave --rule out, or know why this rule is the right one here",
        )


def _timescales(choice: Choice, run: TrainingRun) -> tuple[float, float]:
    """The range in steps, the answer within it; where weights were trained before, practice, from no decay on."""
    iters = choice.answer.timescale.iters
    if choice.octaves is None:
        most = iters if run.peak_lr is None else ema.tau_iter(run.lr, INDIFFERENT_UP_TO)
        return min(iters, most), math.inf
    low, high = (run.total_steps * 2.0**octaves for octaves in choice.octaves)
    return min(iters, max(low, LEAST_ITERS)), max(high, iters)


def _as_alternative(run: TrainingRun, answer: Answer) -> Alternative:
    """An answer that was not taken."""
    return Alternative(
        rule=answer.rule,
        weight_decay=None if run.peak_lr is None else _weight_decay(run, answer.timescale),
        timescale=run.timescale(iters=answer.timescale.iters * run.drift),
        in_domain=not answer.outside,
        source=answer.source,
    )


def _carried_alternatives(run: TrainingRun, reference: TrainingRun, taken: str) -> Iterator[Alternative]:
    """What rules keep of the tuned run; one that carries the learning rate along says which."""
    for name in CARRIERS:
        rule = RULES[name]()
        try:
            own = run if rule.carried_lr(reference, run) == reference.lr else _at_carried_lr(run, reference, rule)
            answer = carried(own, reference, rule)
        except MissingInputError:
            continue
        if answer.timescale.iters > 1 and name != taken:
            value = _weight_decay(own, answer.timescale)
            yield Alternative(
                rule=name,
                weight_decay=value,
                peak_lr=own.peak_lr if own is not run else None,
                factor=value / reference.hidden_weight_decay,
                timescale=own.timescale(iters=answer.timescale.iters * own.drift),
                in_domain=not answer.outside,
                source=rule.source,
            )


def _alternatives(run: TrainingRun, taken: str) -> Iterator[Alternative]:
    """Rules in whose domain the run lies, and the copied value; one that lacks an input of its own is left out."""
    published_speak = run.task == "pretraining" and run.optimizer == "adamw"
    for name in COMPETITORS if published_speak else (BASELINE,):
        try:
            answer = published(run, RULES[name]())
        except MissingInputError:
            continue
        if name != taken and answer.timescale.iters > 1 and (name == BASELINE or not answer.outside):
            yield _as_alternative(run, answer)


def _weight_decay(run: TrainingRun, timescale: Timescale) -> float:
    """Of the hidden matrices."""
    _refuse_less_than_a_step(run, timescale)
    return run.hidden_decay_of(timescale.iters)


def _base_weight_decay(run: TrainingRun, timescale: Timescale) -> float:
    """What the multipliers of the groups apply to."""
    _refuse_less_than_a_step(run, timescale)
    return ema.weight_decay(run.lr, timescale.iters)


def _refuse_less_than_a_step(run: TrainingRun, timescale: Timescale) -> None:
    if timescale.iters <= 1:
        high = "" if run.peak_lr is None else f", or its lr of {run.lr:g} too high"
        raise SpecError(
            f"the rule asks for a timescale of {timescale.iters:.2g} steps, which would replace the weights each "
            f"step: the run's {run.total_steps:.4g} steps are too few{high}; check --batch-size, --epochs and --lr"
        )


def _param_groups(run: TrainingRun, weight_decay: float) -> tuple[ParamGroup, ...]:
    return tuple(
        ParamGroup(
            group=group,
            peak_lr=run.lr * by.peak_lr,
            weight_decay=weight_decay * by.weight_decay if run.optimizer != "muon" or group == HIDDEN else 0.0,
            eps=run.eps * by.eps,
            init_variance=by.init_variance,
            forward=by.forward,
        )
        for group, by in run.multipliers.items()
    )


def _companions(
    run: TrainingRun,
    answer: Answer,
    hidden: ParamGroup,
    reference: TrainingRun | None,
    span: tuple[float, float],
    at_twice_the_lr: float | None,
) -> Companions:
    """What goes with the number, on the hidden matrices."""
    mean = run.decay_schedule.mean()
    usual = Fixed().usual(run)
    return Companions(
        source=answer.source,
        certainty=answer.certainty,
        in_domain=not answer.outside,
        derivation=answer.derivation
        + (
            f"; λ = 1 / (lr · tau) = 1 / ({hidden.peak_lr:.4g} · "
            f"{format_count(round(answer.timescale.iters * run.drift))})"
            if hidden.weight_decay
            else ""
        ),
        evidence=tuple(nearest(run)) if run.task == "pretraining" else (),
        cost_of_factor_2=cost_of(run, 1.0),
        schedule_mean=run.lr_schedule.mean(),
        decay_mean=mean,
        **_equilibrium(run, hidden),
        beta2=_beta2(run),
        at_twice_the_lr=at_twice_the_lr,
        usual=_standing_of(run, usual, hidden),
        in_convention=_in_convention(run, hidden, span),
        current=None if run.weight_decay is None else _current(run, hidden),
        reference=None if reference is None else _transfer(run, reference, hidden.weight_decay),
    )


def _equilibrium(run: TrainingRun, hidden: ParamGroup) -> dict[str, float]:
    """What decay does to the hidden matrices."""
    decay, lr = hidden.weight_decay, hidden.peak_lr
    if not decay:
        return {"retention": 1.0}
    return {
        "retention": ema.retention(run.decay_schedule.mean(), run.hidden_timescale_of(decay).run),
        "equilibrium_rms": ema.equilibrium_rms(lr, decay),
        "relative_update": ema.equilibrium_relative_update(lr, decay, run.betas[0]),
        "weight_bound": ema.weight_bound(decay),
    }


def _in_convention(run: TrainingRun, hidden: ParamGroup, span: tuple[float, float]) -> InConvention | None:
    """The hidden matrices' values in the run's own convention, with the same sum over the run."""
    if CONVENTIONS[run.convention].kind == "pytorch":
        return None
    setting = run.setting._replace(peak_lr=hidden.peak_lr)
    own = run.decay_schedule.mean() / run.lr_schedule.mean()  # λ stands for lr*λ that moves as the run says
    value, low, high = (
        from_pytorch(run.convention, each * own, setting, match="mass") for each in (hidden.weight_decay, *span)
    )
    return InConvention(convention=run.convention, weight_decay=value, weight_decay_range=(low, high))


def _beta2(run: TrainingRun) -> float | None:
    """Marek et al.'s beta2 for the batch; it is known in tokens only."""
    return beta2_for_batch(run.batch_size) if run.unit == "tokens" else None


def _transfer(run: TrainingRun, reference: TrainingRun, weight_decay: float) -> Transfer:
    """Factors against the reference, and its betas and eps scaled with batch and duration, where that is possible."""
    batch, duration = run.batch_size / reference.batch_size, run.total_units / reference.total_units
    factors = completed_p(batch, duration)
    language, bigger = run.unit == "tokens", not math.isclose(batch, 1.0)
    scaled = _scaled(reference.betas, factors.one_minus_beta) if language else None
    sde = _scaled(reference.betas, batch) if bigger else None
    return Transfer(
        weight_decay=reference.hidden_weight_decay,
        peak_lr=reference.lr,
        factor=weight_decay / reference.hidden_weight_decay,
        moved={name: ratio for name, ratio in moved_by(run, reference).items() if not math.isclose(ratio, 1.0)},
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


def _current(run: TrainingRun, hidden: ParamGroup) -> Current:
    """The decay in use on the hidden matrices."""
    return _standing_of(run, run.hidden_weight_decay, hidden)


def _standing_of(run: TrainingRun, value: float, hidden: ParamGroup) -> Current:
    """What a weight decay of the hidden matrices amounts to, beside the recommended one."""
    if value == 0:
        return Current(weight_decay=0.0, retention=1.0)
    timescale = run.hidden_timescale_of(value)
    return Current(
        weight_decay=value,
        timescale=timescale,
        retention=ema.retention(run.decay_schedule.mean(), timescale.run),
        cost=cost_of(run, math.log2(value / hidden.weight_decay)) if hidden.weight_decay else None,
    )
