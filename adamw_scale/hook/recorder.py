"""Hooks torch's optimizers and writes down what they do, one file for each process; changes nothing of it.

A step is counted, and its learning rates and weight decays read, whenever an optimizer of torch's kind steps. What its
weights really lose is measured in a few steps, on a few thousand elements of a matrix and a vector of each group.
Nothing here may end a training but the interrupt that was asked for: what fails is noted as `trouble`.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import signal
import sys
import threading
import weakref
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any, Callable  # noqa: UP035  # as old as the oldest Python

import torch
from torch.optim import optimizer as torch_optimizer

HERE = os.path.dirname(os.path.abspath(__file__))
FIRST_STEPS, EARLY, EVERY, RARELY = 3, 40, 10, 100  # the first are measured, then two of ten, and later of a hundred
POINTS = 4096  # of a curve; of a longer one every second is kept, and so on
MEASURED = 64  # measurements of a group that are kept: the first half and the last
FLAGS = ("decoupled_weight_decay", "corrected_weight_decay", "decouple_lr", "adam_w_mode", "cautious", "unscaled_wd")
SCALARS = ("betas", "eps", "momentum", "initial_lr", "max_lr", "lr_scale", "name")
SEARCHED = (1, 2, 3)  # steps before which a scheduler is looked for, until one is found


def _sibling(name: str, *path: str) -> Any:
    """A module of this package, by its file."""
    spec = spec_from_file_location(f"_adamw_scale_{name}", os.path.join(HERE, *path, f"{name}.py"))
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


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
        self.first = {name: _plain(group[name]) for name in SCALARS if name in group}
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

    def __init__(self, optimizer: Any, recorder: Recorder) -> None:
        self.recorder = recorder
        self.name, self.module = type(optimizer).__name__, type(optimizer).__module__
        self.earlier = 0  # steps of optimizers of its class that are gone
        self.follow(optimizer)
        defaults = getattr(optimizer, "defaults", {})
        self.defaults = {name: _plain(value) for name, value in defaults.items() if _is_plain(value)}
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


class Recorder:
    """What goes on in this process."""

    def __init__(self, plan: str) -> None:
        said = json.loads(plan)
        self.folder: str = said["folder"]
        self.limit: int | None = said.get("steps")
        self.total: int | None = said.get("total")
        self.measuring = _sibling("measuring", "..", "integrations")
        self.owners, self.schedules, self.setting = _sibling("owners"), _sibling("schedules"), _sibling("setting")
        self.weight_decay: float | None = said.get("weight_decay")
        if said.get("seed") is not None:
            self.setting.seed_anew(said["seed"])
        self.forget()

    def forget(self) -> None:
        """Start anew, as in a process that was forked."""
        self.pid = os.getpid()
        self.watched: dict[int, Watched] = {}
        self.gone: list[Watched] = []
        self.trouble: list[str] = []
        self.stopped = False
        self.next_write = 1
        self._owners: Any = None
        self.chosen: tuple[Watched, int] | None = None  # whose group has the weight decay that was to be set
        self.trainer: dict[str, Any] = {}
        self.left_out: dict[str, Any] = {}
        self.unsettable: str | None = None
        self.setter = None if self.weight_decay is None else self.setting.WeightDecay(self.weight_decay, self.weights)

    def weights(self, optimizer: Any, group: dict[str, Any]) -> tuple[int, ...]:
        """Of a group: weights of hidden matrices, of matrices, of all."""
        hidden = self.owners_of(optimizer).summary(group["params"]).get("hidden", {})
        sizes = [(parameter.ndim > 1, parameter.numel()) for parameter in group["params"]]
        return hidden.get("weights", 0), sum(size for matrix, size in sizes if matrix), sum(size for _, size in sizes)

    def living(self) -> list[Any]:
        """Every optimizer of this process."""
        return list(self.owners.living(lambda each: issubclass(each, torch_optimizer.Optimizer)))

    def owners_of(self, optimizer: Any) -> Any:
        """Who has its weights; one look serves all optimizers that step for the first time together."""
        weights = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if self._owners is None or not all(map(self._owners.knows, weights)):
            self._owners = self.owners.Owners()
        return self._owners

    def before(self, optimizer: Any) -> None:
        """Torch calls it before every step of any optimizer."""
        watched = self.of(optimizer)
        if self.setter is not None and not self.stopped:
            try:
                self.setter.before(optimizer, self.living)
                if optimizer is self.setter.optimizer() and self.chosen is None:
                    self.chosen = watched, self.setter.place
            except self.setting.UnsettableError as error:
                self.unsettable = str(error)
                self.stop()
                return
        if _is_capturing():
            return
        if self.limit is not None and watched.earlier + watched.steps >= self.limit:
            self.stop()
            return
        watched.is_before = True
        self.safely(watched, lambda: watched.before(optimizer))

    def after(self, optimizer: Any) -> None:
        """Torch calls it after every step of any optimizer; one that calls the step of its parent class steps once."""
        watched = self.of(optimizer)
        if watched.is_before and not _is_capturing() and not self.stopped:
            watched.is_before = False
            watched.steps += 1
            self.safely(watched, lambda: watched.after(optimizer))
            if watched.steps > 1:
                self._owners = None
            if watched.steps >= self.next_write:
                self.next_write = 2 * watched.steps
                self.safely(watched, self.write)
        if self.setter is not None and not self.stopped:
            try:
                self.setter.after(optimizer)
            except self.setting.UnsettableError as error:
                self.unsettable = str(error)
                self.stop()

    def of(self, optimizer: Any) -> Watched:
        """What is known of an optimizer."""
        watched = self.watched.get(id(optimizer))
        if watched is not None and watched.living() is optimizer:
            return watched
        if watched is not None:  # another one, at the same address
            self.gone.append(self.watched.pop(id(optimizer)))
        if not self.watched and not self.gone:
            self.at_end()
        dead = [each for each in (*self.gone, *self.watched.values()) if each.living() is None]
        watched = next((each for each in dead if each.is_remade_as(optimizer)), None)
        if watched is not None:
            self.gone = [each for each in self.gone if each is not watched]
            self.watched = {key: each for key, each in self.watched.items() if each is not watched}
            watched.follow(optimizer)
        else:
            watched = Watched(optimizer, self)
            watched.earlier = sum(each.steps for each in dead if each.name == watched.name)
        self.watched[id(optimizer)] = watched
        return watched

    def safely(self, watched: Watched, do: Callable[[], None]) -> None:
        """Look without disturbing: what goes wrong is noted, and the optimizer only counted from then on."""
        if watched.failed:
            return
        try:
            do()
        except Exception as error:
            watched.failed = True
            self.trouble.append(f"{watched.name}: {type(error).__name__}: {error}"[:300])

    def stop(self) -> None:
        """Interrupt the training as Ctrl-C would, once."""
        if self.stopped:
            return
        self.stopped = True
        self.end()
        with open(os.path.join(self.folder, f"stopped-{self.pid}"), "w"):
            pass
        _end_quietly()
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in the background of a shell
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    def at_end(self) -> None:
        """See to it that the end is written down, also in a process of multiprocessing, which has no atexit."""
        atexit.register(self.end)
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util.Finalize(None, self.end, exitpriority=-100)

    def end(self) -> None:
        """Read what only has to be read once, and write all down."""
        if os.getpid() != self.pid or not (self.all() or self.unsettable):
            return
        try:
            self.read_trainer()
            for watched in self.watched.values():
                if watched.living() is not None:
                    self.safely(watched, lambda each=watched: each.look_ahead(self.total))  # type: ignore[misc]
            self.find_left_out()
        except Exception as error:
            self.trouble.append(f"{type(error).__name__}: {error}"[:300])
        try:
            self.write()
        except Exception as error:
            print(f"adamw-scale: what was seen cannot be written: {error!r}", file=sys.stderr)

    def all(self) -> list[Watched]:
        """Every optimizer that has stepped."""
        return [watched for watched in (*self.gone, *self.watched.values()) if watched.steps]

    def find_left_out(self) -> None:
        """Weights that have a gradient and no optimizer."""
        optimized = {
            id(parameter)
            for optimizer in self.living()  # also one that has not stepped yet
            for group in getattr(optimizer, "param_groups", ())
            for parameter in group["params"]
        }
        if optimized and not any("flat" in group.roles for watched in self.all() for group in watched.groups):
            self.left_out = self.owners.Owners().left_out(optimized)

    def read_trainer(self) -> None:
        """What a training framework was told."""
        living, is_named = self.owners.living, self.owners.is_named
        for arguments in living(is_named("TrainingArguments", "transformers"))[-1:]:
            self.trainer.update(
                name=type(arguments).__name__,
                weight_decay=_plain(getattr(arguments, "weight_decay", None)),
                lr=_plain(getattr(arguments, "learning_rate", None)),
            )
        for state in living(is_named("TrainerState", "transformers"))[-1:]:
            if getattr(state, "max_steps", 0) > 0:
                self.trainer.update(total=int(state.max_steps), total_from="the Trainer's max_steps")
        for trainer in [*living(is_named("Trainer", "lightning")), *living(is_named("Trainer", "pytorch_lightning"))]:
            total = _lightning_steps(trainer)
            if total:
                self.trainer.update(total=total, total_from="Lightning's Trainer")

    def set_document(self) -> dict[str, Any] | None:
        """What became of a weight decay that was to be set, and in the group of which optimizer."""
        if self.setter is None:
            return None
        place: dict[str, int] = {}
        if self.chosen is not None and self.chosen[0] in (seen := self.all()):
            place = {"optimizer": seen.index(self.chosen[0]), "group": self.chosen[1]}
        return {"own": self.setter.own, "unsettable": self.unsettable, **place}

    def trainer_steps(self) -> int | None:
        """Steps of the run as a training framework knows them."""
        return self.trainer.get("total")

    def write(self) -> None:
        """The whole record, so that a reader finds the last one or this one."""
        document = {
            "pid": self.pid,
            "rank": _rank(),
            "stopped": self.stopped,
            "torch": str(torch.__version__),
            "trouble": self.trouble,
            "trainer": self.trainer,
            "left_out": self.left_out,
            "set": self.set_document(),
            "optimizers": [watched.document() for watched in self.all()],
        }
        path = os.path.join(self.folder, f"record-{self.pid}.json")
        with open(f"{path}.part", "w") as file:
            json.dump(document, file)
        os.replace(f"{path}.part", path)


def _end_quietly() -> None:
    """From now on an interrupt that nothing catches ends the process as ever, but prints no traceback."""
    shown, shown_of_thread = sys.excepthook, threading.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            shown(kind, error, trace)

    def show_of_thread(ended: Any) -> None:
        if not issubclass(ended.exc_type, KeyboardInterrupt):
            shown_of_thread(ended)

    sys.excepthook, threading.excepthook = show, show_of_thread


def _is_looked_at(step: int) -> bool:
    """Steps, from 1, whose decay is measured: two in a row tell what goes on between them."""
    return step <= FIRST_STEPS or step % (EVERY if step <= EARLY else RARELY) < 2


def _is_capturing() -> bool:
    """Whether a CUDA graph is being captured, which must not be looked into."""
    return bool(torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing())


def _innermost(optimizer: Any) -> Any:
    """The optimizer within wrappers."""
    while hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer


def _thinned(values: list[float], start: int) -> list[list[float]]:
    """A curve from one value a step."""
    curve = Curve()
    for number, value in enumerate(values):
        curve.add(start + number, value)
    listed = curve.listed()
    return (
        listed
        if not values or listed[-1][0] == start + len(values) - 1
        else [
            *listed,
            [start + len(values) - 1, values[-1]],
        ]
    )


def _is_plain(value: Any) -> bool:
    return isinstance(value, (int, float, str, bool, type(None))) or (
        isinstance(value, (tuple, list)) and len(value) < 4 and all(isinstance(each, (int, float)) for each in value)
    )


def _plain(value: Any) -> Any:
    """A setting for JSON."""
    if isinstance(value, torch.Tensor):
        return float(value)
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    return value if _is_plain(value) else str(value)[:100]


def _rank() -> int | None:
    """Of several processes, the number of this one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return int(torch.distributed.get_rank())
    said = os.environ.get("RANK", os.environ.get("LOCAL_RANK", ""))
    return int(said) if said.isdigit() else None


def _lightning_steps(trainer: Any) -> int | None:
    """Optimizer steps of a Lightning run; None where it has no end that is known."""
    if getattr(trainer, "max_steps", -1) > 0:
        return int(trainer.max_steps)
    batches, epochs = getattr(trainer, "num_training_batches", None), getattr(trainer, "max_epochs", None)
    accumulated = getattr(trainer, "accumulate_grad_batches", 1) or 1
    if not isinstance(batches, int) or not isinstance(epochs, int) or epochs < 1:
        return None
    return -(-batches // accumulated) * epochs


_recorders: list[Recorder] = []


def has_recorded() -> bool:
    """Whether an optimizer has stepped in this process."""
    return any(recorder.pid == os.getpid() and recorder.all() for recorder in _recorders)


def install(plan: str) -> None:
    """Watch every optimizer of torch in this process from now on, as a plan in JSON says."""
    recorder = Recorder(plan)
    _recorders.append(recorder)
    undisturbed = getattr(torch, "_disable_dynamo", lambda function: function)  # compiled steps are not traced into it

    def before(optimizer: Any, *_: Any) -> None:
        recorder.before(optimizer)

    def after(optimizer: Any, *_: Any) -> None:
        recorder.after(optimizer)

    torch_optimizer.register_optimizer_step_pre_hook(undisturbed(before))
    torch_optimizer.register_optimizer_step_post_hook(undisturbed(after))
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=recorder.forget)
