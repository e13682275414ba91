"""Next-byte prediction with a small GPT on text that is read many times."""

import hashlib
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adamw_scale.errors import SpecError
from adamw_scale.probe.corpus import load_corpus
from adamw_scale.probe.models import GPT
from adamw_scale.probe.trainer import TorchTask
from adamw_scale.spec import TrainingRun
from adamw_scale.units import format_count

VERSION = "1"  # raise it when a change to model, data order or optimizer changes losses: stored probes then run again
VOCABULARY = 256
HEAD_SIZE = 32
EVALUATION_BATCH = 256
MAX_WIDTH, MAX_DEPTH, MAX_CONTEXT, MAX_STEPS = 4096, 64, 2048, 10_000_000

Batch = tuple[Tensor, Tensor]


class CharLM(TorchTask):
    """GPT on bytes: by default width 32, 2 layers, context 32, 16 KiB read 32 times.

    Chosen because its loss has a clear minimum in the timescale (one pass over more text lies on a
    plateau) and a probe takes seconds on one core. Loss is in nats per byte.
    """

    name: ClassVar[str] = "char-lm"

    def __init__(self, data: str | None) -> None:
        self.corpus = load_corpus(data)

    def default_run(self, overrides: dict[str, Any]) -> TrainingRun:
        """16 KiB x 32 epochs, 8 windows of 32 bytes a step, lr 2e-3, 10 % warm-up, linear to zero.

        Raises:
            SpecError: not a language model trained from scratch in standard parametrization, a
                batch that is not whole windows, or more data than the corpus has.
        """
        run = TrainingRun.model_validate(
            {
                "unit": "tokens",
                "dataset_size": 16 * 1024,
                "epochs": 32,
                "batch_size": 256,
                "peak_lr": 2e-3,
                "schedule": "linear",
                "width": 32,
                "depth": 2,
                "sequence_length": 32,
                **({} if {"warmup_fraction", "warmup_steps"} & overrides.keys() else {"warmup_fraction": 0.1}),
                **overrides,
            }
        )
        _refuse_other_trainings(run)
        _refuse_other_shapes(run)
        available = len(self.corpus.training) - 1
        if run.dataset_size > available:
            raise SpecError(
                f"dataset_size = {format_count(run.dataset_size)} is more than the {format_count(available)} bytes "
                f"of {self.corpus.name} that are left to train on: lower --dataset-size"
            )
        if len(self.corpus.held_out) <= (run.sequence_length or 0):
            raise SpecError(
                f"sequence_length = {run.sequence_length:g} is longer than the {len(self.corpus.held_out)} bytes held out: "
                "lower --sequence-length or pass a longer text with --data"
            )
        with torch.device("meta"):
            num_params = sum(parameter.numel() for parameter in self.model(run).parameters())
        return run.model_copy(update={"num_params": float(num_params)})

    def identity(self, run: TrainingRun) -> dict[str, str]:
        """Task, version of its training, and a hash of the exact bytes trained on and held out."""
        content = hashlib.sha256(self.corpus.training[: int(run.dataset_size) + 1])
        content.update(self.corpus.held_out)
        return {"name": self.name, "version": VERSION, "data_sha256": content.hexdigest()[:16]}

    def describe_data(self, run: TrainingRun) -> str:
        """How much of what is trained on."""
        return (
            f"training on {format_count(run.dataset_size)} of {format_count(len(self.corpus.training))} bytes of "
            f"{self.corpus.name}, {format_count(len(self.corpus.held_out) - 1)} bytes held out"
        )

    def model(self, run: TrainingRun) -> nn.Module:
        """The GPT of the run's width, depth and context."""
        return GPT(
            vocabulary=VOCABULARY,
            width=int(run.width or 0),
            depth=int(run.depth or 0),
            context=int(run.sequence_length or 0),
            head_size=HEAD_SIZE,
        )

    def batches(self, run: TrainingRun, seed: int, device: str) -> Iterator[Batch]:
        """Windows in a new random order each epoch: two integer tensors of shape (batch, context)."""
        inputs, targets = _windows(self.corpus.training[: int(run.dataset_size) + 1], run, device)
        size = int(run.batch_size / (run.sequence_length or 1))
        generator = torch.Generator().manual_seed(seed)
        order = torch.empty(0, dtype=torch.long)
        while True:
            if len(order) < size:
                order = torch.cat([order, torch.randperm(len(inputs), generator=generator)])
            index, order = order[:size].to(device), order[size:]
            yield inputs[index], targets[index]

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy, nats per byte."""
        inputs, targets = batch
        return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())

    def held_out_loss(self, model: nn.Module, run: TrainingRun) -> float:
        """Cross-entropy over every held-out window, nats per byte."""
        device = str(next(model.parameters()).device)
        inputs, targets = _windows(self.corpus.held_out, run, device)
        total = 0.0
        for start in range(0, len(inputs), EVALUATION_BATCH):
            x, y = inputs[start : start + EVALUATION_BATCH], targets[start : start + EVALUATION_BATCH]
            total += F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum").item()
        return total / targets.numel()


def _windows(text: bytes, run: TrainingRun, device: str) -> Batch:
    """Consecutive windows and the bytes that follow, each of shape (windows, context)."""
    context = int(run.sequence_length or 1)
    count = (len(text) - 1) // context
    data = torch.frombuffer(bytearray(text[: count * context + 1]), dtype=torch.uint8).long().to(device)
    return data[:-1].view(count, context), data[1:].view(count, context)


def _refuse_other_trainings(run: TrainingRun) -> None:
    """This task trains a language model from scratch and sets λ itself."""
    for field, only in (
        ("unit", "tokens"),
        ("parametrization", "standard"),
        ("task", "pretraining"),
        ("convention", "pytorch"),
    ):
        if getattr(run, field) != only:
            raise SpecError(f"task char-lm trains with {field} {only!r} only, not {getattr(run, field)!r}")
    for field in ("num_params", "weight_decay"):
        if getattr(run, field) is not None:
            raise SpecError(f"calibrating sets {field} itself: drop it (the model is set by --width and --depth)")


def _refuse_other_shapes(run: TrainingRun) -> None:
    """Whole numbers of heads, layers and windows, of a size that deserves the name probe."""
    width, depth, context = run.width or 0.0, run.depth or 0.0, run.sequence_length or 0.0
    if width != int(width) or (width > HEAD_SIZE and width % HEAD_SIZE):
        raise SpecError(
            f"width = {width:g}: the heads are {HEAD_SIZE} wide. Pass a multiple of {HEAD_SIZE} with --width"
        )
    if width > MAX_WIDTH:
        raise SpecError(f"width = {width:g} is not a small model: pass at most {MAX_WIDTH} with --width")
    if depth != int(depth) or depth > MAX_DEPTH:
        raise SpecError(f"depth = {depth:g}: pass a whole number up to {MAX_DEPTH} with --depth")
    if context != int(context) or context > MAX_CONTEXT:
        raise SpecError(
            f"sequence_length = {context:g}: pass a whole number up to {MAX_CONTEXT} with --sequence-length"
        )
    if run.dataset_size < context:
        raise SpecError(
            f"dataset_size = {run.dataset_size:g} bytes holds no window of {context:g}: raise --dataset-size"
        )
    if run.total_steps > MAX_STEPS:
        raise SpecError(
            f"a probe of {format_count(run.total_steps)} steps is no probe: lower --epochs or --dataset-size "
            f"(at most {format_count(MAX_STEPS)} steps)"
        )
    if run.batch_size % context:
        raise SpecError(
            f"batch_size = {run.batch_size:g} bytes is not whole windows of {context:g}: pass a multiple with --batch-size"
        )
