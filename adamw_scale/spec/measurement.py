"""What is measured: probes, the optimum that their losses show, and what several optima say together.

ProbeConfig     one short training to be done                               -> training
ProbeResult     what it measured                                            -> probe, calibration
Optimum         where a sweep's loss is lowest, or that this cannot be told
Calibration     what was measured, optimum by optimum                        -> advisor, report
    Slope, LeftOut      how the optimum moves between sizes, and what the others predict for each
    TunedLr             the learning rate that was best, where it was swept too
    Target, Validation  the run it was made for; a prediction, and what training there showed
"""

import hashlib
import json
import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from adamw_scale.errors import CalibrationError, SpecError
from adamw_scale.noun import Noun
from adamw_scale.spec.run import Timescale, TrainingRun
from adamw_scale.units import LARGEST

Measured = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Octaves = Annotated[float, Field(ge=-400.0, le=400.0)]  # so that two to their power is a number
Interval = tuple[Octaves, Octaves]

DEVICES = ("cpu", "cuda")
PRECISIONS = ("float32", "tf32", "bfloat16", "float64")


class ProbeConfig(Noun):
    """One short training: a run with its weight decay, a task, a seed, a device.

    The seed fixes initialisation and data order; probes that share it differ in weight decay only
    (common random numbers), which makes their loss differences several times less noisy.
    """

    task: dict[str, str]
    run: TrainingRun
    seed: int = Field(ge=-(2**63), lt=2**63)
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


OPTIMIZER_STEPS = "optimizer"


class StepsSeen(Noun):
    """How long a command says that it trained: between `least` and `most`, which is None where that is not known.

    Where its optimizer was seen (`OPTIMIZER_STEPS`), there is its learning rate too.
    """

    unit: Literal["steps", "epochs"]
    least: float = Field(ge=0)
    most: float | None = None
    source: str = Field(description="what said so, such as 'global_step'")
    peak_lr: float | None = Field(None, description="the highest learning rate of its hidden matrices")


class ProbeResult(Noun):
    """What a probe measured. A probe that diverged, or failed for a reason of its own, is a result without loss.

    `seconds` is the probe's share of the time its cohort took; `curve` pairs steps with training losses;
    `metrics` holds whatever else was measured on held-out data; `machine` names device and versions.
    """

    schema_: Literal["adamw-scale/probe/1"] = Field("adamw-scale/probe/1", alias="schema")
    key: str
    config: ProbeConfig
    status: Literal["done", "diverged", "failed"]
    loss: Measured | None
    seconds: float = Field(ge=0, le=1e18)
    reason: str | None = None
    curve: tuple[tuple[Annotated[int, Field(ge=0, le=10**18)], Measured], ...] = ()
    metrics: dict[str, Measured] = Field(default_factory=dict)
    machine: dict[str, str] = Field(default_factory=dict)
    seen: StepsSeen | None = Field(None, description="how long the user's command said that it trained")

    @model_validator(mode="after")
    def _refuse_what_disagrees(self) -> Self:
        if self.key != self.config.key:
            raise SpecError(f"key {self.key[:20]!r} is not that of its configuration, {self.config.key!r}")
        if (self.status == "done") != (self.loss is not None):
            raise SpecError(f"status {self.status!r} does not go with loss {self.loss}")
        if (self.status == "failed") != (self.reason is not None):
            raise SpecError(f"status {self.status!r} does not go with reason {self.reason!r}")
        if not -400 <= self.config.log2_tau <= 400:
            raise SpecError(f"weight decay {self.config.run.weight_decay} gives no timescale")
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


def flops_of(run: TrainingRun) -> float:
    """Floating-point operations of a training: 6·N·D (arXiv:2001.08361); 0 where N is not known."""
    return 6.0 * (run.num_params or 0.0) * run.total_units


class Optimum(Noun):
    """Where the loss of a sweep over the timescale is lowest.

    `log2_interval` bounds log2(timescale_run) at 80 %, `log2_interval_95` at 95 %; in `log2_band` the loss is within
    0.2 % of the lowest. `status` is "located", "flat" (the loss does not tell) or "edge" (the lowest loss lies at the
    end of what was probed). One that is not located still bounds the optimum where its interval ends inside what was
    probed.
    """

    run: TrainingRun
    asked: TrainingRun | None = Field(
        None, description="the run as it was asked for, where its command trained other steps; run is what it trained"
    )
    timescale_run: float = Field(ge=1e-9, le=1e9)
    log2_interval: Interval
    log2_interval_95: Interval | None = None
    log2_band: Interval | None = None
    log2_probed: Interval | None = Field(
        None, description="ends of what was probed and neither diverged nor was left out"
    )
    log2_diverged: tuple[Octaves, ...] = Field((), description="where probes diverged")
    status: Literal["located", "flat", "edge"]
    loss: Measured | None = None
    noise: Measured | None = Field(None, description="standard deviation of a loss within its seed")
    outliers: int = Field(
        0,
        ge=0,
        le=10**9,
        description="probes left out: losses as good as diverged, or far above lower ones of their seed on both sides",
    )

    @model_validator(mode="after")
    def _refuse_what_disagrees(self) -> Self:
        for name in ("log2_interval", "log2_interval_95", "log2_band", "log2_probed"):
            low, high = getattr(self, name) or (0.0, 0.0)
            if low > high or (name == "log2_interval" and not -40 <= low <= high <= 40):
                raise SpecError(f"{name} = {low:g}, {high:g} is not an interval of octaves")
        return self

    @property
    def probed(self) -> TrainingRun:
        """The run that its probes name."""
        return self.asked or self.run

    @property
    def shift(self) -> float:
        """Octaves by which a timescale is a larger share of what was trained than of the run that the probes name."""
        return math.log2(self.probed.total_steps / self.run.total_steps)

    @property
    def timescale(self) -> Timescale:
        """The optimum in all three views."""
        return self.run.timescale(run=self.timescale_run)

    @property
    def weight_decay(self) -> float:
        """The weight decay (PyTorch convention, hidden matrices) that gives the probed run this timescale."""
        return self.run.hidden_decay_of(self.timescale.iters)


class Slope(Noun):
    """Octaves that the timescale, as a share of the run, moves for 4 times a quantity, and their deviation."""

    octaves_per_factor_4: Octaves
    deviation: Octaves = Field(ge=0)


class LeftOut(Noun):
    """A measured optimum, log2(timescale_run), beside what all the others predict for it; the interval holds 80 %."""

    run: TrainingRun
    measured: Octaves
    predicted: Octaves
    log2_interval: Interval


class TunedLr(Noun):
    """The learning rate at which the loss was lowest, each at its own best timescale.

    `losses` pairs learning rates with it; `status` is "edge" where the best is the smallest or largest that was tried.
    `timescale_slope`, in octaves per octave of lr, is 0 where the timescale stays put as lr moves and -1 where λ does;
    `steadier` names the one that moves less.
    """

    peak_lr: float = Field(ge=1e-100, le=1e100)
    status: Literal["located", "edge"]
    losses: tuple[tuple[Measured, Measured], ...]
    timescale_slope: Octaves | None = None
    steadier: Literal["timescale", "weight_decay"] | None = None


class Validation(Noun):
    """A prediction for a run that was not calibrated, and what training there showed.

    `predicted` and its 80 % interval are log2(timescale_run); `losses` pairs those that were trained with their mean
    loss over seeds. `regret` is the prediction's loss above the lowest of them on the same seeds, and its standard
    error.
    """

    run: TrainingRun
    predicted: Octaves
    log2_interval: Interval
    optimum: Optimum
    losses: tuple[tuple[Measured, Measured], ...]
    regret: Measured
    regret_deviation: Measured


class Target(Noun):
    """The run that a calibration was made for, and what it says of it."""

    run: TrainingRun
    weight_decay: Measured = Field(ge=0, description="PyTorch convention, hidden matrices")
    weight_decay_range: tuple[Measured, Measured]
    timescale: Timescale
    rule: str


class Calibration(Noun):
    """What was measured: optima, the base run's first, and what they say together with the law.

    `slopes` are of quantities in which the optima differ; `left_out` has what all others predict for each located one.
    """

    schema_: Literal["adamw-scale/calibration/2"] = Field("adamw-scale/calibration/2", alias="schema")
    task: dict[str, Any]
    optima: tuple[Optimum, ...] = Field(min_length=1)
    slopes: dict[str, Slope] = Field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    lr: TunedLr | None = None
    target: Target | None = None
    validation: Validation | None = None
    probes: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _from_the_first_schema(cls, data: Any) -> Any:
        """A file of schema 1 has the same optima, beside constants of a rule that were fitted to them."""
        if not isinstance(data, dict) or data.get("schema") != "adamw-scale/calibration/1":
            return data
        kept = {name: value for name, value in data.items() if name not in ("rule", "constants", "slopes", "left_out")}
        return {**kept, "schema": "adamw-scale/calibration/2"}

    @model_validator(mode="after")
    def _refuse_other_counts(self) -> Self:
        for name, value in self.probes.items():
            kinds = {"metric": str, "device": str, "maximize": bool, "noise": int | float}.get(name, int)
            if not isinstance(value, kinds) or (not isinstance(value, str) and not 0 <= value <= LARGEST):
                raise SpecError(f"probes.{name[:40]} = {str(value)[:40]} is not what calibrate writes there")
        return self

    @property
    def located(self) -> bool:
        """Whether any optimum was."""
        return any(optimum.status == "located" for optimum in self.optima)
