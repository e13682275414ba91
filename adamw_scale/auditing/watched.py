"""A training that was watched, judged as a config is: what its optimizers do, what would be recommended, findings."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Literal, NamedTuple

from pydantic import Field

from adamw_scale.auditing.checks import CHECKS, SEVERITIES
from adamw_scale.auditing.facts import Facts, GroupTimescale, group_timescale
from adamw_scale.auditing.judging import advice_for
from adamw_scale.auditing.optimizers import config_of, convention_of, decay_of, last_of, peak_of, total_of
from adamw_scale.auditing.runs import described
from adamw_scale.auditing.watched_checks import OF_THE_PROCESS, WATCHED_CHECKS, Sight, listed_names
from adamw_scale.frameworks.config import Config, Finding, Group
from adamw_scale.noun import Noun
from adamw_scale.spec.advice import Recommendation
from adamw_scale.spec.run import TrainingRun
from adamw_scale.spec.watched import Curve, OptimizerSeen, ProcessSeen, RoleSeen
from adamw_scale.theory.measured_decay import RESOLUTIONS
from adamw_scale.theory.parametrizations import GROUPS, HIDDEN

ASKED = {
    "--tokens or --samples": "the size of the data set, which no optimizer knows",
    "--batch-size": "how much a step sees, which no optimizer knows",
    "--schedule": "the rest of the schedule, which could not be read",
}


class WatchedGroup(GroupTimescale):
    """A parameter group as it is in the optimizer; `peak_lr` and all that follows from it as far as it is known."""

    roles: dict[str, RoleSeen] = Field(description="hidden, embedding, output, norm-and-bias, or flat: unknown ones")
    lrs: Curve = Field(description="[step, learning rate] at each change, of the steps that were seen")
    decays: Curve = Field(description="[step, weight decay as it was set] at each change")
    lrs_ahead: Curve = Field((), description="the rest of the schedule, where it can be read")
    decay_per_step: float | None = Field(None, description="measured: share of the weights that the last step took")
    measured: float | None = Field(None, description="the same as a weight decay in PyTorch's unit, of all such steps")


class WatchedOptimizer(Noun):
    """An optimizer that stepped."""

    name: str
    module: str
    steps: int
    convention: str
    known_by: Literal["class", "measurement", "assumption"]
    scheduler: str | None = None
    total_steps: float | None = Field(None, description="of the whole run")
    total_steps_from: str | None = None
    schedule_unknown: str | None = Field(None, description="why the rest of the schedule could not be read")
    groups: tuple[WatchedGroup, ...]


class Watched(Noun):
    """What a command's optimizers did while it was watched, and the findings; `asks` are options that tell more."""

    schema_: Literal["adamw-scale/watched/1"] = Field("adamw-scale/watched/1", alias="schema")
    command: tuple[str, ...]
    status: int = Field(description="exit status of the command, the negative of a signal that ended it")
    stopped: bool = Field(description="whether it was interrupted after the steps that were asked for")
    processes: int = Field(description="in how many an optimizer stepped; reported is rank 0, or the first")
    optimizers: tuple[WatchedOptimizer, ...]
    run: TrainingRun | None = Field(None, description="of the optimizer with the most matrices, where it is known")
    recommendation: Recommendation | None = None
    findings: tuple[Finding, ...]
    asks: dict[str, str] = Field(default_factory=dict)
    unadvised: str | None = Field(None, description="why nothing is recommended for a run that is known")
    unseen: tuple[str, ...] = Field((), description="what could not be looked at, and why")

    @property
    def failed(self) -> bool:
        """Whether an error was found."""
        return any(finding.severity == "error" for finding in self.findings)


class _Judged(NamedTuple):
    optimizer: WatchedOptimizer
    matrices: int
    run: TrainingRun | None
    advice: Recommendation | None
    findings: tuple[Finding, ...]
    asks: dict[str, str]
    unadvised: str | None


def judged_watched(
    process: ProcessSeen,
    said: Mapping[str, Any],
    *,
    command: Sequence[str],
    status: int,
    stopped: bool,
    processes: int,
) -> Watched:
    """What was seen in a process, judged.

    Args:
        process: The record of the one that reports.
        said: What the user says of the run, in the words of flags and run files, as `described_by` gives it.
        command: What was run.
        status: Its exit status.
        stopped: Whether it was ended after the steps that were asked for.
        processes: In how many an optimizer stepped.

    Raises:
        SpecError: what the user says cannot be.
    """
    stepped = [optimizer for optimizer in process.optimizers if optimizer.steps and optimizer.groups]
    ended = None if stopped or status else "the steps until the command ended"
    found = [
        _judged(optimizer, process, said, ended, f"optimizer {number}, {optimizer.name}: " if len(stepped) > 1 else "")
        for number, optimizer in enumerate(stepped, start=1)
    ]
    first = max(found, key=lambda each: each.matrices)
    findings = [finding for each in found for finding in each.findings]
    findings += [finding for check in OF_THE_PROCESS for finding in check(process)]
    return Watched(
        command=tuple(command),
        status=status,
        stopped=stopped,
        processes=processes,
        optimizers=tuple(each.optimizer for each in found),
        run=first.run,
        recommendation=first.advice,
        findings=tuple(sorted(dict.fromkeys(findings), key=lambda finding: SEVERITIES.index(finding.severity))),
        asks=first.asks,
        unadvised=first.unadvised,
        unseen=_unseen(process),
    )


def _judged(
    seen: OptimizerSeen, process: ProcessSeen, said: Mapping[str, Any], ended: str | None, label: str
) -> _Judged:
    total, source = total_of(seen, process, said, ended)
    peaks = [peak_of(seen, number, whole=ended is not None) for number in range(len(seen.groups))]
    convention, known_by = convention_of(seen, peaks)
    config = config_of(seen, peaks, convention, total, whole=ended is not None)
    run, asks = described(config, said)
    advice, more, unadvised = advice_for(run)
    roles = tuple(group_timescale(config, run, group) for group in config.groups)
    facts = Facts("pytorch", config, run, advice, roles, names=_names(seen))
    groups = tuple(
        _group(seen, number, config, run, peak, whole=ended is not None) for number, peak in enumerate(peaks)
    )
    sight = Sight(facts, seen, process, tuple(peaks), total)
    findings = [
        *(finding for check in CHECKS for finding in check(facts)),
        *(finding for watch in WATCHED_CHECKS for finding in watch(sight)),
    ]
    findings = [each.model_copy(update={"message": label + each.message}) for each in findings]
    optimizer = WatchedOptimizer(
        name=seen.name,
        module=seen.module,
        steps=seen.steps,
        convention=convention,
        known_by=known_by,
        scheduler=seen.ahead.scheduler,
        total_steps=total,
        total_steps_from=source,
        schedule_unknown=seen.ahead.unknown,
        groups=groups,
    )
    matrices = sum(group.roles[HIDDEN].weights for group in seen.groups if HIDDEN in group.roles)
    return _Judged(
        optimizer,
        matrices,
        run,
        advice,
        tuple(findings),
        {option: ASKED.get(option, why) for option, why in {**asks, **more}.items()},
        unadvised,
    )


def _group(
    seen: OptimizerSeen, number: int, config: Config, run: TrainingRun | None, peak: float | None, *, whole: bool
) -> WatchedGroup:
    """One group of the optimizer; `whole` as in `decay_of`."""
    group = seen.groups[number]
    value = decay_of(group, seen.steps, whole=whole)
    factor = peak / config.peak_lr if peak and config.peak_lr else 1.0
    role = max(group.roles, key=lambda role: group.roles[role].weights, default=HIDDEN)
    of_role = role if role in GROUPS else HIDDEN
    base = group_timescale(config, run, Group(group=of_role, lr_factor=factor, weight_decay=value))
    told = [each for each in group.told if each.lr and abs(each.total) > RESOLUTIONS * each.resolution]
    name = str(group.first.get("name") or f"group {number + 1}")
    fields = {field: getattr(base, field) for field in GroupTimescale.model_fields}
    return WatchedGroup(
        **{**fields, "group": name, "peak_lr": peak, "written": value},
        roles=group.roles,
        lrs=group.lrs,
        decays=group.decays,
        lrs_ahead=seen.ahead.lrs[number] if number < len(seen.ahead.lrs) else (),
        decay_per_step=group.told[-1].total if group.told else None,
        measured=median(each.total / each.lr for each in told) if told else (0.0 if group.told else None),
    )


def _names(seen: OptimizerSeen) -> dict[str, str]:
    """Of each role the names of some weights that decay, for people."""
    names: dict[str, list[str]] = {}
    for group in seen.groups:
        for role, weights in group.roles.items():
            if last_of(group.decays):
                names.setdefault(role, []).extend(weights.names)
    return {role: listed_names(each, _count(seen, role)) for role, each in names.items()}


def _count(seen: OptimizerSeen, role: str) -> int:
    return sum(group.roles[role].tensors for group in seen.groups if role in group.roles and last_of(group.decays))


def _unseen(process: ProcessSeen) -> tuple[str, ...]:
    """What could not be looked at."""
    said = list(process.trouble)
    for optimizer in process.optimizers:
        flat = sum(group.roles["flat"].tensors for group in optimizer.groups if "flat" in group.roles)
        if flat:
            said.append(
                f"{optimizer.name}: {flat} tensor{'s' if flat > 1 else ''} of no module's own, as flat parameters are: "
                "which weights are in them, and whether gains and biases are, is unknown"
            )
        if optimizer.groups and not any(group.lrs for group in optimizer.groups):
            said.append(f"{optimizer.name}: its learning rate, which it works out itself and does not tell")
        elif optimizer.ahead.unknown and process.stopped:
            said.append(f"{optimizer.name}: the rest of the schedule: {optimizer.ahead.unknown}")
        if not any(group.measured for group in optimizer.groups):
            said.append(f"{optimizer.name}: what a step takes from the weights, which its state does not tell")
    return tuple(said)
