"""What is asked for becomes sweeps: the base run, one for each further value of an axis, and a budget they keep."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from pydantic import Field

from adamw_scale.errors import SpecError, UnknownNameError
from adamw_scale.noun import Noun, flag
from adamw_scale.probe.search import resolution
from adamw_scale.probe.sweep import Sweep
from adamw_scale.spec.measurement import flops_of
from adamw_scale.spec.run import TrainingRun
from adamw_scale.training.machine import best_device, name_of
from adamw_scale.training.tasks import load_task
from adamw_scale.training.tasks.task import Task, TaskSource
from adamw_scale.units import parse_quantity

AXES = ("dataset_size", "width", "batch_size", "epochs", "peak_lr")
MOST_SCALES = 32
LR_FACTORS = (0.5, 2.0)  # around the run's, where the learning rate is tuned too; further out where the end is best
BUDGET = re.compile(
    r"((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?) *([kMGTP]?) *(probes?|s|min|h|flops?)?", re.IGNORECASE
)
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
THOUSANDS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15}


@dataclass(frozen=True)
class Budget:
    """What probes may cost in all; None where that is not limited."""

    probes: int | None = None
    seconds: float | None = None
    flops: float | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "40", "40 probes", "30min", "2h", "1e15 flops" or "2 Tflops"; SpecError for anything else.

        No amount is read where its unit could mean two things: 30m is minutes to some and millions to others.
        """
        shown = text.strip()[:40]
        match = BUDGET.fullmatch(text.strip())
        if match is None or (match[2] and (match[3] or "").lower() in SECONDS):
            raise SpecError(f"--budget {shown!r}: pass probes, time or operations, such as 20, 30min, 2h or 1e15flops")
        prefix, unit = match[2].lower(), (match[3] or "probes").lower()
        amount = parse_quantity(match[1]) * THOUSANDS[prefix]
        if not 0 < amount < math.inf:
            raise SpecError(f"--budget {shown!r}: pass a finite number above 0")
        if unit in SECONDS:
            return cls(seconds=amount * SECONDS[unit])
        if unit.startswith("flop"):
            return cls(flops=amount)
        if prefix not in ("", "k"):
            other = f"{match[1]}min" if prefix == "m" else f"{match[1]}{match[2]}flops"
            meant = "minutes" if prefix == "m" else "operations"
            raise SpecError(f"--budget {shown!r} may be {meant} or probes: write {other}, or {amount:.0f} for probes")
        return cls(probes=int(amount))

    def of_each(self, runs: Sequence[TrainingRun]) -> int | None:
        """How many probes each run's sweep may have, so that all cost no more; time is watched while they run."""
        if self.probes is not None:
            return self.probes // len(runs)
        if self.flops is None:
            return None
        cost = sum(flops_of(run) for run in runs)
        if not cost:
            raise SpecError(
                "--budget in flops needs the number of parameters: pass --params, or a budget in probes or time"
            )
        return int(self.flops / cost)


@dataclass(frozen=True)
class Ask:
    """What a calibration is asked to measure.

    Args:
        run: Fields of `TrainingRun` in which the probes differ from the task's default.
        axes: Values of fields in `AXES` at which sweeps are made, as numbers or as "4x" of the base run's. The first of
            each is the base run's; every other makes one more sweep, that differs from the base in this field only.
        tune_lr: Sweep the timescale at half and twice the learning rate too, and further where the end is best.
        metric: What is optimised: "loss", or any other number that probes measure.
        maximize: The metric is better the higher it is.
        device: "cpu", "cuda", or "auto", a GPU where there is one; no probe is ever of "auto" (see `on_device`).
        precision: One of `PRECISIONS`.
        seeds: Number of common seeds, at least 2.
        budget: What all sweeps may cost.
    """

    run: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, Sequence[str | float]] = field(default_factory=dict)
    tune_lr: bool = False
    metric: str = "loss"
    maximize: bool = False
    device: str = "cpu"
    precision: str = "float32"
    seeds: int = 3
    budget: Budget = Budget()

    def on_device(self, task: Task) -> Self:
        """The same with the device that "auto" is here; where a command computes is its own affair, told as "cpu"."""
        if self.device != "auto":
            return self
        return replace(self, device="cpu" if task.name == "command" else best_device())


class Plan(Noun):
    """Which probes a calibration would train and what they cost: the base run's sweep, and one for each other scale.

    Operations are 6·N·D, and 0 where the number of parameters is not known.
    """

    schema_: Literal["adamw-scale/plan/1"] = Field("adamw-scale/plan/1", alias="schema")
    task: dict[str, str]
    device: str
    seeds: int
    coarse_log2_tau_run: tuple[float, ...]
    probes_likely: int
    steps_per_probe: int
    tokens_per_probe: float | None = None
    samples_per_probe: float | None = None
    flops_per_probe: float
    flops_likely: float
    resolves: str
    run: TrainingRun
    scales: tuple[TrainingRun, ...]
    sweeps: tuple[Sweep, ...] = Field(exclude=True)

    @classmethod
    def of(cls, sweeps: Sequence[Sweep]) -> Self:
        """The plan of these sweeps, the base run's first; what it says of one probe is said of the base run's."""
        first, likely = sweeps[0], [sweep.search.likely for sweep in sweeps]
        return cls.model_validate(
            {
                "task": first.task,
                "device": first.device,
                "seeds": len(first.seeds),
                "coarse_log2_tau_run": first.search.coarse,
                "probes_likely": sum(likely),
                "steps_per_probe": round(first.run.total_steps),
                f"{first.run.unit}_per_probe": first.run.total_units,
                "flops_per_probe": flops_of(first.run),
                "flops_likely": sum(flops_of(s.run) * probes for s, probes in zip(sweeps, likely, strict=True)),
                "resolves": resolution(min(likely)),
                "run": first.run,
                "scales": tuple(sweep.run for sweep in sweeps[1:]),
                "sweeps": tuple(sweeps),
            }
        )


def plan(
    task: str = "char-lm", data: str | None = None, *, task_options: Mapping[str, str] | None = None, **asked: Any
) -> Plan:
    """What `calibrate` would train, without training it.

    Args:
        task: Name of a probe task, or the user's own, package.module:attribute.
        data: Path of the user's data; None for the task's default.
        task_options: What else the task takes, by name.
        asked: Fields of `Ask`.

    Raises:
        MissingExtraError: torch is not installed.
        UnknownNameError: no such task.
        SpecError: the run is one the task cannot train.

    Example:
        >>> run = {"unit": "samples", "dataset_size": 1e5, "batch_size": 100, "epochs": 4, "peak_lr": 1e-3}
        >>> planned = plan("command", task_options={"command": "true {weight_decay}"}, run=run, budget=Budget(probes=9))
        >>> planned.probes_likely, planned.steps_per_probe
        (9, 4000)
    """
    planned = load_task(TaskSource(task, data, dict(task_options or {})))
    return Plan.of(designs(planned, Ask(**asked).on_device(planned)))


def designs(task: Task, ask: Ask) -> list[Sweep]:
    """A sweep for the base run and for each scale, after everything that can be refused beforehand was."""
    if not 2 <= ask.seeds <= 100:
        raise SpecError(
            f"seeds = {ask.seeds}: noise is measured between seeds, so at least 2 are needed (at most 100). "
            "Change --seeds"
        )
    runs = _runs(task, ask)
    for run in runs:
        if run.task != "pretraining":
            raise SpecError(
                f"no evidence is of {run.task}, so nothing carries an optimum of it: probe a pretraining run"
            )
        if run.optimizer != "adamw" and task.name != "command":
            raise SpecError(
                f"--optimizer {run.optimizer}: probes train with AdamW; pass --command with a script of yours"
            )
    most = ask.budget.of_each(runs)
    return [sweep_of(task, run, ask, most) for run in runs]


def chosen_device(task: Task, wanted: Ask, ask: Ask) -> list[str]:
    """One line on the device, where it was left open and is ours to choose."""
    return [name_of(ask.device)] if wanted.device == "auto" and task.name != "command" else []


def sweep_of(task: Task, run: TrainingRun, ask: Ask, most: int | None, grid: tuple[float, ...] | None = None) -> Sweep:
    """The sweep of one run; a grid is probed as it is, on every seed."""
    return Sweep.model_validate(
        {
            "task": task.identity(run),
            "data": task.describe_data(run),
            "run": run,
            "device": ask.device,
            "precision": ask.precision,
            "metric": ask.metric,
            "maximize": ask.maximize,
            "seeds": tuple(range(ask.seeds)),
            "most": most,
            "grid": grid,
        }
    )


def further_lr(sweeps: Sequence[Sweep], losses: Sequence[float]) -> float | None:
    """The next learning rate to try: twice the largest, or half the smallest, where that one is best; None inside."""
    lrs = [sweep.run.lr for sweep in sweeps]
    best = lrs[min(range(len(lrs)), key=lambda i: losses[i])]
    if not math.isfinite(min(losses)):
        return None
    return best * 2 if best == max(lrs) else best / 2 if best == min(lrs) else None


def run_at(task: Task, ask: Ask, values: Mapping[str, str | float]) -> TrainingRun:
    """The base run at other values of some axes, as numbers or as multiples of it."""
    _refuse_other_axes(values)
    fields = _fields(task, ask)
    base = task.default_run(fields)
    return task.default_run({**fields, **{axis: _value(axis, value, base) for axis, value in values.items()}})


def aimed_at(task: Task, ask: Ask, values: Mapping[str, str | float]) -> TrainingRun:
    """Like `run_at`, of a run that is not trained here, so its data may be more than there are."""
    smaller = run_at(task, ask, {axis: value for axis, value in values.items() if axis != "dataset_size"})
    if "dataset_size" not in values:
        return smaller
    size = _value("dataset_size", values["dataset_size"], smaller)
    return TrainingRun.model_validate({**smaller.model_dump(), "dataset_size": size})


def at_lr(task: Task, ask: Ask, lr: float, most: int | None) -> Sweep:
    """The base run's sweep at another learning rate."""
    return sweep_of(task, run_at(task, ask, {"peak_lr": lr}), ask, most)


def _runs(task: Task, ask: Ask) -> list[TrainingRun]:
    """The base run, then one for each further value of an axis."""
    first, given = _fields(task, ask), task.default_run(dict(ask.run))
    runs = [task.default_run(first)]
    for axis, values in _axes(ask).items():
        for value in values[1:]:
            run = task.default_run({**first, axis: _value(axis, value, given)})
            if run in runs:
                raise SpecError(f"{axis} = {value} was asked for twice: keep one")
            runs.append(run)
    if len(runs) > MOST_SCALES:
        raise SpecError(f"{len(runs)} sweeps are more than {MOST_SCALES}: ask for fewer values")
    return runs


def _axes(ask: Ask) -> dict[str, tuple[str | float, ...]]:
    axes = {axis: tuple(values) for axis, values in ask.axes.items() if values}
    _refuse_other_axes(axes)
    if ask.tune_lr and "peak_lr" not in axes:
        axes["peak_lr"] = ("1x", *(f"{factor:g}x" for factor in LR_FACTORS))
    return axes


def _refuse_other_axes(axes: Iterable[str]) -> None:
    for axis in axes:
        if axis not in AXES:
            raise UnknownNameError("axis", axis, AXES)


def _fields(task: Task, ask: Ask) -> dict[str, Any]:
    """Fields of the base run: what was given, with the first value of every axis."""
    given = task.default_run(dict(ask.run))
    return {**ask.run, **{axis: _value(axis, values[0], given) for axis, values in _axes(ask).items()}}


def _value(axis: str, value: str | float, base: TrainingRun) -> float:
    """A value of an axis: a number, or a multiple of the base run's."""
    text = str(value).strip()
    if not text.endswith("x"):
        return parse_quantity(text)
    of = getattr(base, axis)
    try:
        factor = float(text[:-1])
    except ValueError:
        factor = 0.0
    if not 0 < factor < math.inf or of is None:
        raise SpecError(
            f"{axis} = {text[:40]!r}: pass a number, or a multiple such as 4x of what {flag(TrainingRun, axis)} is"
        )
    return float(of) * factor
