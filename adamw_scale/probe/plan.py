"""Which probes to run: configurations and results as values, and the sweep that says which are missing."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from adamw_scale.errors import CalibrationError, SpecError
from adamw_scale.noun import Noun
from adamw_scale.probe.search import Grid, Point, Search
from adamw_scale.spec import TrainingRun
from adamw_scale.timescale import weight_decay

DEVICES = ("cpu", "cuda")
PRECISIONS = ("float32", "tf32", "bfloat16", "float64")


class ProbeConfig(Noun):
    """One short training: a run with its weight decay, a task, a seed, a device.

    The seed fixes initialisation and data order; probes that share it differ in weight decay only
    (common random numbers), which makes their loss differences several times less noisy.
    """

    task: dict[str, str]
    run: TrainingRun
    seed: int
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "tf32", "bfloat16", "float64"] = "float32"

    @property
    def key(self) -> str:
        """Name of this content: equal configurations have equal keys, on every machine.

        Defaults are left out, so a field added later does not orphan what was measured before.
        """
        content = self.model_dump(mode="json", exclude_defaults=True)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def shape(self) -> tuple[object, ...]:
        """What probes must share to be trained at once: all but seed, learning rate, decay, schedule and betas."""
        run = self.run
        model = (run.num_params, run.width, run.depth, run.parametrization, run.base_width, run.base_depth)
        data = (run.unit, run.dataset_size, run.epochs, run.batch_size, run.sequence_length)
        return (tuple(self.task.items()), self.device, self.precision, *model, *data)

    @property
    def log2_tau(self) -> float:
        """log2 of the timescale as a fraction of the run."""
        return math.log2(self.run.timescale_of(self.run.current_weight_decay).run)


class ProbeResult(Noun):
    """What a probe measured. A probe that diverged, or failed for a reason of its own, is a result without loss.

    `seconds` is the probe's share of the time its batch took; `curve` pairs steps with training losses;
    `metrics` holds whatever else was measured on held-out data; `machine` names device and versions.
    """

    schema_: Literal["adamw-scale/probe/1"] = Field("adamw-scale/probe/1", alias="schema")
    key: str
    config: ProbeConfig
    status: Literal["done", "diverged", "failed"]
    loss: float | None
    seconds: float
    reason: str | None = None
    curve: tuple[tuple[int, float], ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)
    machine: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _refuse_what_disagrees(self) -> Self:
        if self.key != self.config.key:
            raise SpecError(f"key {self.key[:20]!r} is not that of its configuration, {self.config.key!r}")
        if (self.status == "done") != (self.loss is not None):
            raise SpecError(f"status {self.status!r} does not go with loss {self.loss}")
        if (self.status == "failed") != (self.reason is not None):
            raise SpecError(f"status {self.status!r} does not go with reason {self.reason!r}")
        return self

    @property
    def value(self) -> float:
        """Held-out loss, infinite where there is none."""
        return math.inf if self.loss is None else self.loss


def value_of(result: ProbeResult, metric: str = "loss", *, maximize: bool = False) -> float:
    """What is minimised of a result: a metric, or its negative; infinite where the probe diverged, NaN where it failed.

    Raises:
        CalibrationError: the probe measured no such metric.
    """
    if result.loss is None:
        return math.nan if result.status == "failed" else math.inf
    value = result.loss if metric == "loss" else result.metrics.get(metric)
    if value is None:
        known = ", ".join(["loss", *sorted(result.metrics)])
        raise CalibrationError(f"probes measured no {metric[:60]!r}, only {known}: change --metric")
    return -value if maximize else value


class Sweep(Noun):
    """One run whose timescale is searched (see `search`), and how its probes are told apart from others.

    `metric` is what is minimised, or maximised: "loss", or any other number that probes measure. A `grid` is probed as it
    is, instead of a search.
    """

    task: dict[str, str]
    run: TrainingRun
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "tf32", "bfloat16", "float64"] = "float32"
    data: str = ""
    metric: str = "loss"
    maximize: bool = False
    seeds: tuple[int, ...] = (0, 1, 2)
    coarse: tuple[float, ...] = (-6.0, -4.0, -2.0, 0.0, 2.0)
    limits: tuple[float, float] = (-10.0, 4.0)
    min_tau_iter: float = 20.0
    most: int | None = None
    grid: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _refuse_what_cannot_be_fitted(self) -> Self:
        if len(set(self.seeds)) < 2:
            raise SpecError(
                f"seeds = {len(set(self.seeds))}: noise is measured between seeds, at least 2 are needed. Change --seeds"
            )
        if self.low > self.coarse[-2]:
            raise SpecError(
                f"a probe of {self.run.total_steps:.4g} steps is too short to sweep its timescale (at least "
                f"{self.min_tau_iter:g} steps): raise --epochs or lower --batch-size"
            )
        _ = self.search
        return self

    @property
    def low(self) -> float:
        """Shortest timescale that is probed: by `limits`, and no shorter than min_tau_iter steps."""
        return max(self.limits[0], math.ceil(math.log2(self.min_tau_iter / self.run.total_steps)))

    @property
    def search(self) -> Search | Grid:
        """The search, from coarse points that this run is long enough for, or the grid."""
        if self.grid is not None:
            return Grid(self.seeds, self.grid)
        coarse = tuple(x for x in self.coarse if x >= self.low)
        return Search(self.seeds, coarse, (self.low, self.limits[1]), self.most)

    def config(self, seed: int, log2_tau: float) -> ProbeConfig:
        """The probe at one point of the sweep."""
        tau = self.run.timescale(run=2.0**log2_tau)
        run = self.run.model_copy(
            update={"weight_decay": weight_decay(self.run.lr, tau.iters), "convention": "pytorch"}
        )
        return ProbeConfig(task=self.task, run=run, seed=seed, device=self.device, precision=self.precision)

    def value(self, result: ProbeResult) -> float:
        """What is minimised: infinite where the probe diverged, NaN where it failed."""
        return value_of(result, self.metric, maximize=self.maximize)

    def missing(self, results: Mapping[str, ProbeResult]) -> list[ProbeConfig]:
        """The next probes to run, given all results by key; empty when the sweep is complete."""
        stage = self.search.next(self._values(self.seen(results)))
        return [config for point in stage if (config := self.config(*point)).key not in results]

    def seen(self, results: Mapping[str, ProbeResult]) -> dict[Point, ProbeResult]:
        """Results of all stages that are complete, by seed and log2(tau)."""
        seen: dict[Point, ProbeResult] = {}
        while stage := {point: self.config(*point).key for point in self.search.next(self._values(seen))}:
            if not all(key in results for key in stage.values()):
                break
            seen |= {point: results[key] for point, key in stage.items()}
        return seen

    def _values(self, seen: Mapping[Point, ProbeResult]) -> dict[Point, float]:
        return {point: self.value(result) for point, result in seen.items()}


def flops_of(run: TrainingRun) -> float:
    """Floating-point operations of a training: 6·N·D (arXiv:2001.08361); 0 where N is not known."""
    return 6.0 * (run.num_params or 0.0) * run.total_units


def describe_cost(sweep: Sweep) -> dict[str, Any]:
    """What a sweep costs before it starts: probes, steps, and floating-point operations (6·N·D)."""
    likely = sweep.search.likely
    flops = flops_of(sweep.run)
    return {
        "probes_likely": likely,
        "steps_per_probe": round(sweep.run.total_steps),
        f"{sweep.run.unit}_per_probe": sweep.run.total_units,
        "flops_per_probe": flops,
        "flops_likely": flops * likely,
    }
