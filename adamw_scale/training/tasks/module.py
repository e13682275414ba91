"""The user's own model and data: `--task package.module:attribute`, a `TrainingTask` with a plain torch module.

What it must be, and how it is asked, is in `user_code`; here it becomes a problem for the trainer.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from adamw_scale.errors import ProbeError, SpecError
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory.parametrizations import EMBEDDING, GROUPS, HIDDEN, NORM_AND_BIAS
from adamw_scale.training.data.dataset import Rows
from adamw_scale.training.models.model import Parameter, Scaling, Weights
from adamw_scale.training.options import number
from adamw_scale.training.tasks.network import require_device
from adamw_scale.training.tasks.task import Listener, TaskSource
from adamw_scale.training.tasks.user_code import LossFunction, UserTask
from adamw_scale.training.trainer import Batch, Problem, reproducible, train
from adamw_scale.units import format_count

MOST_AT_ONCE = 1024
SAME = 1e-4  # relative difference up to which batched and serial gradients of the first step are the same


class _Loss(nn.Module):
    """The user's loss as a module around the user's model, so that weights can be put in from outside."""

    def __init__(self, model: nn.Module, function: LossFunction) -> None:
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
        self.batch = int(
            number("--task-option batch", source.options.get("batch", "1"), 1, MOST_AT_ONCE, "whole number")
        )
        self.user = UserTask(source.name)
        self.training, self.held_out = self.user.data(source.data)

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
        if run.parametrization != "standard" and not self.user.has_groups:
            raise SpecError(
                f"{self.source.name} has no group(name, parameter): parametrization {run.parametrization!r} must know "
                f"which parameters are {', '.join(GROUPS)}. Add it, or use --parametrization standard"
            )
        return run.model_copy(
            update={"num_params": float(sum(p.size for p in self._parameters(run, self.user.model(run))))}
        )

    def identity(self, run: TrainingRun) -> dict[str, str]:
        """The attribute, a hash of its file, and of the examples trained on and held out."""
        content = hashlib.sha256()
        for rows, size in ((self.training, int(run.dataset_size)), (self.held_out, len(self.held_out))):
            for tensor in (rows.inputs[:size], rows.targets[:size]):
                content.update(tensor.view(torch.uint8).numpy().data)
        code = hashlib.sha256(self.user.file.read_bytes()).hexdigest()[:16] if self.user.file else ""
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

    def cohort_limit(self, run: TrainingRun, device: str) -> int:
        """One, or what the user asked for."""
        return self.batch

    def train(self, configs: Sequence[ProbeConfig], listener: Listener) -> list[ProbeResult]:
        """Train probes one at a time, or at once where the user asked and the first step proves it equal.

        Raises:
            ProbeError: the user's code fails, the data are others, or batched and serial gradients differ.
        """
        run = configs[0].run
        self.require_device(configs[0].device)
        self._refuse_others(run, configs[0])
        parts = [configs] if len(configs) > 1 and self.batch > 1 else [[config] for config in configs]
        with self.user.asked("model or loss"):
            return [
                result for part in parts for result in train(self._problem(part), part, listener, self.source.folder)
            ]

    def _refuse_others(self, run: TrainingRun, config: ProbeConfig) -> None:
        """ProbeError where code or examples are not those that a probe was planned with."""
        own = self.identity(run)
        if own["code_sha256"] != config.task.get("code_sha256"):
            raise ProbeError(f"{self.user.file} was changed since the probes were planned: run the same command again")
        if own != config.task:
            raise self.user.refuse(
                "data(path)", "gives other examples than when the probes were planned: seed whatever it draws"
            )

    def _parameters(self, run: TrainingRun, model: nn.Module) -> list[Parameter]:
        embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
        choose: Callable[[str, Tensor], str] = (
            self.user.group
            if self.user.has_groups
            else lambda name, p: NORM_AND_BIAS if p.ndim < 2 else EMBEDDING if id(p) in embeddings else HIDDEN
        )
        return [
            Parameter(name, tuple(parameter.shape), choose(name, parameter))
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        ]

    def _problem(self, configs: Sequence[ProbeConfig]) -> Problem:
        config = configs[0]
        run, device = config.run, config.device
        with reproducible(config):
            model = self.user.model(run).to(device)
        parameters = self._parameters(run, model)
        names = [parameter.name for parameter in parameters]

        def initial(seed: int) -> list[Tensor]:
            with reproducible(config.model_copy(update={"seed": seed})):
                fresh = dict(self.user.model(run).named_parameters())
            return [fresh[name].detach() for name in names]

        mean = self._over_probes("loss", _Loss(model, self.user.loss), len(configs))
        measured = self._over_probes("metric", _Loss(model, self.user.metric), len(configs))
        dtype = torch.float64 if config.precision == "float64" else torch.float32

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
            training=_cast(self.training, int(run.dataset_size), dtype),
            held_out=_cast(self.held_out, len(self.held_out), dtype),
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
        alone = self._over_probes("loss", _Loss(model, self.user.loss), 1)
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
                if not torch.allclose(one[0], other[k], rtol=SAME, atol=SAME * float(one.abs().max())):
                    reason = f"the gradients of {name} differ from those of one probe at a time"
        if reason:
            raise ProbeError(f"{self.source.name} cannot be batched: {reason}. Drop --task-option batch={self.batch}")

    def _over_probes(self, part: str, module: _Loss, probes: int) -> Callable[[Weights, Batch], Tensor]:
        """The module's value for weights with a leading probe axis: (K,). One probe as it is, more through vmap."""

        def one(weights: Weights, inputs: Tensor, targets: Tensor) -> Any:
            return functional_call(
                module, {f"model.{name}": weight for name, weight in weights.items()}, (inputs, targets)
            )

        def alone(weights: Weights, batch: Batch) -> Tensor:
            value = one({name: weight[0] for name, weight in weights.items()}, batch[0][0], batch[1][0])
            return self.user.mean(value, part).reshape(1)

        if probes == 1:
            return alone
        batched = torch.func.vmap(one)
        return lambda weights, batch: batched(dict(weights), *batch)


def _cast(rows: Rows, size: int, dtype: torch.dtype) -> Rows:
    """The first examples, fractions in the precision of the weights."""
    return Rows(*(t[:size].to(dtype) if t.is_floating_point() else t[:size] for t in (rows.inputs, rows.targets)))
