"""An optimizer that was seen, as a config: its convention, its groups by role, its schedule as far as it is known."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from adamw_scale.frameworks.config import Config, Group
from adamw_scale.spec.run import above_0
from adamw_scale.spec.watched import Curve, GroupSeen, OptimizerSeen, ProcessSeen
from adamw_scale.theory.measured_decay import agrees
from adamw_scale.theory.optimizer_classes import convention_of_class
from adamw_scale.theory.parametrizations import GROUPS, HIDDEN
from adamw_scale.theory.schedules import Schedule

L2 = "torch-adam"  # as what an unknown optimizer is read whose weights do not decay though its weight decay is set
TABLE_POINTS = 512
SHAPES = ("constant", "linear", "cosine")  # that a curve of learning rates is recognised as
FITS = 1e-3  # of the peak, a curve's distance from such a shape, beside what a step more or less makes
STEEPEST = math.pi / 2  # fall of those shapes over that of a straight line


def total_of(
    seen: OptimizerSeen, process: ProcessSeen, said: Mapping[str, Any], ended: str | None
) -> tuple[float | None, str | None]:
    """Optimizer steps of the run, and who says so."""
    if "steps" in said:
        return above_0("--steps-total", said["steps"]), "what you say"
    if ended:
        return float(seen.steps), ended
    if process.trainer.total:
        return float(process.trainer.total), process.trainer.total_from
    if seen.ahead.own_total and seen.ahead.per_step and seen.ahead.own_total >= seen.steps * seen.ahead.per_step:
        return seen.ahead.own_total / seen.ahead.per_step, seen.ahead.own_total_from
    return None, None


def peak_of(seen: OptimizerSeen, number: int, *, whole: bool) -> float | None:
    """The highest learning rate of a group: of its whole schedule, or what the user gave the optimizer as such.

    Args:
        seen: The optimizer.
        number: Which of its groups.
        whole: Whether every step of the run was seen.
    """
    group = seen.groups[number]
    values = [value for _, value in group.lrs]
    if seen.ahead.lrs and number < len(seen.ahead.lrs):
        values += [value for _, value in seen.ahead.lrs[number]]
    elif len(values) > 1 and not whole:
        given = group.first.get("max_lr") or group.first.get("initial_lr") or seen.defaults.get("lr") or 0.0
        values += [float(given) * float(group.first.get("lr_scale") or 1.0)]  # of timm, BEiT and MAE, beside the base
    peak = max(values, default=0.0)
    return peak if peak > 0 else None


def convention_of(
    seen: OptimizerSeen, peaks: Sequence[float | None]
) -> tuple[str, Literal["class", "measurement", "assumption"]]:
    """What the weight decay means: by the class, else by what the steps took away."""
    known = convention_of_class(seen.module, seen.name, seen.flags)
    if known is not None:
        return known, "class"
    shares = [
        (each.by_optimizer, each.lr, each.weight_decay, each.resolution, peak)
        for group, peak in zip(seen.groups, peaks, strict=True)
        for each in group.measured
        if each.weight_decay and each.lr and peak
    ]
    if not shares:
        return "pytorch", "assumption"
    meanings = {
        "pytorch": [lr * value for _, lr, value, _, _ in shares],
        "independent": [lr / (peak or lr) * value for _, lr, value, _, peak in shares],
        "tfa": [value for _, _, value, _, _ in shares],
        L2: [0.0 for _ in shares],
    }
    for name, claims in meanings.items():
        pairs = zip(shares, claims, strict=True)
        if all(agrees(share, claim, resolution) for (share, _, _, resolution, _), claim in pairs):
            return name, "measurement"
    return "pytorch", "assumption"


def config_of(
    seen: OptimizerSeen, peaks: Sequence[float | None], convention: str, total: float | None, *, whole: bool
) -> Config:
    """The optimizer as a config: of each role the group with most of its weights; `whole` as in `decay_of`."""
    main = _of_role(seen, HIDDEN)
    base = peaks[main]
    groups = []
    for role in GROUPS:
        number = _of_role(seen, role) if any(role in group.roles for group in seen.groups) else None
        number = main if role == HIDDEN else number
        if number is None:  # there is no such weight
            groups.append(Group(group=role))
            continue
        factor = (peaks[number] or 0.0) / base if base else 1.0
        decay = decay_of(seen.groups[number], seen.steps, whole=whole)
        groups.append(Group(group=role, lr_factor=factor or 1.0, weight_decay=decay))
    first = seen.groups[main].first
    betas, eps = first.get("betas"), first.get("eps")
    return Config(
        convention=convention,
        optimizer=seen.name,
        peak_lr=base,
        groups=tuple(groups),
        betas=tuple(betas) if isinstance(betas, list) and len(betas) == 2 else None,
        eps=eps if isinstance(eps, float) and 0 <= eps <= 1 else None,
        total_steps=total,
        **_schedule(seen, main, base, total),
    )


def _of_role(seen: OptimizerSeen, role: str) -> int:
    """The group with most weights of a role, of those that decay if any does; where none has any, the largest."""

    def rank(number: int) -> tuple[bool, int, int]:
        group = seen.groups[number]
        weights = group.roles[role].weights if role in group.roles else 0
        return bool(weights and last_of(group.decays)), weights, group.weights

    return max(range(len(seen.groups)), key=rank)


def _schedule(seen: OptimizerSeen, main: int, peak: float | None, total: float | None) -> dict[str, Any]:
    """Fields of a `Config`: the schedule as a shape that has a name, else as a table; none where a part is unknown."""
    ahead = seen.ahead.lrs[main] if main < len(seen.ahead.lrs) else ()
    if not total or not peak or (seen.steps + 0.5 < total and not (ahead and ahead[-1][0] + 1.5 >= total)):
        return {}
    values = _values((*seen.groups[main].lrs, *ahead), int(total))
    shares = [value / peak for value in values]
    named = _shape(shares)
    if named:
        return named
    picked = sorted({round(i * (len(shares) - 1) / (TABLE_POINTS - 1)) for i in range(TABLE_POINTS)})
    top = max(shares[number] for number in picked)
    table = [(number / len(shares), min(1.0, shares[number] / top)) for number in picked]
    return {"schedule": "table", "schedule_table": (*table, (1.0, table[-1][1]))}


def _values(curve: Sequence[tuple[float, float]], total: int) -> list[float]:
    """The learning rate of every step, from what is known at its changes."""
    values: list[float] = []
    for step, value in curve:
        number = min(int(step), total)
        if len(values) < number:
            values += [values[-1] if values else value] * (number - 1 - len(values)) + [value]
    return values + values[-1:] * (total - len(values))


def _shape(shares: Sequence[float]) -> dict[str, Any]:
    """Fields of a schedule with a name that a curve is, as far as steps can tell; nothing where it is none."""
    top = max(shares)
    start = next(number for number, share in enumerate(shares) if share >= top * (1 - 1e-9))
    fall = shares[start:]
    rising = all(a <= b for a, b in pairwise(shares[: start + 1]))
    straight = all(
        abs(share - (i + 0.5) / (start + 0.5)) <= 1 / (start + 0.5) for i, share in enumerate(shares[:start])
    )
    if len(fall) < 4 or not (rising and straight):
        return {}
    best: tuple[float, dict[str, Any]] = (FITS + STEEPEST / len(fall), {})
    for name in SHAPES:
        final = {} if name == "constant" else {"final_lr_fraction": round(fall[-1], 2)}
        shape = Schedule(name, **final)  # type: ignore[arg-type]
        distance = max(abs(share - shape.multiplier((i + 0.5) / len(fall))) for i, share in enumerate(fall))
        if distance <= best[0]:
            best = (distance, {"schedule": name, **final, **({"warmup_steps": float(start)} if start else {})})
    return best[1]


def decay_of(group: GroupSeen, steps: int, *, whole: bool) -> float:
    """The last weight decay of a group; of a whole training the constant with the same sum of lr * weight decay."""
    if not whole or len(group.decays) < 2 or not group.lrs:
        return last_of(group.decays)
    lrs, decays = _values(group.lrs, steps), _values(group.decays, steps)
    total = math.fsum(lrs)
    return math.fsum(lr * max(0.0, value) for lr, value in zip(lrs, decays, strict=True)) / total if total else 0.0


def last_of(curve: Curve) -> float:
    """The last value of a curve; a weight decay below 0 is none."""
    return max(0.0, curve[-1][1]) if curve else 0.0
