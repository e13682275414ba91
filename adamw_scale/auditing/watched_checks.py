"""Findings that only a watched training shows; those of a config are in `checks`. A new one is a line in the tuple."""

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import NamedTuple

from adamw_scale.auditing.facts import Facts
from adamw_scale.errors import SpecError
from adamw_scale.frameworks.config import Finding, finding
from adamw_scale.spec.watched import OptimizerSeen, ProcessSeen
from adamw_scale.theory import conventions
from adamw_scale.theory.measured_decay import agrees, is_twice
from adamw_scale.theory.parametrizations import HIDDEN
from adamw_scale.units import format_count, format_significant

ROUNDED = 1e-3  # relative difference of values that are one, written with fewer digits
FEW = 0.01  # of all matrices, which may be left undecayed without a word
OTHER_LENGTH = 0.05  # relative difference of a schedule's length from the run's
SETS_THE_PEAK = {  # scheduler -> its setting that replaces the optimizer's learning rate
    "OneCycleLR": "max_lr",
    "CyclicLR": "max_lr",
    "WarmupLR": "warmup_max_lr",  # the last two are DeepSpeed's, which write none into the groups
    "WarmupDecayLR": "warmup_max_lr",
}


class Sight(NamedTuple):
    """An optimizer, with what is known of the run."""

    facts: Facts
    seen: OptimizerSeen
    process: ProcessSeen
    peaks: tuple[float | None, ...]
    total: float | None

    def claimed(self, lr: float, weight_decay: float, peak: float | None) -> float | None:
        """Share of the weights that a step takes by what is set; None where that is not known."""
        if self.facts.kind == conventions.L2:
            return 0.0
        known = conventions.Setting(peak_lr=peak, total_steps=self.total)
        try:
            return conventions.decay_per_step(
                self.facts.config.convention, weight_decay, known, lr / peak if peak else 0
            )
        except SpecError:
            return None

    def name(self, number: int) -> str:
        """A group with some of its weights, for people."""
        group = self.seen.groups[number]
        names = [name for role in group.roles.values() for name in role.names]
        return f"group {group.first.get('name') or number + 1} ({listed_names(names, group.tensors)})"


Watch = Callable[[Sight], Iterator[Finding]]


def listed_names(names: Sequence[str], count: int) -> str:
    """Some names of so many tensors, for people."""
    if not names:
        return f"{count} tensor{'s' if count != 1 else ''} without a name"
    shown = ", ".join(names[:3])
    more = count - len(names[:3])
    return f"{shown} and {more} more" if more > 0 else shown


def _overwritten(sight: Sight) -> Iterator[Finding]:
    """A weight decay that does not stay what it was."""
    for number, group in enumerate(sight.seen.groups):
        decays = group.decays
        if len(decays) > 1:
            moves = len(decays) > 2
            start, end = f"{decays[1][0]:.0f}", f"{decays[-1][0]:.0f}"
            message = (
                f"weight_decay of {sight.name(number)} was {decays[0][1]:g} and "
                + (f"moves from step {start} on, to {decays[-1][1]:g} in step {end}" if moves else "")
                + ("" if moves else f"is {decays[-1][1]:g} since step {start}")
                + ": what was written is not what acts"
            )
            fix = (
                "nothing to do if a schedule is meant; else find what sets it: the training loop, a scheduler, a "
                "callback, a checkpoint that was loaded after the groups were made"
            )
            yield finding("warning", "overwritten", "weight_decay", message, fix)


def _measured(sight: Sight) -> Iterator[Finding]:
    """Weights that lose more or less than is set."""
    for number, (group, peak) in enumerate(zip(sight.seen.groups, sight.peaks, strict=True)):
        shares, claims = [], []
        for each in group.told:
            claim = sight.claimed(each.lr, each.weight_decay, peak)
            if claim is not None:
                shares.append(each)
                claims.append(claim)
        if not shares:
            continue
        lost, claimed = median(each.total for each in shares), median(claims)
        rounding = max(each.resolution for each in shares)
        off = [not agrees(each.total, claim, each.resolution) for each, claim in zip(shares, claims, strict=True)]
        if sum(off) * 2 <= len(off) or agrees(lost, claimed, rounding):
            continue
        outside = median(each.outside or 0.0 for each in shares)
        message = (
            f"{sight.name(number)} loses {lost:.3g} of its weights a step, where lr and weight_decay say {claimed:.3g}"
            f": {lost - outside:.3g} by the optimizer, {outside:.3g} by somebody else between its steps"
        )
        if is_twice(lost, claimed):
            fix = "keep one decay: look for a hand-written shrink in a callback, or a second optimizer of these weights"
            yield finding("error", "doubled", "weight_decay", message, fix)
        else:
            fix = "look for what else changes the weights, and for what this optimizer's weight_decay means"
            yield finding("warning", "not-as-set", "weight_decay", message, fix)


def _peak_of_the_scheduler(sight: Sight) -> Iterator[Finding]:
    """A learning rate that the scheduler replaces."""
    given, scheduler = sight.seen.defaults.get("lr"), sight.seen.ahead.scheduler
    setting = SETS_THE_PEAK.get(scheduler or "")
    if setting is None or not isinstance(given, float):
        return
    others = {
        peak
        for group, seen in zip(sight.seen.groups, sight.peaks, strict=True)
        if (peak := group.first.get("max_lr", seen)) and not math.isclose(peak, given, rel_tol=ROUNDED)
    }
    if others:
        message = (
            f"{sight.seen.name} was given lr {given:g}, which {scheduler} replaces: its {setting} {max(others):g} is "
            "the peak, and the timescale follows from that"
        )
        fix = "give both the same learning rate, or leave out that of the optimizer"
        yield finding("warning", "lr-overwritten", setting, message, fix)


def _undecayed(sight: Sight) -> Iterator[Finding]:
    """Hidden matrices that do not decay where others do."""
    rows = [
        (group.decays[-1][1] if group.decays else 0.0, role)
        for group in sight.seen.groups
        if (role := group.roles.get(HIDDEN)) is not None
    ]
    spared = [role for value, role in rows if not value]
    weights = sum(role.weights for role in spared)
    if spared and len(spared) < len(rows) and weights > FEW * sum(role.weights for _, role in rows):
        names = [name for role in spared for name in role.names]
        message = f"{format_count(weights)} weights of hidden matrices do not decay, where others do: " + listed_names(
            names, sum(role.tensors for role in spared)
        )
        fix = "check by what they are put into their group, such as a part of their names"
        yield finding("warning", "undecayed-matrices", "weight_decay", message, fix)


def _empty(sight: Sight) -> Iterator[Finding]:
    for number, group in enumerate(sight.seen.groups):
        if not group.tensors:
            message = f"group {number + 1} of {sight.seen.name} holds no weights, so its settings reach nothing"
            fix = "check by what weights are put into it, or leave it out"
            yield finding("note", "empty-group", None, message, fix)


def _unoptimized(process: ProcessSeen) -> Iterator[Finding]:
    left = process.left_out
    if left.tensors:
        message = f"no optimizer has {listed_names(left.names, left.tensors)}, though a gradient is computed for it"
        fix = "add them to a group, or set requires_grad to False"
        yield finding("warning", "unoptimized", None, message, fix)


def _void_arguments(sight: Sight) -> Iterator[Finding]:
    """TrainingArguments that an optimizer of the user's own makes void."""
    trainer = sight.process.trainer
    if trainer.name is None or trainer.weight_decay is None:
        return
    decays = {value for group in sight.seen.groups for _, value in group.decays}
    if not any(math.isclose(value, trainer.weight_decay, rel_tol=ROUNDED, abs_tol=1e-12) for value in decays):
        message = (
            f"weight_decay {trainer.weight_decay:g} of {trainer.name} acts on nothing: the optimizer that was passed, "
            f"{sight.seen.name}, has {', '.join(f'{value:g}' for value in sorted(decays))}"
        )
        fix = "set it in the optimizer that is passed, or pass none"
        yield finding("warning", "arguments-void", "weight_decay", message, fix)


def _other_length(sight: Sight) -> Iterator[Finding]:
    """A schedule that is made for another run."""
    ahead, total = sight.seen.ahead, sight.total
    if not (ahead.own_total and ahead.per_step and total):
        return
    own = ahead.own_total / ahead.per_step
    if abs(own - total) > OTHER_LENGTH * total:
        ending = "is cut before its end" if own > total else "ends before the run does"
        faster = f", {ahead.per_step} of which go by in each step of the optimizer" if ahead.per_step > 1 else ""
        message = (
            f"{ahead.scheduler} is made for {format_count(ahead.own_total)} steps ({ahead.own_total_from}){faster}, "
            f"and the run has {format_count(total)}: the schedule {ending}"
        )
        fix = f"give it {format_significant(total * ahead.per_step, 6)}"
        yield finding("warning", "schedule-not-the-run", None, message, fix)


WATCHED_CHECKS: tuple[Watch, ...] = (
    _overwritten,
    _measured,
    _peak_of_the_scheduler,
    _undecayed,
    _empty,
    _void_arguments,
    _other_length,
)
OF_THE_PROCESS: tuple[Callable[[ProcessSeen], Iterator[Finding]], ...] = (_unoptimized,)
