"""One probe, plainly: torch.optim.AdamW on a torch.nn.Module. The reference for every faster engine.

On the CPU a probe runs on one thread with seeded generators, so the same configuration gives the
same bits on the same machine, whichever process runs it. On CUDA, float32 matrices are multiplied in
float32 (no TF32); some kernels add in any order, so bits may differ there from run to run.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from adamw_scale.errors import ProbeError
from adamw_scale.probe.plan import ProbeConfig, ProbeResult
from adamw_scale.probe.tasks.task import Progress
from adamw_scale.spec import TrainingRun

REPORTS_PER_PROBE = 20


class TorchTask(ABC):
    """A task that is data, a torch module and a loss; training them is the same for all."""

    @abstractmethod
    def identity(self, run: TrainingRun) -> dict[str, str]:
        """As for every `Task`."""

    @abstractmethod
    def model(self, run: TrainingRun) -> nn.Module:
        """A freshly initialised model, from torch's global generator."""

    @abstractmethod
    def batches(self, run: TrainingRun, seed: int, device: str) -> Iterator[Any]:
        """Endless training batches, in an order fixed by the seed."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Mean training loss of a batch, a scalar."""

    @abstractmethod
    def held_out_loss(self, model: nn.Module, run: TrainingRun) -> float:
        """Loss on all held-out data."""

    def require_device(self, device: str) -> None:
        """Refuse to start what could not run: ProbeError where torch does not have the device."""
        if device == "cuda" and not torch.cuda.is_available():
            raise ProbeError(
                "--device cuda: torch finds no CUDA device here. Use --device cpu, or a CUDA build of torch"
            )

    def train(self, config: ProbeConfig, progress: Progress) -> ProbeResult:
        """Train one probe to the end of its schedule and evaluate it on held-out data.

        Step t of S uses the multiplier at the middle of its stretch of the schedule, (t + 1/2) / S.
        Weight decay acts on tensors of two and more dimensions.

        Args:
            config: What to train.
            progress: Called now and then with (steps done, steps in all, training loss).

        Raises:
            ProbeError: the device is not there, or the task's data are not those of the configuration.
        """
        self.require_device(config.device)
        if self.identity(config.run) != config.task:
            raise ProbeError(
                f"the data at hand are not those of the probe ({config.task}): calibrate into another --out"
            )
        started = time.perf_counter()
        with _reproducible(config.seed):
            model = self.model(config.run).to(config.device)
            loss = _optimize(self, config, model, progress)
            if math.isfinite(loss):
                with torch.no_grad():
                    loss = self.held_out_loss(model, config.run)
        finite = math.isfinite(loss)
        return ProbeResult(
            key=config.key,
            config=config,
            status="done" if finite else "diverged",
            loss=loss if finite else None,
            seconds=time.perf_counter() - started,
        )


def _optimize(task: TorchTask, config: ProbeConfig, model: nn.Module, progress: Progress) -> float:
    """Run every step; returns the last training loss, or the first one that is not finite."""
    run, schedule, decay = config.run, config.run.lr_schedule, config.run.decay_schedule
    optimizer = torch.optim.AdamW(
        _param_groups(model, run.current_weight_decay), betas=run.betas, eps=run.eps, fused=True
    )
    decays = [group["weight_decay"] for group in optimizer.param_groups]
    steps = round(run.total_steps)
    batches = task.batches(run, config.seed, config.device)
    every = max(1, steps // REPORTS_PER_PROBE)
    value = math.inf
    for step in range(steps):
        progress_now = (step + 0.5) / steps
        for group, weight_decay in zip(optimizer.param_groups, decays, strict=True):
            group["lr"] = run.lr * schedule.multiplier(progress_now)
            group["weight_decay"] = weight_decay * decay.own(progress_now)
        loss = task.loss(model, next(batches))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves Tensor.backward untyped
        optimizer.step()
        if (step + 1) % every == 0 or step + 1 == steps:
            value = loss.item()
            if not math.isfinite(value):
                return value
            progress(step + 1, steps, value)
    return value


def _param_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Seed torch and pin what would change the bits; give the caller its settings back."""
    threads = torch.get_num_threads()
    tf32 = torch.backends.cuda.matmul.allow_tf32
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = tf32
