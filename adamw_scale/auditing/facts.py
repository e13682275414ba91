"""What is known about a config that is audited: its groups' timescales, and what would be recommended."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from pydantic import Field

from adamw_scale.auditing.provenance import default_of
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.config import Config, Group
from adamw_scale.noun import Noun
from adamw_scale.spec.advice import Recommendation
from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory import conventions
from adamw_scale.theory import timescale as ema
from adamw_scale.theory.parametrizations import HIDDEN
from adamw_scale.theory.schedules import Schedule


class PartialTimescale(Noun):
    """A timescale at peak learning rate in the views that are known; see `spec.Timescale`."""

    iters: float
    epochs: float | None = None
    run: float | None = None


class GroupTimescale(Noun):
    """What one parameter group gets: as written, in PyTorch's unit, and as a timescale; None where it is not known."""

    group: str
    peak_lr: float | None = None
    written: float | None = Field(None, description="weight decay in the config's own convention")
    weight_decay: float | None = Field(None, description="the same in PyTorch's, with the same sum over the run")
    timescale: PartialTimescale | None = Field(None, description="none where the group does not decay")
    retention: float | None = Field(None, description="share of the initial weights in the final ones")


class Facts(NamedTuple):
    """What checks look at; `run` and `advice` are None where too little was said."""

    framework: str
    config: Config
    run: TrainingRun | None
    advice: Recommendation | None
    groups: tuple[GroupTimescale, ...]
    names: Mapping[str, str] = {}  # of weights that decay, some by role, where a training was watched

    @property
    def hidden(self) -> GroupTimescale:
        """The matrices, which are nearly all weights."""
        return next(group for group in self.groups if group.group == HIDDEN)

    def group(self, name: str) -> GroupTimescale:
        """A group by name."""
        return next(group for group in self.groups if group.group == name)

    def named(self, role: str) -> str:
        """Some weights of a role in brackets, where their names are known."""
        return f" ({self.names[role]})" if role in self.names else ""

    @property
    def title(self) -> str:
        """The framework as people call it."""
        return FRAMEWORKS[self.framework].title

    def default_of(self, field: str) -> str:
        """Whose default a field has."""
        return default_of(self.framework, self.config, field)

    @property
    def how_to_spare(self) -> str:
        """How to leave gains and biases undecayed in this framework."""
        part = FRAMEWORKS[self.framework]
        if part.grouping == "none":
            return part.how_to_group
        return f"put tensors of one dimension into a group without decay, as `adamw-scale emit {part.name}` writes it"

    @property
    def kind(self) -> str:
        """How the optimizer decays; see `conventions.KINDS`."""
        return conventions.CONVENTIONS[self.config.convention].kind

    @property
    def total_steps(self) -> float | None:
        """Steps of the run."""
        return self.run.total_steps if self.run else self.config.total_steps

    @property
    def schedule(self) -> Schedule | None:
        """The learning rate's schedule, where it is known as a whole."""
        if self.run:
            return self.run.lr_schedule
        return self.config.lr_schedule if self.config.schedule and _complete(self.config) else None

    @property
    def warmup_steps(self) -> float:
        """Warm-up in steps; 0 where it is not known."""
        if self.config.warmup_steps is not None:
            return self.config.warmup_steps
        schedule = self.schedule
        return schedule.warmup * self.total_steps if schedule and self.total_steps else 0.0

    @property
    def task(self) -> str:
        """What the run is for; pretraining where nobody says."""
        return self.run.task if self.run else self.config.task or "pretraining"

    @property
    def finetuning(self) -> bool:
        """Whether weights that were trained before are trained on."""
        return self.task != "pretraining"

    def written(self, weight_decay: float) -> float:
        """A PyTorch λ of the hidden matrices as this config would write it, with the same sum over the run.

        Under L2, which has none, the λ itself: the fix is another optimizer.
        """
        if self.kind == conventions.L2:
            return weight_decay
        lr = self.hidden.peak_lr
        return conventions.from_pytorch(
            self.config.convention,
            weight_decay,
            setting(self.config, self.run, lr),
            match="mass" if self.run else "peak",
        )


def setting(config: Config, run: TrainingRun | None, peak_lr: float | None) -> conventions.Setting:
    """What converting a group's decay depends on."""
    if run is not None:
        return run.setting._replace(peak_lr=peak_lr)
    schedule = config.lr_schedule if config.schedule and _complete(config) else None
    return conventions.Setting(
        peak_lr=peak_lr,
        total_steps=config.total_steps,
        mean=schedule.mean() if schedule else None,
        mean_square=schedule.mean_square() if schedule else None,
    )


def group_timescale(config: Config, run: TrainingRun | None, group: Group) -> GroupTimescale:
    """One group at its own learning rate, which a run's parametrization may set."""
    base = config.peak_lr if run is None or run.peak_lr is None else run.peak_lr
    if not group.known or (not config.weight_decay_known and (group.weight_decay or not config.weight_decay)):
        return GroupTimescale(group=group.group, peak_lr=base)
    if base is None or conventions.CONVENTIONS[config.convention].kind == conventions.L2:
        return GroupTimescale(group=group.group, peak_lr=base, written=group.weight_decay)
    lr = base * group.lr_factor
    if run is not None and math.isclose(group.lr_factor, 1.0):
        lr *= run.multipliers[group.group].peak_lr
    known = setting(config, run, lr)
    λ = conventions.to_pytorch(config.convention, group.weight_decay, known, match="mass" if run else "peak")
    if not λ:
        return GroupTimescale(
            group=group.group, peak_lr=lr, written=group.weight_decay, weight_decay=0.0, retention=1.0
        )
    iters = ema.tau_iter(lr, λ)
    views = {"epochs": iters / run.steps_per_epoch, "run": iters / run.total_steps} if run else {}
    if run is None and config.total_steps:
        views = {"run": iters / config.total_steps}
    mean = run.decay_schedule.mean() if run else known.mean
    kept = ema.retention(mean, views["run"]) if mean is not None and "run" in views else None
    return GroupTimescale(
        group=group.group,
        peak_lr=lr,
        written=group.weight_decay,
        weight_decay=λ,
        timescale=PartialTimescale(iters=iters, **views),
        retention=kept,
    )


def _complete(config: Config) -> bool:
    """Whether the schedule of a config stands without more being said."""
    return config.total_steps is not None or not (config.warmup_steps or config.decay_steps or config.schedule_end)
