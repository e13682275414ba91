"""The user's own model and data: `--task package.module:attribute`, a `TrainingTask` with a plain torch module.

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

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from adamw_scale.errors import ProbeError, SpecError
from adamw_scale.parametrizations import EMBEDDING, GROUPS, HIDDEN, NORM_AND_BIAS
from adamw_scale.probe.data.dataset import Rows
from adamw_scale.probe.models.model import Parameter, Scaling, Weights
from adamw_scale.probe.plan import ProbeConfig, ProbeResult
from adamw_scale.probe.tasks.network import refuse_other_data, require_device
from adamw_scale.probe.tasks.task import Listener, TaskSource
from adamw_scale.probe.trainer import Batch, Problem, reproducible, train
from adamw_scale.spec import TrainingRun
from adamw_scale.units import format_count

MAX_BATCH = 1024
EQUAL = 1e-4  # relative difference up to which batched and serial gradients of the first step are the same

Tensors = tuple[Tensor, Tensor]


class TrainingTask(Protocol):
    """What the attribute must be: such an object, or a class or function that makes one when called without arguments."""

    defaults: Mapping[str, Any]
    """Fields of the `TrainingRun` that probes make: unit, dataset_size, epochs, batch_size, peak_lr, ..."""

    def data(self, path: str | None) -> tuple[Tensors, Tensors]:
        """Training and held-out (inputs, targets), one example a row; smaller data sets are the first rows.

        `path` is what `--data` says.
        """
        ...

    def model(self, run: TrainingRun) -> nn.Module:
        """A freshly initialised model of the run's width and depth, drawn from torch's global generator."""
        ...

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean training loss of a batch, a scalar."""
        ...


class _Loss(nn.Module):
    """The user's loss as a module around the user's model, so that weights can be put in from outside."""

    def __init__(self, model: nn.Module, function: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return self.function(self.model, inputs, targets)


class ModuleTask:
    """Trains the user's module with the same flat AdamW, data order and schedules as the built-in networks.

    Probes run one at a time. With `--task-option batch=N` up to N run at once through torch.func.vmap, if the
    first step's loss and gradients are those of one at a time; ProbeError says where they are not.
    """

    name = "module"

    def __init__(self, source: TaskSource) -> None:
        source.only("batch")
        self.source = source
        self.batch = _whole(source.options.get("batch", "1"))
        self.user, self.file = _load(source.name)
        (self.training, self.held_out) = self._data()

    def _data(self) -> tuple[Rows, Rows]:
        try:
            training, held_out = (Rows(*tensors) for tensors in self.user.data(self.source.data))
            sizes = [(len(rows.inputs), len(rows.targets)) for rows in (training, held_out)]
        except Exception as error:  # the user's code: whatever it raises is told in one line
            raise ProbeError(_said(self.source.name, "data(path)", error)) from error
        if any(inputs != targets or not inputs for inputs, targets in sizes):
            raise SpecError(
                f"{self.source.name}: data(path) returned {sizes[0][0]} inputs with {sizes[0][1]} targets and {sizes[1][0]} "
                f"with {sizes[1][1]} held out: return as many targets as inputs, and at least one of each"
            )
        return training, held_out

    def default_run(self, overrides: dict[str, Any]) -> TrainingRun:
        """The task's defaults with the user's changes.

        Raises:
            SpecError: more data than there are, or a parametrization without groups.
        """
        run = TrainingRun.model_validate({"schedule": "linear", **self.user.defaults, **overrides})
        for field in ("num_params", "weight_decay"):
            if field in overrides:
                raise SpecError(f"calibrating sets {field} itself: drop it")
        if run.peak_lr is None:
            raise SpecError(f"{self.source.name} states no peak_lr in its defaults: pass --lr")
        if run.dataset_size > len(self.training):
            raise SpecError(
                f"dataset_size = {format_count(run.dataset_size)} is more than the {format_count(len(self.training))} "
                f"examples of {self.source.name}: lower --dataset-size"
            )
        if run.parametrization != "standard" and not hasattr(self.user, "group"):
            raise SpecError(
                f"{self.source.name} has no group(name, parameter): parametrization {run.parametrization!r} must know which "
                f"parameters are {', '.join(GROUPS)}. Add it, or use --parametrization standard"
            )
        return run.model_copy(
            update={"num_params": float(sum(p.size for p in self._parameters(run, self._model(run))))}
        )

    def identity(self, run: TrainingRun) -> dict[str, str]:
        """The attribute, a hash of its file, and of the examples trained on and held out."""
        content = hashlib.sha256()
        for rows, size in ((self.training, int(run.dataset_size)), (self.held_out, len(self.held_out))):
            for tensor in (rows.inputs[:size], rows.targets[:size]):
                content.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        code = hashlib.sha256(self.file.read_bytes()).hexdigest()[:16] if self.file else ""
        return {
            "name": self.source.name,
            "code_sha256": code,
            "data_sha256": content.hexdigest()[:16],
            **({"batch": str(self.batch)} if self.batch > 1 else {}),
        }

    def describe_data(self, run: TrainingRun) -> str:
        """How much of what is trained on."""
        return (
            f"training on {format_count(run.dataset_size)} of {format_count(len(self.training))} examples of "
            f"{self.source.name}, {format_count(len(self.held_out))} held out"
        )

    def require_device(self, device: str) -> None:
        """ProbeError where torch does not have the device."""
        require_device(device)

    def batch_limit(self, run: TrainingRun, device: str) -> int:
        """One, or what the user asked for."""
        return self.batch

    def train(self, configs: Sequence[ProbeConfig], listener: Listener) -> list[ProbeResult]:
        """Train probes one at a time, or at once where the user asked and the first step proves it equal.

        Raises:
            ProbeError: the user's code fails, the data are others, or batched and serial gradients differ.
        """
        run = configs[0].run
        self.require_device(configs[0].device)
        refuse_other_data(self.identity(run), configs[0])
        parts = [configs] if len(configs) > 1 and self.batch > 1 else [[config] for config in configs]
        try:
            return [
                result for part in parts for result in train(self._problem(part), part, listener, self.source.folder)
            ]
        except (ProbeError, SpecError):
            raise
        except Exception as error:  # the user's code
            raise ProbeError(_said(self.source.name, "model or loss", error)) from error

    def _model(self, run: TrainingRun) -> nn.Module:
        try:
            return self.user.model(run)
        except Exception as error:  # the user's code
            raise ProbeError(_said(self.source.name, "model(run)", error)) from error

    def _parameters(self, run: TrainingRun, model: nn.Module) -> list[Parameter]:
        embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
        choose: Callable[[str, Tensor], str] = getattr(self.user, "group", None) or (
            lambda name, p: NORM_AND_BIAS if p.ndim < 2 else EMBEDDING if id(p) in embeddings else HIDDEN
        )
        parameters = []
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                group = choose(name, parameter)
                if group not in GROUPS:
                    raise SpecError(
                        f"{self.source.name}: group({name!r}, ...) is {group!r}, not one of {', '.join(GROUPS)}"
                    )
                parameters.append(Parameter(name, tuple(parameter.shape), group))
        return parameters

    def _problem(self, configs: Sequence[ProbeConfig]) -> Problem:
        config = configs[0]
        run, device = config.run, config.device
        with reproducible(config):
            model = self._model(run).to(device)
        parameters = self._parameters(run, model)
        names = [parameter.name for parameter in parameters]

        def initial(seed: int) -> list[Tensor]:
            with reproducible(config.model_copy(update={"seed": seed})):
                fresh = dict(self._model(run).named_parameters())
            return [fresh[name].detach() for name in names]

        mean = _over_probes(_Loss(model, self.user.loss), len(configs))
        measured = _over_probes(_Loss(model, getattr(self.user, "metric", self.user.loss)), len(configs))

        def metrics(weights: Weights, batch: Batch) -> dict[str, Tensor]:
            model.eval()
            try:
                return {"loss": measured(weights, batch)}
            finally:
                model.train()

        problem = Problem(
            parameters=parameters,
            groups=Scaling.of(run).groups,
            initial=initial,
            loss=mean,
            metrics=metrics,
            training=Rows(
                self.training.inputs[: int(run.dataset_size)], self.training.targets[: int(run.dataset_size)]
            ),
            held_out=self.held_out,
            examples_per_step=int(run.batch_size),
            buffers=dict(model.named_buffers()),
        )
        if len(configs) > 1:
            self._prove_equal(problem, model, configs)
        return problem

    def _prove_equal(self, problem: Problem, model: nn.Module, configs: Sequence[ProbeConfig]) -> None:
        """ProbeError unless the first step's losses and gradients of all probes at once are those of each alone."""
        device = configs[0].device
        size = min(problem.examples_per_step, len(problem.training))
        index = torch.arange(size, device=device).expand(len(configs), -1)
        batch = problem.training.to(device).take(index)
        starts = [problem.initial(config.seed) for config in configs]
        names = [parameter.name for parameter in problem.parameters]
        weights = {
            name: torch.stack([start[i] for start in starts]).to(device).requires_grad_()
            for i, name in enumerate(names)
        }
        alone = _over_probes(_Loss(model, self.user.loss), 1)
        reason = "its buffers (such as batch norm's) cannot be shared" if problem.buffers else ""
        if not reason:
            try:
                together = problem.loss(weights, batch)
                batched = torch.autograd.grad(together.sum(), list(weights.values()))
            except Exception as error:  # torch.func says what it cannot batch in many ways
                reason = f"torch.func.vmap says {type(error).__name__}: {str(error).splitlines()[0][:200]}"
        for k in range(0 if reason else len(configs)):
            mine = {name: weight[k : k + 1].detach().requires_grad_() for name, weight in weights.items()}
            loss = alone(mine, (batch[0][k : k + 1], batch[1][k : k + 1]))
            serial = torch.autograd.grad(loss.sum(), list(mine.values()))
            for name, one, other in zip(names, serial, batched, strict=True):
                if not torch.allclose(one[0], other[k], rtol=EQUAL, atol=EQUAL * float(one.abs().max())):
                    reason = f"the gradients of {name} differ from those of one probe at a time"
        if reason:
            raise ProbeError(f"{self.source.name} cannot be batched: {reason}. Drop --task-option batch={self.batch}")


def _over_probes(module: _Loss, probes: int) -> Callable[[Weights, Batch], Tensor]:
    """The module's value for weights with a leading probe axis: (K,). One probe runs as it is, more through vmap."""

    def one(weights: Weights, inputs: Tensor, targets: Tensor) -> Tensor:
        named = {f"model.{name}": weight for name, weight in weights.items()}
        value: Tensor = functional_call(module, named, (inputs, targets))
        return value

    if probes == 1:
        return lambda weights, batch: one({n: w[0] for n, w in weights.items()}, batch[0][0], batch[1][0]).reshape(1)
    batched = torch.func.vmap(one)
    return lambda weights, batch: batched(dict(weights), *batch)


def _whole(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_BATCH:
        raise SpecError(f"--task-option batch={text}: pass a whole number from 1 to {MAX_BATCH}")
    return int(text)


def _load(name: str) -> tuple[TrainingTask, Path | None]:
    """Import package.module and take its attribute; the working directory is searched too."""
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise SpecError(
            f"--task {name}: pass package.module:attribute, an object as adamw_scale.probe.tasks.module describes"
        )
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
        found = getattr(module, attribute)
        user: Any = found() if inspect.isclass(found) or inspect.isfunction(found) else found
    except Exception as error:  # the user's code
        raise SpecError(
            f"--task {name}: {type(error).__name__}: {error}. Pass package.module:attribute, found from the working "
            "directory or installed"
        ) from error
    missing = [part for part in ("defaults", "data", "model", "loss") if not hasattr(user, part)]
    if missing:
        raise SpecError(f"--task {name} has no {', '.join(missing)}: see adamw_scale.probe.tasks.module.TrainingTask")
    file = getattr(module, "__file__", None)
    return user, Path(file) if file else None


def _said(name: str, part: str, error: Exception) -> str:
    """What the user's code raised, where, in one line."""
    frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    first = str(error).splitlines()[0][:200] if str(error) else ""
    return f"{name}: {part} raised {type(error).__name__}: {first}{where}"
