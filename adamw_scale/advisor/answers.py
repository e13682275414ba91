"""One answer for a run: its timescale, why, and what leaves its domain; and what is believed, which gives the range.

What is believed is the law and whatever the user knows: a tuned run is one observation, a calibration one for every run
that it probed. A rule that is asked for by name answers with its published constants, or carries the tuned run as it
moves itself; its range is still what is believed.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from adamw_scale.errors import MissingInputError, SpecError
from adamw_scale.law import fitted
from adamw_scale.law.features import NAMES, UNKNOWN_PARAMS, features_of
from adamw_scale.law.posterior import EIGHTY, Observation, Posterior, alikeness
from adamw_scale.noun import named
from adamw_scale.rules import RULES, Rule
from adamw_scale.spec.advice import Caution
from adamw_scale.spec.run import Timescale, TrainingRun
from adamw_scale.theory.parametrizations import PARAMETRIZATIONS
from adamw_scale.units import format_count, format_percent, format_significant

if TYPE_CHECKING:
    from adamw_scale.spec.measurement import Optimum

TUNED_DEVIATION = (
    0.3  # octaves: a tuned run is known to half a step of the usual grid of factors of 2, which is uniform
)
STRANGENESS = 1.0  # octaves by which a user's kind of training may differ from all evidence; once it has been measured
STRANGE_TASK = 3.0  # the same where weights were trained before: no evidence is of that
OTHER_UNIT, OTHER_OPTIMIZER, OTHER_PARAMETRIZATION = 2.0, 2.0, 0.5  # octaves added to what was seen in another
LEAST_DEVIATION = 0.1  # octaves: no optimum of a few seeds is known better
SOFT = 0.25  # octaves: how sharp an end of what was probed is as a bound
EVIDENCE_MEAN, ANOTHER_SCHEDULE = 0.5, 0.25  # mean of schedules that decay to zero; octaves from it that are told
UNSAID_PARAMS = (
    abs(fitted.MEAN[NAMES.index("data")]) * UNKNOWN_PARAMS
)  # octaves: what a size that one run lacks may move
NOTABLE_WARMUP = 0.005  # of the run, by which another warm-up is told
BEYOND = 1.0  # octaves: how sharp the bound is that a fit gives beyond what was probed; judgement
INSIDE = 0.5  # octaves from an end of what was probed within which an interval does not bound anything


class Answer(NamedTuple):
    """A timescale for a run, before it becomes advice."""

    rule: str
    timescale: Timescale
    derivation: str
    source: str
    certainty: str
    outside: tuple[str, ...] = ()
    cautions: tuple[Caution, ...] = ()


def believed_of(observations: list[Observation], run: TrainingRun) -> Posterior:
    """The law and what the user knows; what an observed run does not say of its size is taken to be as in the run."""
    observations = [replace(seen, run=completed(seen.run, run)) for seen in observations]
    if run.task != "pretraining":
        return Posterior(observations, strangeness=STRANGE_TASK)
    located = any(seen.bound is None for seen in observations)
    return Posterior(observations, strangeness=STRANGENESS if located else 0.0)


def from_optima(optima: "Iterable[Optimum]", run: TrainingRun) -> list[Observation]:
    """What was measured: located optima with their intervals, flat ones and edges as the bounds that they are."""
    return [seen for optimum in optima for seen in _seen_in(optimum, _unlikeness(optimum.run, run))]


def _seen_in(optimum: "Optimum", unlikeness: float) -> Iterator[Observation]:
    """Nothing, one observation or bounds."""
    low, high = optimum.log2_interval_95 or optimum.log2_interval
    start, end = optimum.log2_probed or optimum.log2_interval
    if optimum.status == "located":
        deviation = (optimum.log2_interval[1] - optimum.log2_interval[0]) / (2 * EIGHTY)
        known = math.hypot(max(deviation, LEAST_DEVIATION), unlikeness)
        yield Observation(optimum.run, math.log2(optimum.timescale_run), known)
        return
    middle, soft = (start + end) / 2, math.hypot(SOFT, unlikeness)
    at_end = 0.0 if optimum.status == "flat" else math.log2(optimum.timescale_run) - middle
    if low > start + INSIDE and at_end >= 0:
        yield Observation(optimum.run, low, soft, "above")
    if high < end - INSIDE and at_end <= 0:
        yield Observation(optimum.run, high, soft, "below")
    # Where the fit bends at an edge, it also says how far beyond the end the lowest may lie, if not well.
    if at_end < 0 and low < start:
        yield Observation(optimum.run, low, math.hypot(BEYOND, unlikeness), "above")
    if at_end > 0 and high > end:
        yield Observation(optimum.run, high, math.hypot(BEYOND, unlikeness), "below")


def from_reference(reference: TrainingRun, run: TrainingRun) -> Observation:
    """A tuned run as an observation.

    Raises:
        MissingInputError: the reference has no learning rate or no weight decay.
        SpecError: one of the two starts from trained weights and the other does not.
    """
    tuned = tuned_timescale(reference)
    return Observation(reference, math.log2(tuned.run), math.hypot(TUNED_DEVIATION, _unlikeness(reference, run)))


def tuned_timescale(reference: TrainingRun) -> Timescale:
    """The timescale of a tuned run, as multipliers of its parametrization apply to it.

    Raises:
        MissingInputError: it has no learning rate or no weight decay.
    """
    if not reference.weight_decay or reference.peak_lr is None:
        lacking = "weight_decay above 0" if reference.peak_lr is not None else "peak_lr"
        raise MissingInputError(
            f"the reference run lacks {lacking}: write what was tuned into its file, such as lr = 3e-4 and "
            "weight_decay = 0.1"
        )
    return reference.base_timescale_of(reference.hidden_weight_decay)


def _unlikeness(seen: TrainingRun, run: TrainingRun) -> float:
    """Octaves by which what was seen in one kind of training may be off in another.

    Raises:
        SpecError: only one of the two starts from trained weights; what the other wants would erase them.
    """
    if seen.task != run.task:
        raise SpecError(
            f"what was tuned or measured is {seen.task}, the run is {run.task}: nothing known carries from one to the "
            f"other; leave it out, or pass --task {seen.task}"
        )
    return math.hypot(
        OTHER_UNIT if seen.unit != run.unit else 0.0,
        OTHER_OPTIMIZER if seen.optimizer != run.optimizer else 0.0,
        OTHER_PARAMETRIZATION if seen.parametrization != run.parametrization else 0.0,
        UNSAID_PARAMS if _of_unsaid_size(seen, run) else 0.0,
    )


def _of_unsaid_size(run: TrainingRun, other: TrainingRun) -> bool:
    """Whether only one of two runs says how large its model is, so that nothing tells whether the other is larger."""
    if run.num_params and other.num_params:
        return False
    width, others = _width(run, other), _width(other, run)
    return (width is None or others is None) and (
        _one_sided(run, other, "num_params") or (width is None) != (others is None)
    )


def _one_sided(run: TrainingRun, other: TrainingRun, field: str) -> bool:
    return (getattr(run, field) is None) != (getattr(other, field) is None)


def _width(run: TrainingRun, other: TrainingRun) -> float | None:
    """Of a run: what is said, else the base width of the other one, at which the learning rate was tuned."""
    return run.width or other.base_width


def completed(run: TrainingRun, other: TrainingRun) -> TrainingRun:
    """A run with the size and learning rate that only the other one says: nobody said that they differ.

    Parameters go as the square of the width, where both say one. What was assumed is told by `_unsaid`.
    """
    said: dict[str, float | None] = {}
    width, others = _width(run, other), _width(other, run)
    if run.num_params is None and other.num_params is not None:
        said["num_params"] = other.num_params * (width / others if width and others else 1.0) ** 2
    elif run.num_params is None and run.width is None and (width or others):
        said["width"] = width or others
    if run.peak_lr is None and other.peak_lr is not None:
        said["peak_lr"] = other.peak_lr
    return run.model_copy(update=said) if said else run


def _shown(field: str, value: float) -> str:
    return format_count(value) if field == "num_params" else f"{value:g}"


def _unsaid(run: TrainingRun, other: TrainingRun, whose: str) -> Iterator[Caution]:
    """What moves λ and only one of the two says, and what was assumed of it.

    Width and depth move λ where nothing else tells how large the model is, and where the parametrization goes by them.
    """
    needs = PARAMETRIZATIONS[run.parametrization].needs
    sized = bool(run.num_params and other.num_params)
    counts = {"num_params": True, "width": not sized or "width" in needs, "depth": not sized or "depth" in needs}
    lr_counts = {"peak_lr": run.peak_lr is None and run.epochs > 1}
    told = [
        f"{named(TrainingRun, field)} {_shown(field, getattr(run, field) or getattr(other, field))} is said of "
        f"{'the run' if getattr(run, field) else whose} alone"
        for field, moves in (counts | lr_counts).items()
        if moves and _one_sided(run, other, field)
    ]
    if not told:
        return
    assumed = [f"lr is as in {whose}"] if run.peak_lr is None and other.peak_lr is not None else []
    if run.base_width and other.width is None:
        assumed.append(f"the width in {whose} is --base-width {run.base_width:g}")
    if _of_unsaid_size(run, other):
        assumed.append("both models are of one size, which the range was widened for")
    elif not sized and _one_sided(run, other, "num_params"):
        assumed.append("parameters go as the square of the width")
    yield Caution(
        code="one-sided",
        message=f"{', '.join(told)}; assumed: {', '.join(assumed) or 'it is the same in both'}",
        fix="say it of both: parameters at least, and width and depth under muP",
        about="input",
    )


def believed(run: TrainingRun, posterior: Posterior, observations: list[Observation], known: str) -> Answer:
    """What the law says with everything that the user knows."""
    law = RULES["law"]()
    like = completed(run, observations[0].run) if observations else run
    predicted = posterior.predict(like)
    outside = tuple(law.outside_domain(run))
    if not observations:
        law.target_timescale(run)  # refuses a run that lacks what the law needs
    derivation, cautions = law.derivation(like), list[Caution]()
    if observations:
        moved = 2.0 ** (predicted.log2_tau - Posterior().predict(like).log2_tau)
        derivation += f", times {moved:.3g} by {known}"
        nearest = _nearest(run, observations)
        cautions += _another_schedule(run, nearest.decay_schedule.mean(), known, predicted.log2_tau)
        cautions += _moved(run, nearest)
        cautions += _unsaid(run, nearest, known)
    else:
        cautions += _another_schedule(run, EVIDENCE_MEAN, "nearly all evidence", predicted.log2_tau)
        cautions += _limits(run, law, outside)
    return Answer(
        rule=law.name,
        timescale=run.timescale(run=2.0**predicted.log2_tau),
        derivation=derivation,
        source=f"{known}; {law.source}" if observations else law.source,
        certainty=law.certainty,
        outside=outside,
        cautions=tuple(cautions),
    )


def _another_schedule(run: TrainingRun, known: float, whose: str, log2_tau: float) -> Iterator[Caution]:
    """Where the mean of the schedule is not the known one: what λ would be if tau stayed, or the decay mass."""
    mean = run.decay_schedule.mean()
    factor = mean / known
    if abs(math.log2(factor)) < ANOTHER_SCHEDULE:
        return
    share, iters = fitted.MEAN[NAMES.index("schedule")], run.total_steps * 2.0**log2_tau
    yield Caution(
        code="schedule",
        message=f"mean {_mean_of(run)} is {mean:.3g} of the peak here, {known:.3g} in {whose}; the law goes half-way"
        + _if_kept(run, "timescale", iters / factor**share)
        + _if_kept(run, "sum of lr*λ", iters * factor ** (1 - share)),
        fix="calibrate on your schedule",
    )


def _nearest(run: TrainingRun, observations: list[Observation]) -> TrainingRun:
    """The run that the user knows which is most like this one."""
    here = features_of(run)
    return max((each.run for each in observations), key=lambda other: alikeness(features_of(other), here, fitted.REACH))


def _moved(run: TrainingRun, seen: TrainingRun) -> Iterator[Caution]:
    """How far the run is from what the user knows; nothing where it is the same."""
    ratios = {quantity: ratio for quantity, ratio in moved_by(run, seen).items() if not 0.97 < ratio < 1.03}
    unlike = [f"{run.unit} are not {seen.unit}"] if run.unit != seen.unit else []
    if run.optimizer != seen.optimizer:
        unlike.append(f"{run.optimizer} is not {seen.optimizer}")
    if run.parametrization != seen.parametrization:
        unlike.append(f"{run.parametrization} is not {seen.parametrization} parametrization")
    if run.schedule != seen.schedule:
        unlike.append(f"schedule {run.schedule} is not {seen.schedule}")
    if abs(run.warmup_share - seen.warmup_share) > NOTABLE_WARMUP:
        unlike.append(f"warm-up of {format_percent(run.warmup_share)} is not {format_percent(seen.warmup_share)}")
    if not ratios and not unlike:
        return
    moved = [f"{quantity} × {format_significant(ratio)}" for quantity, ratio in ratios.items()]
    yield Caution(
        code="moved",
        message=f"nearest known run: {_describe(seen)}; from there {', '.join(moved + unlike)}; the range grew with it",
        fix="tune or calibrate nearer to the run where the range is too wide",
    )


def moved_by(run: TrainingRun, other: TrainingRun) -> dict[str, float]:
    """This run over another one, in every quantity that moves an optimum and is known of both.

    Another one that says no width or depth is taken to be of this one's base, at which its learning rate was tuned.
    """
    pairs = {
        "data set": (run.dataset_size, other.dataset_size),
        "epochs": (run.epochs, other.epochs),
        "batch": (run.batch_size, other.batch_size),
        "parameters": (run.num_params, other.num_params),
        "width": (run.width, other.width or run.base_width),
        "depth": (run.depth, other.depth or run.base_depth),
        "lr": (run.peak_lr, other.peak_lr),
    }
    if run.peak_lr and other.peak_lr and not same_base(run, other):
        pairs["lr"] = (run.hidden_lr, other.hidden_lr)
    return {name: a / b for name, (a, b) in pairs.items() if a and b}


def published(run: TrainingRun, rule: Rule) -> Answer:
    """A rule with its published constants."""
    outside = tuple(rule.outside_domain(run))
    target = rule.target_timescale(run)
    timescale, cautions = _matched_to_schedule(run, target, rule)
    return Answer(
        rule=rule.name,
        timescale=timescale,
        derivation=rule.derivation(run),
        source=rule.source,
        certainty=rule.certainty,
        outside=outside,
        cautions=(*cautions, *_limits(run, rule, outside)),
    )


def carried(run: TrainingRun, reference: TrainingRun, rule: Rule) -> Answer:
    """A tuned run, moved as a rule moves."""
    kept = rule.carried(reference, tuned_timescale(reference), run)
    mass = run.decay_schedule.mean() / reference.decay_schedule.mean()
    timescale = run.timescale(run=kept.run * mass)
    return Answer(
        rule=rule.name,
        timescale=timescale,
        derivation=f"the tuned timescale, carried as {rule.formula} moves: {timescale.run:.3g} of the run"
        + ("" if math.isclose(mass, 1.0, rel_tol=0.01) else f", times {mass:.3g} for the same sum of lr*λ"),
        source=f"reference run, carried by {rule.name} ({rule.source})",
        certainty="one tuned run, carried by a published rule",
        outside=tuple(rule.outside_domain(run)),
        cautions=tuple(_unsaid(run, reference, "the tuned run")),
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


def how_to_measure(run: TrainingRun) -> str:
    """What to do where no law can be trusted, as the rest of a sentence."""
    if run.unit == "tokens":
        return "measure: adamw-scale calibrate --out DIR --data FILE, then --calibration DIR/calibration.json"
    return "compare the ends of the range in short trainings of your own, schedule compressed"


def same_base(one: TrainingRun, other: TrainingRun) -> bool:
    """Whether learning rates of the two are of the same base, and so can be compared."""
    return all(
        getattr(one, field) == getattr(other, field) for field in ("parametrization", "base_width", "base_depth")
    )


def same_run(one: TrainingRun, other: TrainingRun) -> bool:
    """Whether what was measured of one run was measured of the other, but for a factor of some per cent."""
    return all(0.7 < ratio < 1.4 for ratio in moved_by(one, other).values()) and one.unit == other.unit


def _describe(run: TrainingRun) -> str:
    params = f", {format_count(run.num_params)} parameters" if run.num_params else ""
    return (
        f"{format_count(run.dataset_size)} {run.unit} x {run.epochs:g} epochs, batch "
        f"{format_count(run.batch_size)}{params}, lr {run.lr:g}"
    )


def _matched_to_schedule(run: TrainingRun, target: Timescale, rule: Rule) -> tuple[Timescale, list[Caution]]:
    """Keep the decay mass (mean lr multiplier / tau) of the schedule behind a rule's constants.

    Assumed, not measured: at equal peak values a constant schedule decays twice as much as linear to
    zero, so tau is scaled with the ratio of the means. Source: arXiv:2502.15938 uses the same EMA.
    """
    mean, fitted_mean = run.decay_schedule.mean(), rule.fitted_schedule_mean
    if fitted_mean is None or math.isclose(mean, fitted_mean, rel_tol=0.01):
        return target, []
    factor = mean / fitted_mean
    caution = Caution(
        code="schedule",
        message=f"fitted on another schedule ({rule.fitted_on}): mean {_mean_of(run)} is {mean:.3g} of the peak here, "
        f"{fitted_mean:.3g} there; assumed: the sum of lr*λ carries over, so λ was "
        f"{'divided' if factor > 1 else 'multiplied'} by {max(factor, 1 / factor):.3g}"
        + _if_kept(run, "timescale", target.iters),
        fix="calibrate on your schedule",
    )
    return run.timescale(iters=target.iters * factor), [caution]


def _if_kept(run: TrainingRun, what: str, iters: float) -> str:
    """What λ would be if something else stayed; nothing where no learning rate is known."""
    if run.peak_lr is None:
        return ""
    return f"; at equal {what} it would be {format_significant(run.hidden_decay_of(iters))}"


def _mean_of(run: TrainingRun) -> str:
    return "lr" if run.weight_decay_schedule == "constant" else "lr*λ"
