"""The user's own object, asked with care: what it prints goes to stderr, what it raises or wrongly returns is one line.

    class Mine:
        defaults = {"unit": "samples", "dataset_size": 1000, "epochs": 20, "batch_size": 32, "peak_lr": 1e-3}

        def data(self, path):
            return (train_inputs, train_targets), (test_inputs, test_targets)

        def model(self, run):
            return nn.Sequential(nn.Linear(16, int(run.width or 64)), nn.ReLU(), nn.Linear(int(run.width or 64), 10))

        def loss(self, model, inputs, targets):
            return F.cross_entropy(model(inputs), targets)

Optional: `metric(model, inputs, targets)`, measured on held-out data instead of the loss (lower is better, a mean
over the batch), and `group(name, parameter)`, the parameter group, which a parametrization other than standard needs.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from adamw_scale.errors import AdamWScaleError, ProbeError, SpecError
from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory.parametrizations import GROUPS
from adamw_scale.training.data.dataset import Rows
from adamw_scale.units import printable

PARTS = ("defaults", "data", "model", "loss")
WORDS = "see adamw_scale.training.tasks.user_code.TrainingTask"

Tensors = tuple[Tensor, Tensor]
LossFunction = Callable[[nn.Module, Tensor, Tensor], Tensor]


class TrainingTask(Protocol):
    """What `--task package.module:attribute` must be: such an object, or what makes one without arguments."""

    defaults: Mapping[str, Any]
    """Fields of the `TrainingRun` that probes make: unit, dataset_size, epochs, batch_size, peak_lr, ..."""

    def data(self, path: str | None) -> tuple[Tensors, Tensors]:
        """Training and held-out (inputs, targets), one example a row, the same ones at every call.

        Smaller data sets are the first rows. NumPy arrays and lists will do; fractions are cast to the precision of
        the weights. `path` is what `--data` says.
        """
        ...

    def model(self, run: TrainingRun) -> nn.Module:
        """A freshly initialised model of the run's width and depth, drawn from torch's global generator."""
        ...

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean training loss of a batch, a scalar."""
        ...


class UserTask:
    """A `TrainingTask` by its name, package.module:attribute; the working directory is searched too.

    Raises:
        SpecError: it cannot be imported, or is no `TrainingTask`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        module_name, _, attribute = name.partition(":")
        if not module_name or not attribute:
            raise SpecError(f"--task {name}: pass package.module:attribute, {WORDS}")
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        try:
            with redirect_stdout(sys.stderr):
                module = importlib.import_module(module_name)
                found = getattr(module, attribute)
                made = inspect.isclass(found) or inspect.isfunction(found)
                self._object = cast(Any, found() if made else found)
                has = {part for part in (*PARTS, "metric", "group") if hasattr(self._object, part)}
                self.defaults: Mapping[str, Any] = self._object.defaults if "defaults" in has else {}
        except (Exception, SystemExit) as error:  # the user's code
            raise SpecError(
                f"--task {name}: {type(error).__name__}: {_first_line(error)}. Pass package.module:attribute, found "
                "from the working directory or installed"
            ) from error
        if missing := [part for part in PARTS if part not in has]:
            raise SpecError(f"--task {name} has no {', '.join(missing)}: {WORDS}")
        if not isinstance(self.defaults, Mapping) or not all(isinstance(field, str) for field in self.defaults):
            raise SpecError(
                f"--task {name}: defaults are {_kind(self.defaults)}: make them a dict of run fields, {WORDS}"
            )
        self.has_groups = "group" in has
        self.loss: LossFunction = self._object.loss
        self.metric: LossFunction = self._object.metric if "metric" in has else self.loss
        file = getattr(module, "__file__", None)
        self.file = Path(file) if file else None

    @contextmanager
    def asked(self, part: str) -> Iterator[None]:
        """Run the user's code in this block; ProbeError that names the part for whatever it raises."""
        try:
            with redirect_stdout(sys.stderr):
                yield
        except AdamWScaleError:
            raise
        except (Exception, SystemExit) as error:
            raise ProbeError(
                f"{self.name}: {part} raised {type(error).__name__}: {_first_line(error)}{_place(error)}"
            ) from error

    def refuse(self, part: str, reason: str) -> ProbeError:
        """The error of a part that gave what cannot be used."""
        return ProbeError(f"{self.name}: {part} {reason}")

    def data(self, path: str | None) -> tuple[Rows, Rows]:
        """Training and held-out examples, as many inputs as targets of each."""
        part = "data(path)"
        with self.asked(part):
            returned = self._object.data(path)
            try:
                (inputs, targets), (held_out_inputs, held_out_targets) = returned
            except (TypeError, ValueError):
                raise self.refuse(
                    part, f"returned {_kind(returned)}: return (inputs, targets), (held-out inputs, held-out targets)"
                ) from None
        training = Rows(self._tensor("inputs", inputs), self._tensor("targets", targets))
        held_out = Rows(
            self._tensor("held-out inputs", held_out_inputs), self._tensor("held-out targets", held_out_targets)
        )
        sizes = [(len(rows.inputs), len(rows.targets)) for rows in (training, held_out)]
        if any(inputs != targets or not inputs for inputs, targets in sizes):
            raise SpecError(
                f"{self.name}: data(path) returned {sizes[0][0]} inputs with {sizes[0][1]} targets and {sizes[1][0]} "
                f"with {sizes[1][1]} held out: return as many targets as inputs, and at least one of each"
            )
        return training, held_out

    def model(self, run: TrainingRun) -> nn.Module:
        """A fresh model, of real and initialised weights of which at least one can be trained."""
        part = "model(run)"
        with self.asked(part):
            model = self._object.model(run)
        if not isinstance(model, nn.Module):
            raise self.refuse(part, f"returned {_kind(model)}: return a torch.nn.Module")
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if any(map(is_lazy, model.parameters())):
            raise self.refuse(part, "returned lazy layers: run a batch through the model before returning it")
        if not trained:
            raise self.refuse(part, "returned no parameter that requires a gradient: there is nothing to train")
        if not all(parameter.is_floating_point() for parameter in trained):
            raise self.refuse(part, "returned complex parameters, which are not trained here: use pairs of real ones")
        return model

    def group(self, name: str, parameter: Tensor) -> str:
        """The parameter group, as the user's `group` says."""
        with self.asked(f"group({name!r}, ...)"):
            group = self._object.group(name, parameter)
        if not isinstance(group, str) or group not in GROUPS:
            raise SpecError(
                f"{self.name}: group({name!r}, ...) is {printable(repr(group))[:60]}, not one of {', '.join(GROUPS)}"
            )
        return group

    def mean(self, value: Any, part: str) -> Tensor:
        """What a loss or metric returned, if it is a scalar; a loss that is trained on must depend on the weights."""
        if not isinstance(value, Tensor) or value.numel() != 1 or not value.is_floating_point():
            raise self.refuse(part, f"returned {_kind(value)}: return the mean over the batch, a tensor of one number")
        if torch.is_grad_enabled() and not value.requires_grad:
            raise self.refuse(part, "does not depend on the model's parameters: compute it without no_grad or detach")
        return value

    def _tensor(self, what: str, value: Any) -> Tensor:
        """Examples as a dense tensor of the CPU."""
        try:
            tensor = torch.as_tensor(value).detach().cpu()
        except (TypeError, ValueError, RuntimeError):
            tensor = torch.tensor(0)
        if not tensor.ndim or tensor.layout != torch.strided or tensor.is_complex():
            raise self.refuse("data(path)", f"returned {_kind(value)} as {what}: return a tensor, one example a row")
        return tensor.contiguous()


def _kind(value: Any) -> str:
    """What a value is, for people."""
    if isinstance(value, Tensor):
        layout = "" if value.layout == torch.strided else f"{value.layout} ".replace("torch.", "")
        return f"a {layout}tensor of shape {tuple(value.shape)} and {value.dtype}".replace("torch.", "")
    return "None" if value is None else f"{type(value).__name__} {printable(repr(value))[:60]}"


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return printable(lines[0])[:200] if lines else ""


def _place(error: BaseException) -> str:
    """Where the user's code raised."""
    frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
