"""Which probes to run: configurations as values, and the design that says which are missing.

The design is a pure function of what has been measured, so a calibration that was killed continues
exactly as if it had not been.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from adamw_scale.errors import SpecError
from adamw_scale.noun import Noun
from adamw_scale.spec import TrainingRun
from adamw_scale.timescale import weight_decay

DEVICES = ("cpu", "cuda")
PRECISIONS = ("float32", "tf32", "bfloat16", "float64")
MAX_WINDOW_MOVES = 3

Point = tuple[int, float]  # seed, log2(tau_run)


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


class Sweep(Noun):
    """A search over log2(tau_run), on common seeds: every second octave, refine, replicate.

    1. The first seed probes `coarse`. If none has a loss, that is all. While the lowest loss lies at an end, that end moves out by
       two octaves, as far as `limits`.
    2. The neighbours of the lowest loss, one octave away, until both are known.
    3. On every seed: the window of half octaves from one octave below it to one above. If the mean
       over seeds is lowest at an end of the window, the window moves there. Seeds with a failed probe do not count.

    A stage is looked at only when all of it is measured, so it makes no difference in which order
    its probes end, or whether the process died between them.
    """

    task: dict[str, str]
    run: TrainingRun
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "tf32", "bfloat16", "float64"] = "float32"
    data: str = ""
    seeds: tuple[int, ...] = (0, 1, 2)
    coarse: tuple[float, ...] = (-6.0, -4.0, -2.0, 0.0, 2.0)
    limits: tuple[float, float] = (-10.0, 4.0)
    min_tau_iter: float = 20.0

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
        return self

    @property
    def low(self) -> float:
        """Shortest timescale that is probed: by `limits`, and no shorter than min_tau_iter steps."""
        return max(self.limits[0], math.ceil(math.log2(self.min_tau_iter / self.run.total_steps)))

    @property
    def start(self) -> tuple[float, ...]:
        """The coarse points that this run is long enough for."""
        return tuple(x for x in self.coarse if x >= self.low)

    @property
    def likely_probes(self) -> int:
        """Probes of a sweep whose optimum lies inside the grid: seven or so, then five a seed."""
        return len(self.start) + 4 + 5 * (len(self.seeds) - 1)

    def config(self, seed: int, log2_tau: float) -> ProbeConfig:
        """The probe at one point of the sweep."""
        tau = self.run.timescale(run=2.0**log2_tau)
        run = self.run.model_copy(
            update={"weight_decay": weight_decay(self.run.lr, tau.iters), "convention": "pytorch"}
        )
        return ProbeConfig(task=self.task, run=run, seed=seed, device=self.device, precision=self.precision)

    def missing(self, results: Mapping[str, ProbeResult]) -> list[ProbeConfig]:
        """The next probes to run, given all results by key; empty when the sweep is complete."""
        seen = self.seen(results)
        return [config for point in self._next(seen) if (config := self.config(*point)).key not in results]

    def seen(self, results: Mapping[str, ProbeResult]) -> dict[Point, ProbeResult]:
        """Results of all stages that are complete, by seed and log2(tau)."""
        seen: dict[Point, ProbeResult] = {}
        while stage := {point: self.config(*point).key for point in self._next(seen)}:
            if not all(key in results for key in stage.values()):
                break
            seen |= {point: results[key] for point, key in stage.items()}
        return seen

    def at_edge(self, seen: Mapping[Point, ProbeResult]) -> bool:
        """The lowest loss lies at the end of everything that may be probed."""
        return self._center(seen) in (self.low, self.limits[1])

    def window(self, seen: Mapping[Point, ProbeResult]) -> list[float]:
        """Half octaves within one octave of the center, as far as the limits allow."""
        center = self._center(seen)
        return [x for x in (center + half / 2 for half in (-2, -1, 0, 1, 2)) if self.low <= x <= self.limits[1]]

    def _next(self, seen: Mapping[Point, ProbeResult]) -> list[Point]:
        """The stage after those that were seen; empty at the end."""
        first = self._octaves(seen)
        if not first:
            return [(self.seeds[0], x) for x in self.start]
        if not any(map(math.isfinite, first.values())):
            return []
        best = min(first, key=lambda x: first[x])
        outward = {min(first): max(self.low, best - 2), max(first): min(self.limits[1], best + 2)}.get(best, best)
        around = [outward] if outward not in first else [best - 1, best + 1]
        refining = [x for x in around if self.low <= x <= self.limits[1] and x not in first]
        if refining:
            return [(self.seeds[0], x) for x in refining]
        return [(seed, x) for seed in self.seeds for x in self.window(seen) if (seed, x) not in seen]

    def _octaves(self, seen: Mapping[Point, ProbeResult]) -> dict[float, float]:
        """The first seed's losses at whole octaves."""
        return {x: result.value for (seed, x), result in seen.items() if seed == self.seeds[0] and x == int(x)}

    def _center(self, seen: Mapping[Point, ProbeResult]) -> float:
        """The first seed's lowest octave; from there to where the mean over all seeds falls on."""
        first = self._octaves(seen)
        center = min(first, key=lambda x: first[x])
        for _ in range(MAX_WINDOW_MOVES):
            around = [x for x in (center - 1, center, center + 1) if all((seed, x) in seen for seed in self.seeds)]
            told = [seed for seed in self.seeds if all(seen[seed, x].status != "failed" for x in around)]
            means = {x: sum(seen[seed, x].value for seed in told) for x in around if told}
            lowest = min(means, key=lambda x: means[x], default=center)
            if lowest == center:
                break
            center = lowest
        return center


def describe_cost(sweep: Sweep) -> dict[str, Any]:
    """What a sweep costs before it starts: probes, steps, and floating-point operations (6·N·D)."""
    likely = sweep.likely_probes
    flops = 6.0 * (sweep.run.num_params or 0.0) * sweep.run.total_units
    return {
        "probes_likely": likely,
        "steps_per_probe": round(sweep.run.total_steps),
        f"{sweep.run.unit}_per_probe": sweep.run.total_units,
        "flops_per_probe": flops,
        "flops_likely": flops * likely,
    }
