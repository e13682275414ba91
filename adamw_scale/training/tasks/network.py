"""Tasks that train a built-in network: data, an architecture and a loss; the trainer does the rest."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from adamw_scale.errors import ProbeError, SpecError
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.spec.run import TrainingRun
from adamw_scale.training.data.dataset import Examples, RowData, TokenData
from adamw_scale.training.models.model import Model, Scaling, Weights
from adamw_scale.training.tasks.task import Listener, TaskSource
from adamw_scale.training.trainer import Batch, Problem, normal_initial, train
from adamw_scale.units import format_count

VERSION = "3"  # raise it when a change to models, data order or optimizer changes losses: stored probes then run again
MAX_STEPS = 10_000_000
# On one CPU core, more probes at once pay while the kernels of one are too small to keep the core busy: measured
# in tests/benchmarks/probes.py. On CUDA free memory decides, up to where an H100 should be full.
CPU_BATCHES = ((50_000, 16), (90_000, 4), (1_000_000, 8))  # (parameters, probes at once)
CUDA_BATCH = 64

Fields = Mapping[str, Any]
LossOf = Callable[[Weights, Batch], Tensor]
MetricsOf = Callable[[Weights, Batch], Mapping[str, Tensor]]


class NetworkTask(ABC):
    """A task whose network is one of `probe.models`, trained many probes at a time.

    A subclass names its data and its architecture; what all share is here: which runs can be probed, the
    content hash of the data, and the problem the trainer solves.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    defaults: ClassVar[Fields]  # fields of the run that probes make, where the user says nothing
    widest: ClassVar[int] = 4096
    deepest: ClassVar[int] = 64

    def __init__(self, source: TaskSource) -> None:
        self.source = source
        self.data = self.read(source)

    @abstractmethod
    def read(self, source: TaskSource) -> TokenData | RowData:
        """The user's data, or the default; refuses options it does not know."""

    @abstractmethod
    def network(self, run: TrainingRun) -> Model:
        """The architecture of a run's width, depth and parametrization."""

    @abstractmethod
    def problem(self, run: TrainingRun) -> Problem:
        """What the trainer needs, for the run's data set."""

    @abstractmethod
    def refuse_shapes(self, run: TrainingRun) -> None:
        """SpecError for a run whose shapes this network cannot have."""

    def default_run(self, overrides: dict[str, Any]) -> TrainingRun:
        """The task's defaults with the user's changes, and the parameters that makes.

        Raises:
            SpecError: not a training from scratch, a size that is not whole, more data than there are, or a
                model or run that is no probe.
        """
        warmup = {} if {"warmup_fraction", "warmup_steps"} & overrides.keys() else {"warmup_fraction": 0.1}
        run = TrainingRun.model_validate({"unit": self.unit, **self.defaults, **warmup, **overrides})
        self._refuse_other_trainings(run)
        self._refuse_other_sizes(run)
        self.refuse_shapes(run)
        return run.model_copy(update={"num_params": float(self.network(run).num_params)})

    def _refuse_other_trainings(self, run: TrainingRun) -> None:
        for field, only in (("unit", self.unit), ("task", "pretraining"), ("convention", "pytorch")):
            if getattr(run, field) != only:
                raise SpecError(f"task {self.name} trains with {field} {only!r} only, not {getattr(run, field)!r}")
        for field in ("num_params", "weight_decay"):
            if getattr(run, field) is not None:
                raise SpecError(f"calibrating sets {field} itself: drop it (the model is set by --width and --depth)")

    def _refuse_other_sizes(self, run: TrainingRun) -> None:
        for field, most in (("width", self.widest), ("depth", self.deepest)):
            value = getattr(run, field) or 0.0
            if value != int(value) or not 1 <= value <= most:
                raise SpecError(f"{field} = {value:g}: pass a whole number from 1 to {most} with --{field}")
        if run.dataset_size > self.data.size:
            raise SpecError(
                f"dataset_size = {format_count(run.dataset_size)} is more than the {format_count(self.data.size)} "
                f"{run.unit} of {self.data.name} that are left to train on: lower --dataset-size"
            )
        if run.total_steps > MAX_STEPS:
            raise SpecError(
                f"a probe of {format_count(run.total_steps)} steps is no probe: lower --epochs or --dataset-size "
                f"(at most {format_count(MAX_STEPS)} steps)"
            )

    def identity(self, run: TrainingRun) -> dict[str, str]:
        """Task, its options, version of the training, and a hash of the exact data trained on and held out."""
        return {
            "name": self.name,
            "version": VERSION,
            "data_sha256": self.data.sha256(run.dataset_size),
            **self.source.options,
        }

    def describe_data(self, run: TrainingRun) -> str:
        """How much of what is trained on, and how much is held out."""
        return (
            f"training on {format_count(run.dataset_size)} of {format_count(self.data.size)} {run.unit} of "
            f"{self.data.name}, {format_count(self.data.held_out_size)} held out"
        )

    def require_device(self, device: str) -> None:
        """Refuse to start what could not run: ProbeError where torch does not have the device."""
        require_device(device)

    def cohort_limit(self, run: TrainingRun, device: str) -> int:
        """Probes at once: by model size on a CPU, by memory (in the trainer) on CUDA."""
        if device == "cuda":
            return CUDA_BATCH
        return next((count for largest, count in CPU_BATCHES if (run.num_params or 0.0) <= largest), 1)

    def train(self, configs: Sequence[ProbeConfig], listener: Listener) -> list[ProbeResult]:
        """Train probes to the end of their schedules and evaluate them on held-out data.

        Weight decay, learning rate and eps of each parameter group follow the run's parametrization.

        Raises:
            ProbeError: the device is not there, or the task's data are not those of the configurations.
        """
        run = configs[0].run
        self.require_device(configs[0].device)
        refuse_other_data(self.identity(run), configs[0])
        return train(self.problem(run), configs, listener, self.source.folder)


def require_device(device: str) -> None:
    """ProbeError where torch does not have the device."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ProbeError("--device cuda: torch finds no CUDA device here. Use --device cpu, or a CUDA build of torch")


def refuse_other_data(identity: dict[str, str], config: ProbeConfig) -> None:
    """ProbeError where the data at hand are not those a probe was planned on."""
    if identity != config.task:
        raise ProbeError(f"the data at hand are not those of the probe ({config.task}): calibrate into another --out")


def class_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats, mean over each probe's examples: logits (K, ..., classes), targets (K, ...) -> (K,)."""
    rows = logits.reshape(-1, logits.shape[-1])
    rows = rows.float() if rows.dtype == torch.bfloat16 else rows
    losses = F.cross_entropy(rows, targets.flatten(), reduction="none")
    return losses.view(len(logits), -1).mean(1)


def classification(model: Model) -> tuple[LossOf, MetricsOf]:
    """Cross-entropy to train on; held out also the share of wrong answers, "error"."""

    def loss(weights: Weights, batch: Batch) -> Tensor:
        inputs, targets = batch
        return class_losses(model.forward(weights, inputs), targets)

    def metrics(weights: Weights, batch: Batch) -> dict[str, Tensor]:
        inputs, targets = batch
        logits = model.forward(weights, inputs)
        wrong = (logits.argmax(-1) != targets).double().flatten(1).mean(1)
        return {"loss": class_losses(logits, targets), "error": wrong}

    return loss, metrics


def regression(model: Model) -> tuple[LossOf, MetricsOf]:
    """Mean squared error, to train on and held out."""

    def loss(weights: Weights, batch: Batch) -> Tensor:
        inputs, targets = batch
        outputs = model.forward(weights, inputs).squeeze(-1)
        return (
            (outputs.float() - targets if outputs.dtype == torch.bfloat16 else outputs - targets)
            .square()
            .flatten(1)
            .mean(1)
        )

    def metrics(weights: Weights, batch: Batch) -> dict[str, Tensor]:
        return {"loss": loss(weights, batch)}

    return loss, metrics


def problem_of(
    model: Model,
    run: TrainingRun,
    functions: tuple[LossOf, MetricsOf],
    examples: tuple[Examples, Examples],
    per_step: int,
) -> Problem:
    """The trainer's problem: a network, what it minimises and measures, training and held-out examples."""
    loss, metrics = functions
    training, held_out = examples
    return Problem(
        parameters=model.parameters,
        groups=Scaling.of(run).groups,
        initial=partial(normal_initial, model.parameters),
        loss=loss,
        metrics=metrics,
        training=training,
        held_out=held_out,
        examples_per_step=per_step,
    )
