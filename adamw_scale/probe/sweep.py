"""Which probes of a run to train: the sweep of its timescale."""

import math
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import model_validator

from adamw_scale.errors import SpecError
from adamw_scale.noun import Noun
from adamw_scale.probe.search import Grid, Point, Search
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult, value_of
from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory.timescale import weight_decay


class Sweep(Noun):
    """One run whose timescale is searched (see `search`), and how its probes are told apart from others.

    `metric` is what is minimised, or maximised: "loss", or any other number that probes measure. A `grid` is probed as
    it is, instead of a search. `data` is the task's phrase on what is trained on.
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
                f"seeds = {len(set(self.seeds))}: noise is measured between seeds, at least 2 are needed. "
                "Change --seeds"
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
