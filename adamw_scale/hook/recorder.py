"""Hooks torch's optimizers and writes down what they do, one file for each process; changes nothing of it.

A step is counted, and its learning rates and weight decays read, whenever an optimizer of torch's kind steps. What its
weights really lose is measured in a few steps, on a few thousand elements of a matrix and a vector of each group.
Nothing here may end a training but the interrupt that was asked for: what fails is noted as `trouble`.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import threading
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any, Callable  # noqa: UP035  # as old as the oldest Python

import torch
from torch.optim import optimizer as torch_optimizer

HERE = os.path.dirname(os.path.abspath(__file__))


def _sibling(name: str, *path: str) -> Any:
    """A module of this package, by its file."""
    spec = spec_from_file_location(f"_adamw_scale_{name}", os.path.join(HERE, *path, f"{name}.py"))
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Recorder:
    """What goes on in this process."""

    def __init__(self, plan: str) -> None:
        said = json.loads(plan)
        self.folder: str = said["folder"]
        self.limit: int | None = said.get("steps")
        self.total: int | None = said.get("total")
        self.measuring = _sibling("measuring", "..", "integrations")
        self.owners, self.schedules, self.setting = _sibling("owners"), _sibling("schedules"), _sibling("setting")
        self.optimizers = _sibling("optimizers")
        self.weight_decay: float | None = said.get("weight_decay")
        if said.get("seed") is not None:
            self.setting.seed_anew(said["seed"])
        self.forget()

    def forget(self) -> None:
        """Start anew, as in a process that was forked."""
        self.pid = os.getpid()
        self.watched: dict[int, Any] = {}
        self.gone: list[Any] = []
        self.trouble: list[str] = []
        self.stopped = False
        self.next_write = 1
        self._owners: Any = None
        self.chosen: tuple[Any, int] | None = None  # whose group has the weight decay that was to be set
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

    def of(self, optimizer: Any) -> Any:
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
            watched = self.optimizers.Watched(optimizer, self)
            watched.earlier = sum(each.steps for each in dead if each.name == watched.name)
        self.watched[id(optimizer)] = watched
        return watched

    def safely(self, watched: Any, do: Callable[[], None]) -> None:
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

    def all(self) -> list[Any]:
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
                weight_decay=self.optimizers.plain(getattr(arguments, "weight_decay", None)),
                lr=self.optimizers.plain(getattr(arguments, "learning_rate", None)),
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


def _is_capturing() -> bool:
    """Whether a CUDA graph is being captured, which must not be looked into."""
    return bool(torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing())


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
