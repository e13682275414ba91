"""How many probe steps a second? Serial torch.optim.AdamW against two processes, batches, both, and Optuna.

    python tests/benchmarks/probes.py                      # two or more CPU cores
    python tests/benchmarks/probes.py --device cuda        # one GPU: batches of 1 to 64, bfloat16 too

Every way trains the same networks on the same data with warm-up and linear decay, one thread a process. A ratio is
to the best serial way (fused, or foreach, on one thread or two) of the same run. Median over --repeats, which are
interleaved, so that what else the machine does falls on all alike. Steps are counted for every probe: a step of
8 probes at once is 8. "automatic" is what `calibrate` does by itself.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from plain_modules import Plain, PlainGPT, PlainMLP

from adamw_scale.probe.engines.engine import in_cohorts
from adamw_scale.spec.measurement import ProbeConfig
from adamw_scale.training.models.model import Scaling
from adamw_scale.training.tasks import load_task
from adamw_scale.training.tasks.task import Progress, Task, TaskSource

PROCESSES = 2
TFLOPS = {"float32": 66.9, "bfloat16": 989.4}  # dense peak of an H100 SXM, NVIDIA's data sheet


@dataclass(frozen=True)
class Workload:
    """A network and its data."""

    name: str
    task: str
    run: dict[str, Any]
    steps_per_second: float  # of one serial process, roughly: how long to train


CPU = (
    Workload("MLP 64", "mlp", {"width": 64, "batch_size": 64, "dataset_size": 1280}, 2000),
    Workload("MLP 256", "mlp", {"width": 256, "batch_size": 64, "dataset_size": 1280}, 1000),
    Workload("GPT 32", "char-lm", {"width": 32}, 400),
    Workload("GPT 64", "char-lm", {"width": 64, "sequence_length": 64, "batch_size": 512}, 120),
    Workload("GPT 128", "char-lm", {"width": 128, "sequence_length": 64, "batch_size": 512}, 40),
)
CUDA = (
    Workload("MLP 64", "mlp", {"width": 64, "batch_size": 64, "dataset_size": 1280}, 2000),
    Workload("GPT 64", "char-lm", {"width": 64, "sequence_length": 64, "batch_size": 512}, 1000),
    Workload(
        "GPT 256, 4 layers", "char-lm", {"width": 256, "depth": 4, "sequence_length": 256, "batch_size": 4096}, 400
    ),
)


class Probes:
    """One workload's task, ready to train any number of probes for about some seconds."""

    def __init__(self, workload: Workload, seconds: float, device: str, precision: str = "float32") -> None:
        self.task: Task = load_task(TaskSource(workload.task))
        size = float(workload.run.get("dataset_size", 16384))
        batch = float(workload.run.get("batch_size", 256))
        self.run = self.task.default_run({**workload.run, "epochs": 1})
        steps = max(40, int(seconds * workload.steps_per_second))
        self.run = self.task.default_run({**workload.run, "epochs": steps * batch / size})
        self.device, self.precision = device, precision
        self.identity = self.task.identity(self.run)

    def configs(self, count: int) -> list[ProbeConfig]:
        """Probes that differ in weight decay."""
        return [
            ProbeConfig(
                task=self.identity,
                run=self.run.model_copy(update={"weight_decay": 0.01 * 1.1**i}),
                seed=0,
                device=self.device,  # type: ignore[arg-type]
                precision=self.precision,  # type: ignore[arg-type]
            )
            for i in range(count)
        ]

    def plain(self) -> Plain:
        """The same network as anyone would write it."""
        run, scaling = self.run, Scaling.of(self.run)
        width, depth = int(run.width or 0), int(run.depth or 0)
        if run.unit == "tokens":
            return PlainGPT(scaling, 256, width, depth, int(run.sequence_length or 0))
        return PlainMLP(scaling, 64, width, depth, 10)

    def batched(self, count: int) -> float:
        """Steps a second of `count` probes at once, between the report after the warm-up steps and the last."""
        seen: list[tuple[float, int]] = []

        def listener(news: Progress) -> None:
            seen.append((time.perf_counter(), news.step))

        self.task.train(self.configs(count), listener)
        warm = _warm_up(round(self.run.total_steps))
        (start, first) = [report for report in seen if report[1] == next(s for _, s in seen if s >= warm)][-1]
        (stop, last) = seen[-1]
        return count * (last - first) / (stop - start)

    def serial(self, implementation: str, threads: int) -> float:
        """Steps a second of a plain module with torch.optim.AdamW."""
        problem = self.task.problem(self.run)  # type: ignore[attr-defined]
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        model = self.plain().to(self.device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, **{implementation: True})
        steps = round(self.run.total_steps)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
        examples = problem.training.to(self.device)
        order = torch.randint(len(examples), (steps, problem.examples_per_step), device=self.device)
        warm, start = _warm_up(steps), 0.0
        for step in range(steps):
            if step == warm:
                _finish(self.device)
                start = time.perf_counter()
            inputs, targets = examples.take(order[step])
            logits = model(inputs)
            loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        _finish(self.device)
        return (steps - warm) / (time.perf_counter() - start)

    def optuna(self) -> float:
        """Steps a second where Optuna drives the same serial training, a trial a probe."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study, rates = optuna.create_study(), []

        def objective(trial: Any) -> float:
            trial.suggest_float("weight_decay", 1e-3, 10, log=True)
            rates.append(self.serial("fused", 1))
            return 0.0

        study.optimize(objective, n_trials=1)
        return rates[0]


def _warm_up(steps: int) -> int:
    """Steps that are not timed, whatever the way: the first ones find memory and kernels cold."""
    return min(20, steps // 4)


def _finish(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _child(workload: Workload, seconds: float, way: str, count: int, barrier: Any, answers: Any) -> None:
    torch.set_num_threads(1)
    probes = Probes(workload, seconds, "cpu")
    barrier.wait()
    answers.put(probes.serial("fused", 1) if way == "serial" else probes.batched(count))


def at_the_same_time(workload: Workload, seconds: float, way: str, counts: Sequence[int]) -> float:
    """Sum of the steps a second of processes that train at the same time."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(len(counts)), context.Queue()
    children = [context.Process(target=_child, args=(workload, seconds, way, n, barrier, answers)) for n in counts]
    for child in children:
        child.start()
    total = sum(answers.get(timeout=600) for _ in children)
    for child in children:
        child.join()
    return float(total)


def automatic(workload: Workload, seconds: float, probes: int) -> float:
    """What `calibrate` does with that many probes on two cores."""
    one = Probes(workload, seconds, "cpu")
    batches = in_cohorts(one.configs(probes), lambda run: one.task.cohort_limit(run, "cpu"), PROCESSES)
    return at_the_same_time(workload, seconds, "batched", [len(batch) for batch in batches[:PROCESSES]])


def on_cpu(workload: Workload, seconds: float) -> dict[str, Callable[[], float]]:
    """The ways to compare, by name."""
    probes = Probes(workload, seconds, "cpu")
    return {
        "serial fused": lambda: probes.serial("fused", 1),
        "serial foreach": lambda: probes.serial("foreach", 1),
        "serial fused, 2 threads": lambda: probes.serial("fused", 2),
        "Optuna, serial": probes.optuna,
        "2 serial processes": lambda: at_the_same_time(workload, seconds, "serial", (1, 1)),
        "batched 8": lambda: probes.batched(8),
        "2 x batched 8": lambda: at_the_same_time(workload, seconds, "batched", (8, 8)),
        "automatic, 5 probes": lambda: automatic(workload, seconds, 5),
        "automatic, 15 probes": lambda: automatic(workload, seconds, 15),
        "automatic, 32 probes": lambda: automatic(workload, seconds, 32),
    }


def on_cuda(workload: Workload, seconds: float) -> dict[str, Callable[[], float]]:
    """The ways to compare on one GPU."""
    plain = Probes(workload, seconds, "cuda")
    half = Probes(workload, seconds, "cuda", "bfloat16")
    ways: dict[str, Callable[[], float]] = {"serial fused": lambda: plain.serial("fused", 1)}
    for count in (1, 8, 32, 64):
        ways[f"batched {count}"] = lambda count=count: plain.batched(count)  # type: ignore[misc]
    ways["batched 32 bfloat16"] = lambda: half.batched(32)
    ways["batched 64 bfloat16"] = lambda: half.batched(64)
    return ways


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seconds", type=float, default=2.0, help="of serial training a measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", help="workloads whose name starts so")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    workloads = [w for w in (CPU if options.device == "cpu" else CUDA) if w.name.startswith(options.only or "")]
    document: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "torch": torch.__version__,
        "repeats": options.repeats,
        "steps_per_second": {},
    }
    for workload in workloads:
        ways = (on_cpu if options.device == "cpu" else on_cuda)(workload, options.seconds)
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.repeats):
            for name, measure in ways.items():
                rates[name].append(measure())
        document["steps_per_second"][workload.name] = {n: statistics.median(r) for n, r in rates.items()}
        if not options.json:
            report(workload, rates, options.device)
    if options.json:
        print(json.dumps(document, indent=1))


def report(workload: Workload, rates: dict[str, list[float]], device: str) -> None:
    """One workload's table; on a GPU with the share of the peak that model FLOPs make."""
    best = max(statistics.median(values) for name, values in rates.items() if name.startswith("serial"))
    run = Probes(workload, 0.1, "cpu").run
    print(f"\n{workload.name}: {run.num_params:,.0f} parameters, {run.batch_size:g} {run.unit} a step", flush=True)
    for name, values in rates.items():
        median = statistics.median(values)
        line = (
            f"  {name:26} {median:10.0f} steps/s  {median / best:6.2f} x  (from {min(values):.0f} to {max(values):.0f})"
        )
        if device == "cuda":
            peak = TFLOPS["bfloat16" if "bfloat16" in name else "float32"]
            flops = 6 * (run.num_params or 0) * run.batch_size * median / 1e12
            line += f"  {flops:8.3f} TFLOP/s = {flops / peak:.2%} of the H100's {peak:g}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
