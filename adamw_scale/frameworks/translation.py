"""From a recommendation to what one framework can say of it, with a caution for whatever it cannot."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from adamw_scale.frameworks.config import Config, Group
from adamw_scale.frameworks.framework import Framework
from adamw_scale.spec.advice import Caution, ParamGroup, Recommendation
from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory import conventions
from adamw_scale.theory.parametrizations import NORM_AND_BIAS
from adamw_scale.theory.schedules import DECAY_FRACTION, OPTIONS, POWER, SCHEDULES, Schedule
from adamw_scale.units import format_count, format_significant

GRID = 256  # points at which two schedules are compared
NOT_WORTH_SAYING = 5e-3  # relative change of λ


class Translation(NamedTuple):
    """What will be written, and where that is not what was recommended."""

    config: Config
    cautions: tuple[Caution, ...]


def translated(recommendation: Recommendation, framework: Framework) -> Translation:
    """The config that carries a recommendation in a framework, whole steps and sequences.

    A schedule the framework lacks becomes the nearest it has, and a weight decay that it cannot move becomes
    constant; λ is then changed so that the sum of lr*λ over the run stays.
    """
    run = recommendation.run
    batch, cautions = _global_batch(run)
    schedule = closest(run.lr_schedule, framework)
    shape = run.weight_decay_schedule if run.weight_decay_schedule in framework.weight_decay_schedules else "constant"
    after = run.model_copy(
        update={
            **{option: getattr(schedule, option) for option in OPTIONS},
            "warmup_steps": None,
            "schedule": schedule.name,
            "weight_decay_schedule": shape,
            "final_weight_decay_fraction": run.final_weight_decay_fraction if shape != "constant" else None,
        }
    )
    factor = run.decay_schedule.mean() / after.decay_schedule.mean()
    wanted = tuple(_written(group, after, framework, factor) for group in recommendation.param_groups)
    groups = framework.groups_of(wanted)
    scale = wanted[0].lr_factor / groups[0].lr_factor  # one lr for all is that of the hidden matrices, as is the decay
    steps = round(run.total_steps)
    warmup = min(steps - 1, round(schedule.warmup * run.total_steps))
    config = Config(
        convention=framework.convention,
        peak_lr=run.lr * scale,
        groups=groups,
        betas=run.betas,
        eps=run.eps,
        schedule=schedule.name,
        warmup_steps=warmup,
        decay_steps=min(steps - warmup, round(schedule.falling_fraction * run.total_steps))
        if schedule.has_stable_phase
        else None,
        **{
            option: getattr(schedule, option)
            for option in OPTIONS
            if option not in ("warmup_fraction", "decay_fraction")
        },
        weight_decay_schedule=shape,
        final_weight_decay_fraction=after.final_weight_decay_fraction,
        total_steps=steps,
        epochs=run.epochs,
        unit=run.unit,
        batch_size=batch,
        batch_tokens=run.batch_size if run.unit == "tokens" else None,
        sequence_length=run.sequence_length,
    )
    cautions += tuple(_of_the_schedule(recommendation, after, framework, factor))
    as_run = tuple(group.model_copy(update={"lr_factor": group.lr_factor * scale}) for group in groups)
    cautions += tuple(_of_the_groups(wanted, as_run, framework))
    return Translation(config, cautions)


def _written(group: ParamGroup, run: TrainingRun, framework: Framework, factor: float) -> Group:
    """A recommended group, its decay in the framework's convention at the group's own learning rate."""
    setting = run.setting._replace(peak_lr=group.peak_lr)
    own = conventions.from_pytorch(framework.convention, group.weight_decay * factor, setting)
    return Group(group=group.group, lr_factor=group.peak_lr / run.lr, weight_decay=own, eps_factor=group.eps / run.eps)


def closest(wanted: Schedule, framework: Framework) -> Schedule:
    """The schedule itself where the framework has it, else the one it has that differs least on average."""
    if framework.has(wanted):
        return wanted
    candidates = [
        candidate for name in framework.schedules if (candidate := _similar(wanted, name, framework)) is not None
    ]
    exact = [candidate for candidate in candidates if framework.has(candidate)]
    return min(exact or candidates, key=lambda candidate: _distance(wanted, candidate))


def _similar(wanted: Schedule, name: str, framework: Framework) -> Schedule | None:
    """A schedule of another name with the same warm-up and end; None where it needs what is not known."""
    kind = SCHEDULES[name]
    available = {
        "warmup_fraction": min(wanted.warmup, 0.99),
        "final_lr_fraction": 0.0 if name in framework.only_to_zero else min(1.0, wanted.final),
        "decay_fraction": min(
            1 - wanted.warmup, wanted.falling_fraction if wanted.has_stable_phase else DECAY_FRACTION
        ),
        "schedule_power": POWER,
    }
    options: dict[str, Any] = {option: available[option] for option in kind.takes if option in available}
    if any(not options.get(option) for option in kind.needs):
        return None
    return Schedule(name, **options)


def _distance(one: Schedule, other: Schedule) -> float:
    points = [(number + 0.5) / GRID for number in range(GRID)]
    return math.fsum(abs(one.multiplier(point) - other.multiplier(point)) for point in points) / GRID


def _of_the_schedule(
    recommendation: Recommendation, after: TrainingRun, framework: Framework, factor: float
) -> Iterator[Caution]:
    """What the nearest schedule changes."""
    run = recommendation.run
    tau, λ = recommendation.timescale, recommendation.weight_decay
    change = (
        "nothing decays"
        if tau is None
        else f"λ {format_significant(λ)} and tau at peak lr, {format_count(round(tau.iters))} steps, stay, as the mean "
        "lr is the same"
        if math.isclose(factor, 1.0, rel_tol=NOT_WORTH_SAYING)
        else f"λ was changed from {format_significant(λ)} to {format_significant(λ * factor)}, and tau at peak lr from "
        f"{format_count(round(tau.iters))} to {format_count(round(tau.iters / factor))} steps (× {1 / factor:.3g}), "
        "so that the decay over the run stays the same"
    )
    if after.weight_decay_schedule != run.weight_decay_schedule:
        yield Caution(
            code="weight-decay-schedule",
            message=(
                f"{framework.title} cannot move its weight decay as {run.weight_decay_schedule!r}, so it is constant; "
                f"{change}"
            ),
            fix="recommend again with --weight-decay-schedule constant",
        )
    if after.lr_schedule != run.lr_schedule:
        ends = "" if after.schedule != run.schedule else f" that ends at {run.lr_schedule.final:g} of the peak"
        yield Caution(
            code="nearest-schedule",
            message=f"{framework.title} has no schedule {run.schedule!r}{ends}; {after.schedule!r}"
            f"{f' to {after.lr_schedule.final:g} of the peak' if ends else ''} is nearest and was written; {change}",
            fix=f"recommend again with --schedule {after.schedule}, or write the schedule in code",
        )


def _of_the_groups(wanted: tuple[Group, ...], written: tuple[Group, ...], framework: Framework) -> Iterator[Caution]:
    """Groups that will not get what was recommended for them."""
    pairs = {group.group: (group, other) for group, other in zip(wanted, written, strict=True)}
    norm, other = pairs.pop(NORM_AND_BIAS)
    if other.weight_decay > norm.weight_decay == 0:
        yield Caution(
            code="norms-decay",
            message=(
                f"this config of {framework.title} decays gains and biases too, which were recommended without decay"
            ),
            fix=framework.how_to_group,
        )
    elif other.weight_decay != norm.weight_decay:
        yield Caution(
            code="norms-undecayed",
            message=f"this config of {framework.title} spares gains and biases, which were recommended with decay",
            fix=framework.how_to_group,
        )
    if any(group.weight_decay and not other.weight_decay for group, other in pairs.values()):
        yield Caution(
            code="embeddings-undecayed",
            message=f"{framework.title} spares {framework.undecayed_by_default}, which were recommended with decay",
            fix=framework.how_to_group,
        )
    if any(not math.isclose(one.eps_factor, other.eps_factor) for one, other in zip(wanted, written, strict=True)):
        yield Caution(
            code="one-eps",
            message=f"this config of {framework.title} has one epsilon; muP wants it smaller on hidden matrices",
            fix="lower epsilon for all groups, or leave it if gradients are large against it",
        )
    unlike = {
        name: (group.lr_factor / other.lr_factor, group.weight_decay / other.weight_decay)
        for name, (group, other) in pairs.items()
        if other.weight_decay
    }
    if any(not math.isclose(ratio, 1.0) for both in unlike.values() for ratio in both):
        rows = ", ".join(
            f"{name} wants lr × {lr:.4g} and weight decay × {decay:.4g}" for name, (lr, decay) in unlike.items()
        )
        yield Caution(
            code="one-weight-decay",
            message=(
                f"this config of {framework.title} has one learning rate and one weight decay, that of the hidden "
                f"matrices; against what is written, {rows}"
            ),
            fix=framework.how_to_group,
        )


def _global_batch(run: TrainingRun) -> tuple[int | None, tuple[Caution, ...]]:
    """The batch in sequences or samples, which is what frameworks count; None where it cannot be told."""
    if run.unit == "tokens" and run.sequence_length is None:
        caution = Caution(
            code="batch-in-tokens",
            message=(
                f"the batch of {format_count(run.batch_size)} tokens could not be written in sequences, so the "
                "snippet does not set it"
            ),
            fix="pass --sequence-length",
        )
        return None, (caution,)
    length = run.sequence_length if run.unit == "tokens" and run.sequence_length else 1.0
    sequences = run.batch_size / length
    whole = max(1, round(sequences))
    if abs(whole / sequences - 1) < 1e-9:
        return whole, ()
    caution = Caution(
        code="batch-rounded",
        message=f"a batch of {run.batch_size:g} {run.unit} is {sequences:.2f} of {length:g}; {whole} was written",
        fix=f"recommend again with --batch-size {whole * length:.0f}",
    )
    return whole, (caution,)
