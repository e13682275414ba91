"""What each optimizer does: its groups, their learning rates and weight decays, what its steps take, its schedule.

Nothing of the training is held: groups and weights are known by weak references, and let go with their optimizer.
"""

from __future__ import annotations

import math
import weakref
from typing import Any

import torch

FIRST_STEPS, EARLY, EVERY, RARELY = 3, 40, 10, 100  # the first are measured, then two of ten, and later of a hundred
POINTS = 4096  # of a curve; of a longer one every second is kept, and so on
MEASURED = 64  # measurements of a group that are kept: the first half and the last
FLAGS = ("decoupled_weight_decay", "corrected_weight_decay", "decouple_lr", "adam_w_mode", "cautious", "unscaled_wd")
SCALARS = ("betas", "eps", "momentum", "initial_lr", "max_lr", "lr_scale", "name")
SEARCHED = (1, 2, 3)  # steps before which a scheduler is looked for, until one is found


class Curve:
    """A value over the steps: [step, value] wherever it changes, of many changes an even selection."""

    def __init__(self) -> None:
        self.points: list[list[float]] = []
        self.every = 1
        self.last: list[float] | None = None

    def add(self, step: int, value: float) -> None:
        """Note the value in a step; what is not finite, as in a training that diverged, is passed over."""
        if not math.isfinite(value) or (self.last is not None and self.last[1] == value):
            return
        self.last = [step, value]
        if step % self.every == 0 or not self.points:
            self.points.append(self.last)
        if len(self.points) > POINTS:
            self.points = self.points[::2]
            self.every *= 2

    def listed(self) -> list[list[float]]:
        """Every point, the last one too."""
        return [*self.points, self.last] if self.last and self.last is not self.points[-1] else self.points


class Group:
    """A parameter group and what happened to it."""

    def __init__(self, group: dict[str, Any], owners: Any, measuring: Any) -> None:
        self.measuring = measuring
        self.parameters = [weakref.ref(parameter) for parameter in group["params"]]
        self.roles = owners.summary(group["params"])
        self.first = {name: plain(group[name]) for name in SCALARS if name in group}
        self.lrs, self.decays = Curve(), Curve()
        self.measured: list[dict[str, Any]] = []
        self.group: dict[str, Any] = {}
        self.sentinels: dict[str, Any] = {}
        self.bind(group)

    def bind(self, group: dict[str, Any]) -> None:
        """Follow a group that was put into another mapping, as loading a checkpoint does, or another optimizer."""
        if group is self.group:
            return
        self.group = group
        parts = {
            "matrix": [p for p in group["params"] if p.ndim > 1],
            "vector": [p for p in group["params"] if p.ndim < 2],
        }
        self.sentinels = {kind: self.measuring.Sentinel(group, part) for kind, part in parts.items() if part}

    def release(self) -> None:
        """Hold nothing of the training, so that its memory is freed when it would be without us."""
        self.group, self.sentinels = {}, {}

    def holds(self, group: dict[str, Any]) -> bool:
        """Whether its weights are those of another group, in the same order."""
        new = group["params"]
        return len(new) == len(self.parameters) and all(own() is each for own, each in zip(self.parameters, new))  # noqa: B905  # as old as the oldest Python

    @property
    def lr(self) -> float:
        """As it is set; 0 where the optimizer finds its own."""
        return float(self.group.get("lr") or 0.0)

    @property
    def weight_decay(self) -> float:
        """As it is set."""
        return float(self.group.get("weight_decay") or 0.0)

    def read(self, step: int) -> None:
        """Learning rate and weight decay as they are set; an optimizer that works its own out has no learning rate."""
        if self.group.get("lr", 0.0) is not None:
            self.lrs.add(step, self.lr)
        self.decays.add(step, self.weight_decay)

    def measure(self, optimizer: Any, step: int, next_too: bool) -> None:
        """What a step took from the weights."""
        for kind, sentinel in self.sentinels.items():
            removed = sentinel.after(optimizer, next_too=next_too)
            if removed is None or not all(map(math.isfinite, (*vars(removed).values(), self.lr, self.weight_decay))):
                continue
            if len(self.measured) >= MEASURED:
                del self.measured[MEASURED // 2]
            self.measured.append(
                {
                    "step": step,
                    "of": kind,
                    "by_optimizer": removed.by_optimizer,
                    "outside": removed.outside if step > 1 and _is_looked_at(step - 1) else None,
                    "resolution": removed.resolution,
                    "lr": self.lr,
                    "weight_decay": self.weight_decay,
                }
            )


class Watched:
    """An optimizer that steps."""

    def __init__(self, optimizer: Any, recorder: Any) -> None:
        self.recorder = recorder
        self.name, self.module = type(optimizer).__name__, type(optimizer).__module__
        self.earlier = 0  # steps of optimizers of its class that are gone
        self.follow(optimizer)
        defaults = getattr(optimizer, "defaults", {})
        self.defaults = {name: plain(value) for name, value in defaults.items() if _is_plain(value)}
        self.flags = {name: bool(defaults[name]) for name in FLAGS if isinstance(defaults.get(name), (bool, int))}
        for name in FLAGS:  # some keep it beside the groups
            if name not in self.flags and isinstance(getattr(optimizer, name, None), (bool, int)):
                self.flags[name] = bool(getattr(optimizer, name))
        self.groups: list[Group] = []
        self.steps, self.is_before, self.failed = 0, False, False
        self.scheduler: Any = None
        self.schedulers = 0  # that are stepped on their own
        self.ticks: list[tuple[int, int]] = []  # of the scheduler: the optimizer's step and its own
        self.ahead: dict[str, Any] = {}

    def follow(self, optimizer: Any) -> None:
        """From now on this is the one."""
        self.living = weakref.ref(optimizer, lambda _: self.release())

    def release(self) -> None:
        """Hold nothing of an optimizer that is gone."""
        for group in self.groups:
            group.release()

    def is_remade_as(self, optimizer: Any) -> bool:
        """Whether it is gone and another of its class has its weights, as where one is made anew in each epoch."""
        groups = optimizer.param_groups
        return (
            self.living() is None
            and (self.name, self.module) == (type(optimizer).__name__, type(optimizer).__module__)
            and len(groups) == len(self.groups) > 0
            and all(own.holds(group) for own, group in zip(self.groups, groups))  # noqa: B905  # as old as the oldest Python
        )

    def before(self, optimizer: Any) -> None:
        """What has to be seen before a step."""
        step = self.steps + 1
        if step in SEARCHED and self.scheduler is None:
            self.find_scheduler(optimizer)
        if self.scheduler is not None and (scheduler := self.scheduler()) is not None and len(self.ticks) < POINTS:
            tick = self.recorder.schedules.tick_of(scheduler)
            self.ticks += [(step, tick)] if tick is not None else []
        for number, group in enumerate(optimizer.param_groups):
            if number == len(self.groups):
                self.groups.append(Group(group, self.recorder.owners_of(optimizer), self.recorder.measuring))
            self.groups[number].bind(group)
            if _is_looked_at(step):
                for sentinel in self.groups[number].sentinels.values():
                    sentinel.before()

    def after(self, optimizer: Any) -> None:
        """Take down a step."""
        for group in self.groups:
            group.read(self.steps)
            if _is_looked_at(self.steps):
                group.measure(optimizer, self.steps, _is_looked_at(self.steps + 1))

    def find_scheduler(self, optimizer: Any) -> None:
        """The outermost of the schedulers that set this optimizer's learning rate."""
        found = [
            each
            for each in self.recorder.owners.living(self.recorder.schedules.is_scheduler)
            if _innermost(getattr(each, "optimizer", None)) is optimizer
        ]
        inner = {id(part) for each in found for part in getattr(each, "_schedulers", ())}
        outer = [each for each in found if id(each) not in inner]
        self.schedulers = len(outer)
        self.scheduler = weakref.ref(outer[-1]) if outer else None

    def look_ahead(self, plan_total: int | None) -> None:
        """Read the rest of the schedule, where somebody knows how long it is; say why where nobody does."""
        scheduler, optimizer = self.scheduler() if self.scheduler else None, self.living()
        self.ahead = {"scheduler": type(scheduler).__name__ if scheduler is not None else None}
        if scheduler is None or optimizer is None:
            self.ahead["unknown"] = "no scheduler that can be read sets its learning rate"
            return
        if self.schedulers > 1:
            self.ahead["unknown"] = f"{self.schedulers} schedulers set its learning rate, one after the other"
            return
        schedules = self.recorder.schedules
        if not self.ticks:
            self.ahead["unknown"] = f"{type(scheduler).__name__} is told by the training how far it is"
            return
        first, last = self.ticks[0], self.ticks[-1]
        if last[0] == first[0]:
            self.ahead["unknown"] = f"one step does not tell how often {type(scheduler).__name__} is stepped"
            return
        per_step = (last[1] - first[1]) / (last[0] - first[0])
        own = schedules.total_of(scheduler)
        if own is not None:
            self.ahead["own_total"], self.ahead["own_total_from"] = own
        if per_step != int(per_step) or per_step < 1:
            self.ahead["unknown"] = f"{type(scheduler).__name__} is not stepped with every step of the optimizer"
            return
        total = plan_total or (own[0] / per_step if own else None) or self.recorder.trainer_steps()
        self.ahead["per_step"] = int(per_step)
        if total is None:
            self.ahead["unknown"] = f"how many steps {type(scheduler).__name__} is to go is not known"
            return
        if own is not None and not plan_total:
            self.ahead["total"] = total
        rest = round(total) - self.steps
        try:
            curves = schedules.rest_of(scheduler, optimizer, max(0, rest), int(per_step))
        except Exception as error:
            self.ahead["unknown"] = f"{type(scheduler).__name__} cannot be read: {error}"[:300]
            return
        self.ahead["lrs"] = [_thinned(curve, self.steps + 1) for curve in curves]

    def document(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "name": self.name,
            "module": self.module,
            "defaults": self.defaults,
            "flags": self.flags,
            "steps": self.steps,
            "ahead": self.ahead,
            "groups": [
                {
                    "roles": group.roles,
                    "first": group.first,
                    "lrs": group.lrs.listed(),
                    "decays": group.decays.listed(),
                    "measured": group.measured,
                }
                for group in self.groups
            ],
        }


def _is_looked_at(step: int) -> bool:
    """Steps, from 1, whose decay is measured: two in a row tell what goes on between them."""
    return step <= FIRST_STEPS or step % (EVERY if step <= EARLY else RARELY) < 2


def _innermost(optimizer: Any) -> Any:
    """The optimizer within wrappers."""
    while hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer


def _thinned(values: list[float], start: int) -> list[list[float]]:
    """A curve from one value a step, to the last of them."""
    curve = Curve()
    for number, value in enumerate(values):
        curve.add(start + number, value)
    points = curve.listed()
    end = start + len(values) - 1
    return points if not values or points[-1][0] == end else [*points, [end, values[-1]]]


def _is_plain(value: Any) -> bool:
    return isinstance(value, (int, float, str, bool, type(None))) or (
        isinstance(value, (tuple, list)) and len(value) < 4 and all(isinstance(each, (int, float)) for each in value)
    )


def plain(value: Any) -> Any:
    """A setting for JSON."""
    if isinstance(value, torch.Tensor):
        return float(value)
    if isinstance(value, (tuple, list)):
        return [plain(each) for each in value]
    return value if _is_plain(value) else str(value)[:100]
