"""Trains K probes at once: a leading probe axis in every tensor, one flat AdamW; says which diverged.

On a CPU the trainer runs in one thread, and a probe's bits do not depend on which probes it is trained beside,
so the same configuration gives the same bits on the same machine, whichever process runs it.
On CUDA the whole step is captured in a graph, data and schedule are on the device, and nothing is read back
between reports. Some kernels there add in any order, so bits may differ from run to run.

Matrices are multiplied in the configuration's precision: float32 means float32 (no TF32); tf32 and bfloat16
(autocast; weights and optimizer stay float32) are for those who ask for them.
"""

import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adamw_scale.errors import ProbeError
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory.parametrizations import Multipliers
from adamw_scale.training.checkpoint import Checkpoint, State
from adamw_scale.training.data.dataset import Examples
from adamw_scale.training.models.model import Parameter, Weights
from adamw_scale.training.optimizer import Layout, optimizer_of
from adamw_scale.training.tasks.task import Listener, Progress

REPORTS_PER_PROBE = 40
LONGEST_STRETCH = 1024  # steps whose data order and schedule lie ready on the device
HELD_OUT_BATCH = 64
WARM_UPS = 3  # steps before a CUDA graph is captured
SPARE_MEMORY = 0.85  # of a GPU's free memory that probes may take
NO_CPU_MEMORY = "can't allocate memory"  # torch's words; it has no class of error for it
SECONDS_PER_STRETCH = 10.0  # between checks whether a checkpoint is due

Batch = tuple[Tensor, Tensor]
Report = tuple[int, list[float]]  # step, training loss of each probe


@dataclass(frozen=True)
class Problem:
    """What is trained: weights and how they start, examples, what is minimised and what is measured.

    `initial` gives a seed's weights in the order of `parameters`. `loss` and `metrics` take weights with a leading
    probe axis and a batch, and return means over the batch, of shape (K,). `buffers` are what a module keeps beside
    its weights, for checkpoints.
    """

    parameters: Sequence[Parameter]
    groups: Mapping[str, Multipliers]
    initial: Callable[[int], Sequence[Tensor]]
    loss: Callable[[Weights, Batch], Tensor]
    metrics: Callable[[Weights, Batch], Mapping[str, Tensor]]
    training: Examples
    held_out: Examples
    examples_per_step: int
    buffers: Mapping[str, Tensor] = field(default_factory=dict)


def normal_initial(parameters: Sequence[Parameter], seed: int) -> list[Tensor]:
    """Draw each weight from its normal distribution, in order, from a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    return [p.mean + p.std * torch.randn(p.shape, generator=generator) for p in parameters]


def train(
    problem: Problem, configs: Sequence[ProbeConfig], listener: Listener, folder: str | None = None
) -> list[ProbeResult]:
    """Train probes to the end of their schedules and measure them on held-out data.

    Args:
        problem: What is trained.
        configs: Probes that differ in lr, weight decay, schedule, betas, eps or seed only.
        listener: Told now and then how far each probe is.
        folder: Where checkpoints are kept; None for none.

    Returns:
        One result for each configuration, in order.

    Raises:
        ProbeError: not even one probe fits into memory.
    """
    limit = _affordable(problem, configs[0]) if configs[0].device == "cuda" else len(configs)
    parts = -(-len(configs) // limit)
    cuts = [len(configs) * i // parts for i in range(parts + 1)]
    return [
        result
        for start, stop in pairwise(cuts)
        for result in _train_what_fits(problem, configs[start:stop], listener, folder)
    ]


def _affordable(problem: Problem, config: ProbeConfig) -> int:
    """How many probes the GPU's free memory holds, from what a step of one and of two takes."""
    peaks = []
    with reproducible(config):
        free, _ = torch.cuda.mem_get_info()
        for count in (1, 2):
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            try:
                _Training(problem, [config] * count).try_out()
            except torch.OutOfMemoryError:
                return 1
            peaks.append(torch.cuda.max_memory_allocated() - before)
    one, two = peaks
    return 1 + max(0, int((SPARE_MEMORY * free - one) / max(1, two - one)))


def _train_what_fits(
    problem: Problem, configs: Sequence[ProbeConfig], listener: Listener, folder: str | None
) -> list[ProbeResult]:
    """Train a cohort; where memory runs out, its halves."""
    try:
        return _train_cohort(problem, configs, listener, folder)
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and NO_CPU_MEMORY not in str(error):
            raise
        if len(configs) == 1:
            raise ProbeError(
                f"a single probe does not fit into the memory of {configs[0].device}: "
                "lower --width, --depth or --batch-size"
            ) from None
    if configs[0].device == "cuda":
        torch.cuda.empty_cache()
    half = len(configs) // 2
    return [
        result
        for part in (configs[:half], configs[half:])
        for result in _train_what_fits(problem, part, listener, folder)
    ]


def _train_cohort(
    problem: Problem, configs: Sequence[ProbeConfig], listener: Listener, folder: str | None
) -> list[ProbeResult]:
    started = time.perf_counter()
    with reproducible(configs[0]):
        training = _Training(problem, configs)
        checkpoint = Checkpoint(folder, configs)
        if state := checkpoint.load():
            training.restore(state)
        before = training.seconds
        for reports in training.stretches():
            for step, losses in reports:
                for config, loss in zip(configs, losses, strict=True):
                    listener(Progress(config, step, training.steps, loss))
            training.seconds = before + time.perf_counter() - started
            if checkpoint.due:
                checkpoint.save(training.state)
        metrics = training.held_out_metrics()
        checkpoint.delete()
    seconds = (before + time.perf_counter() - started) / len(configs)
    return [
        _result(config, {name: float(values[k]) for name, values in metrics.items()}, training.curve(k), seconds)
        for k, config in enumerate(configs)
    ]


def _result(
    config: ProbeConfig, metrics: dict[str, float], curve: tuple[tuple[int, float], ...], seconds: float
) -> ProbeResult:
    finite = all(math.isfinite(value) for value in metrics.values()) and all(math.isfinite(loss) for _, loss in curve)
    return ProbeResult(
        key=config.key,
        config=config,
        status="done" if finite else "diverged",
        loss=metrics.pop("loss") if finite else None,
        metrics=metrics if finite else {},
        curve=tuple(point for point in curve if math.isfinite(point[1])),
        seconds=seconds,
        machine=_machine(config.device),
    )


class _Training:
    """K probes in training: weights, optimizer, and the stretch of steps that lies ready on the device."""

    def __init__(self, problem: Problem, configs: Sequence[ProbeConfig]) -> None:
        self.problem = problem
        self.configs = configs
        self.device = torch.device(configs[0].device)
        self.steps = max(1, round(configs[0].run.total_steps))
        self.seconds = 0.0
        self.step = 0
        self.training = problem.training.to(str(self.device))
        self.layout = Layout.of(problem.parameters, problem.groups)
        dtype = torch.float64 if configs[0].precision == "float64" else torch.float32
        self.weights = self._initial(dtype).to(self.device)
        views = self.layout.views(self.weights)
        self.views = {name: view.detach().requires_grad_() for name, view in views.items()}
        self.optimizer = optimizer_of(self.weights, self.layout)
        count, examples = len(configs), problem.examples_per_step
        self.reports = min(self.steps, REPORTS_PER_PROBE)
        self._longest = min(LONGEST_STRETCH, -(-self.steps // self.reports))
        self._row = torch.zeros(1, dtype=torch.long, device=self.device)
        self._losses = torch.zeros(self._longest, count, dtype=dtype, device=self.device)
        self._order = torch.zeros(self._longest, count, examples, dtype=torch.long, device=self.device)
        self._coefficients = self.optimizer.coefficients(self._runs, 0, 1).repeat(self._longest, 1, 1, 1)
        self._curve: list[Report] = []
        self._pending: list[list[float]] = []  # losses of the steps since the last report
        self._advance: Callable[[], None] = self._eager_step

    def _initial(self, dtype: torch.dtype) -> Tensor:
        names = [parameter.name for parameter in self.problem.parameters]
        rows: dict[int, Tensor] = {}
        for seed in dict.fromkeys(config.seed for config in self.configs):
            drawn = dict(zip(names, self.problem.initial(seed), strict=True))
            rows[seed] = torch.cat([drawn[parameter.name].flatten() for parameter in self.layout.parameters])
        flat = torch.zeros(len(self.configs), self.layout.size, dtype=dtype)
        for k, config in enumerate(self.configs):
            flat[k, : self.layout.used] = rows[config.seed]
        return flat

    @property
    def _runs(self) -> list[TrainingRun]:
        return [config.run for config in self.configs]

    def curve(self, k: int) -> tuple[tuple[int, float], ...]:
        """A probe's training loss: (step, mean over the steps since the point before)."""
        return tuple((step, losses[k]) for step, losses in self._curve)

    def stretches(self) -> Iterator[list[Report]]:
        """Train to the end; yields the reports of each stretch of steps. Ends early where every probe diverged."""
        if self.device.type == "cuda" and self.step < self.steps:
            self._advance = self._captured()
        count = 1
        while self.step < self.steps:
            stop = min(self.step + min(count, self._longest), self._report_at(self._due(self.step) + 1))
            started = time.perf_counter()
            self._prepare(self.step, stop)
            for _ in range(stop - self.step):
                self._advance()
            self._pending += self._losses[: stop - self.step].double().tolist()
            count = max(1, int((stop - self.step) * SECONDS_PER_STRETCH / (time.perf_counter() - started)))
            self.step = stop
            yield self._reports()
            if self._curve and not any(map(math.isfinite, self._curve[-1][1])):
                return

    def _due(self, step: int) -> int:
        """How many reports are due by a step."""
        return step * self.reports // self.steps

    def _report_at(self, number: int) -> int:
        """The step of a report: all are means over as many steps, or one more."""
        return -(-number * self.steps // self.reports)

    def _reports(self) -> list[Report]:
        """The mean losses since the last report, where one is due."""
        if self.step != self._report_at(self._due(self.step)):
            return []
        means = [math.fsum(column) / len(column) for column in zip(*self._pending, strict=True)]
        self._curve.append((self.step, means))
        self._pending.clear()
        return self._curve[-1:]

    def _prepare(self, start: int, stop: int) -> None:
        """Lay data order and coefficients of these steps on the device."""
        order = [
            _order(config.seed, len(self.training), self.problem.examples_per_step, start, stop)
            for config in self.configs
        ]
        self._order[: stop - start] = torch.from_numpy(np.stack(order, axis=1)).to(self.device)
        self._coefficients[: stop - start] = self.optimizer.coefficients(self._runs, start, stop)
        self._row.zero_()

    def try_out(self) -> None:
        """One step, for what it takes."""
        self._prepare(0, 1)
        self._eager_step()

    def _eager_step(self) -> None:
        """One step of all probes; everything it needs lies at `_row` of what is on the device."""
        index = self._order.index_select(0, self._row)[0]
        with self._precision():
            losses = self.problem.loss(self.views, self.training.take(index))
        gradients = torch.autograd.grad(losses.sum(), list(self.views.values()), materialize_grads=True)
        with torch.no_grad():
            self.optimizer.step(self._coefficients.index_select(0, self._row)[0], gradients)
            self._losses.index_copy_(0, self._row, losses.detach().to(self._losses.dtype).unsqueeze(0))
            self._row.add_(1)

    def _captured(self) -> Callable[[], None]:
        """The step as a CUDA graph; weights and optimizer are as before it was captured."""
        kept = {name: tensor.clone() for name, tensor in self._tensors().items()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                self.try_out()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        self._row.zero_()
        with torch.cuda.graph(graph):
            self._eager_step()
        for name, tensor in self._tensors().items():
            tensor.copy_(kept[name])
        return graph.replay

    def held_out_metrics(self) -> dict[str, Tensor]:
        """Means over all held-out examples, of shape (K,), in float64. Batches are the same for every K."""
        held_out = self.problem.held_out.to(str(self.device))
        totals: dict[str, Tensor] = {}
        for start in range(0, len(held_out), HELD_OUT_BATCH):
            index = torch.arange(start, min(start + HELD_OUT_BATCH, len(held_out)), device=self.device)
            batch = held_out.take(index.expand(len(self.configs), -1))
            with torch.no_grad(), self._precision():
                means = self.problem.metrics(self.views, batch)
            for name, mean in means.items():
                totals[name] = totals.get(name, 0.0) + mean.double() * len(index)
        return {name: (total / len(held_out)).cpu() for name, total in totals.items()}

    def _precision(self) -> torch.autocast:
        return torch.autocast(
            self.device.type,
            torch.bfloat16,
            enabled=self.configs[0].precision == "bfloat16",
            cache_enabled=False,  # a captured graph must cast anew at every replay
        )

    def _tensors(self) -> dict[str, Tensor]:
        return {
            "weights": self.weights,
            "first_moment": self.optimizer.first_moment,
            "second_moment": self.optimizer.second_moment,
            **{f"buffers.{name}": buffer for name, buffer in self.problem.buffers.items()},
        }

    def state(self) -> State:
        """All that continuing needs."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "curve": self._curve,
            "pending": self._pending,
            "rng": torch.get_rng_state(),
            **self._tensors(),
        }

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self.step, self.seconds = state["step"], state["seconds"]
        self._curve, self._pending = state["curve"], state["pending"]
        torch.set_rng_state(state["rng"])
        for name, tensor in self._tensors().items():
            tensor.copy_(state[name])


def _order(seed: int, examples: int, batch: int, start: int, stop: int) -> NDArray[np.int64]:
    """Which examples steps start to stop train on: (stop - start, batch). Every epoch is a new permutation."""
    first, last = start * batch // examples, (stop * batch - 1) // examples
    stream = np.concatenate(
        [np.random.default_rng((seed, epoch)).permutation(examples) for epoch in range(first, last + 1)]
    )
    offset = start * batch - first * examples
    return stream[offset : offset + (stop - start) * batch].reshape(stop - start, batch)


def _machine(device: str) -> dict[str, str]:
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    return {"device": name, "torch": torch.__version__}


@contextmanager
def reproducible(config: ProbeConfig) -> Iterator[None]:
    """Seed torch and pin what would change the bits; give the caller its settings back."""
    threads = torch.get_num_threads()
    precision = torch.get_float32_matmul_precision()
    convolutions, deterministic = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    tf32 = config.precision == "tf32"
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = tf32, True
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(config.seed)
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = convolutions, deterministic
