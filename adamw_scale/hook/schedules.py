"""The learning rates that are still to come, from a copy of the scheduler that is stepped to its end.

The copy has a stand-in for the optimizer and shares nothing that stepping changes with the real one.
"""

from __future__ import annotations

import copy
import functools
import warnings
from collections import Counter, deque
from typing import Any

from torch.optim import lr_scheduler

MOST_STEPS = 100_000
OWN_TOTALS = ("total_steps", "T_max", "total_iters", "total_num_steps")
OTHER_LIBRARIES = ("deepspeed.runtime.lr_schedules", "timm.scheduler")  # modules of schedulers of another base
WARMUPS = ("ConstantLR", "LinearLR")  # end with their total_iters, and the run goes on at the full learning rate
PLAIN = (int, float, str, bool, bytes, type(None))


class Unreadable(Exception):  # noqa: N818  # an answer, not a failure
    """Why the rest of a schedule cannot be told."""


class StandIn:
    """As much of an optimizer as a scheduler steps."""

    def __init__(self, optimizer: Any) -> None:
        self.defaults = dict(optimizer.defaults)
        self.state: dict[Any, Any] = {}
        self.param_groups = [
            {name: _copied(value, self) for name, value in group.items() if name != "params"}
            for group in optimizer.param_groups
        ]
        for group in self.param_groups:
            group["params"] = []

    def step(self) -> None:
        """Nothing to do."""


def is_scheduler(kind: type) -> bool:
    """Whether objects of a class set learning rates."""
    base = getattr(lr_scheduler, "LRScheduler", lr_scheduler._LRScheduler)
    return issubclass(kind, base) or (str(kind.__module__).startswith(OTHER_LIBRARIES) and hasattr(kind, "step"))


def tick_of(scheduler: Any) -> int | None:
    """How many steps a scheduler has made; None where it does not count them, as timm's."""
    if type(scheduler).__name__ == "ChainedScheduler":
        scheduler = scheduler._schedulers[0]
    tick = getattr(scheduler, "last_epoch", getattr(scheduler, "last_batch_iteration", None))
    return None if tick is None else int(tick)


def total_of(scheduler: Any) -> tuple[float, str] | None:
    """How many of its own steps a scheduler is made for, and what says so; None where it is made for no end."""
    name = type(scheduler).__name__
    if name == "SequentialLR":
        last = total_of(scheduler._schedulers[-1])
        return (scheduler._milestones[-1] + last[0], f"{name} of {last[1]}") if last else None
    if name == "ChainedScheduler":
        known = [each for each in map(total_of, scheduler._schedulers) if each]
        return (max(each[0] for each in known), name) if known else None
    if name in WARMUPS and getattr(scheduler, "end_factor", 1.0) >= getattr(scheduler, "start_factor", 0.0):
        return None
    for attribute in OWN_TOTALS:
        value = getattr(scheduler, attribute, None)
        if isinstance(value, (int, float)) and value > 0:
            return float(value), f"{name}'s {attribute}"
    for function in getattr(scheduler, "lr_lambdas", ()):
        if isinstance(function, functools.partial):
            value = function.keywords.get("num_training_steps")
            if isinstance(value, (int, float)) and value > 0:
                return float(value), f"{name}'s num_training_steps"
    return None


def rest_of(scheduler: Any, optimizer: Any, steps: int, per_step: int) -> list[list[float]]:
    """Learning rates of every group in the next `steps` steps of the optimizer.

    Args:
        scheduler: The real one.
        optimizer: The real one.
        steps: How many, at most `MOST_STEPS`.
        per_step: Steps of the scheduler in one of the optimizer.

    Raises:
        Unreadable: the scheduler waits for a result, or there is too much to step.
    """
    if steps * per_step > MOST_STEPS:
        raise Unreadable(f"it has {steps * per_step} steps to go, and {MOST_STEPS} are read")
    if type(scheduler).__name__ == "ReduceLROnPlateau":
        raise Unreadable("it waits for results")
    stand_in = StandIn(optimizer)
    copied = _copied(scheduler, stand_in, known={id(optimizer): stand_in})
    curves: list[list[float]] = [[] for _ in stand_in.param_groups]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(steps):
            if number:
                for _ in range(per_step):
                    copied.step()
            for curve, group in zip(curves, stand_in.param_groups):  # noqa: B905  # as old as the oldest Python
                curve.append(float(group["lr"]))
    return curves


def _copied(value: Any, stand_in: StandIn, known: dict[int, Any] | None = None) -> Any:
    """A scheduler or a value in it: containers and schedulers anew, everything else, which stepping leaves, shared."""
    known = {} if known is None else known
    if id(value) in known:
        return known[id(value)]
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, (dict, Counter)) and type(value) in (dict, Counter):
        new = type(value)()
        known[id(value)] = new
        new.update({key: _copied(each, stand_in, known) for key, each in value.items()})
        return new
    if type(value) in (list, tuple, set, deque):
        return type(value)(_copied(each, stand_in, known) for each in value)
    if hasattr(value, "clone") and hasattr(value, "dtype"):
        return value.clone()
    if hasattr(value, "step") and hasattr(value, "optimizer") and hasattr(value, "__dict__"):
        if hasattr(value, "param_groups"):
            return stand_in
        twin = copy.copy(value)
        known[id(value)] = twin
        twin.__dict__.update({name: _copied(each, stand_in, known) for name, each in vars(value).items()})
        twin.__dict__.update({"optimizer": stand_in, "verbose": False})
        for name, each in list(vars(twin).items()):  # methods that were replaced on the object are bound to the old one
            if getattr(each, "__self__", None) is value:
                twin.__dict__[name] = each.__func__.__get__(twin)
        return twin
    return value
