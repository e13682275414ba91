"""The nouns. Read this file first: everything else maps one of these values to another.

    TrainingRun     what the user trains            -> rules, advisor
    Timescale       one duration, three views       -> what a rule returns
    Recommendation  weight decay, how sure, why     -> frameworks, the command line
    DecayPerStep    the same where no lr is known   -> the command line
    Optimum         where a sweep's loss is lowest  -> what calibrating measures
    Calibration     a rule with measured constants  -> advisor

All are `Noun`s: frozen, strict, and read numbers as people write them ("1.3B", "2%"). A field's
description states its unit and is also the help of its command-line flag. Whatever cannot be is
refused with one `SpecError` that names the value, the reason and the fix.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from adamw_scale import conventions, parametrizations, schedules, weight_decay_schedules
from adamw_scale import timescale as ema
from adamw_scale.errors import MissingInputError, SpecError, UnknownNameError
from adamw_scale.noun import Count, Fraction, Fractions, Noun, Number, Pair, Size, flag
from adamw_scale.units import format_count, parse_quantity

UNITS = ("tokens", "samples")
TASKS = ("pretraining", "finetuning", "lora")
UNUSABLE = ("decay-per-step", "weight-decay")  # cautions that say the number must not be used as it is
LARGEST_RATIO = 1e4  # of width or depth to the base; beyond, one of the two is a slip
PARAMS_KINDS = ("total", "non-embedding", "active")


def _flag(name: str) -> dict[str, Any]:
    return {"flag": name}


class Timescale(Noun):
    """How long the weights remember, at peak learning rate, in three views of one duration."""

    iters: float = Field(gt=0, description="optimizer steps: 1 / (peak_lr * weight_decay)")
    epochs: float = Field(gt=0, description="passes over the data set: iters / steps_per_epoch")
    run: float = Field(gt=0, description="fraction of the whole run: iters / total_steps")


class TrainingRun(Noun):
    """One AdamW training: data, batch, duration, schedule, model.

    Every count is in `unit`. Fractions are of the whole run. See the fields for units.

    Raises:
        SpecError: a value is impossible or two contradict each other.
        MissingInputError: dataset_size or batch_size is missing.
        UnknownNameError: unknown field, schedule, parametrization or convention.

    Example:
        >>> run = TrainingRun(dataset_size="26B", batch_size="0.5M", peak_lr=3e-4, num_params="1.3B")
        >>> run.total_steps, run.tokens_per_param
        (52000.0, 20.0)
    """

    described_by_flags: ClassVar[bool] = True

    unit: str = Field("tokens", description="what sizes are counted in: tokens (language) or samples (everything else)")
    dataset_size: Size = Field(
        description="unique units in the data set, one epoch", json_schema_extra=_flag("--tokens or --samples")
    )
    epochs: Annotated[Count, Field(ge=1e-6, le=1e9)] = Field(1.0, description="passes over the data set")
    batch_size: Size = Field(description="global batch per optimizer step, in the same unit as the data set")
    peak_lr: Annotated[Number, Field(ge=1e-12, le=10)] | None = Field(
        None,
        description="highest learning rate of the schedule; without it the answer is lr·λ",
        json_schema_extra=_flag("--lr"),
    )
    schedule: str = Field("linear", description=f"learning-rate shape after warm-up: {', '.join(schedules.SCHEDULES)}")
    warmup_fraction: Fraction | None = Field(
        None, description="linear warm-up, as a fraction of the run", json_schema_extra=_flag("--warmup")
    )
    warmup_steps: Annotated[Number, Field(ge=0, le=1e18)] | None = Field(
        None, description="linear warm-up, in steps", json_schema_extra=_flag("--warmup")
    )
    final_lr_fraction: Fraction | None = Field(None, description="final over peak learning rate; 0 decays to zero")
    decay_fraction: Fraction | None = Field(
        None, description="wsd: last part of the run over which the learning rate falls (0.2)"
    )
    schedule_power: Annotated[Number, Field(gt=0, le=100)] | None = Field(
        None, description="polynomial: exponent of the fall (2)"
    )
    milestones: Fractions | None = Field(None, description="step: points of the run at which lr drops, as 0.8,0.9")
    step_factor: Annotated[Number, Field(gt=0, lt=1)] | None = Field(None, description="step: factor of a drop (0.1)")
    cycles: Annotated[Number, Field(ge=1)] | None = Field(None, description="cosine-restarts: number of cycles")
    cycle_growth: Annotated[Number, Field(ge=1, le=10)] | None = Field(
        None, description="cosine-restarts: length of a cycle over that of the one before (1)"
    )
    schedule_table: Annotated[tuple[tuple[Fraction, Fraction], ...], Field(max_length=schedules.MAX_PIECES)] | None = (
        Field(
            None,
            description="table: points (progress, lr / peak lr), straight lines between",
            json_schema_extra=_flag("--schedule-file"),
        )
    )
    num_params: Size | None = Field(None, description="parameters of the model", json_schema_extra=_flag("--params"))
    num_params_kind: str = Field(
        "total",
        description=f"which parameters are counted: {', '.join(PARAMS_KINDS)}",
        json_schema_extra=_flag("--params-kind"),
    )
    width: Size | None = Field(None, description="hidden size of the model")
    depth: Size | None = Field(None, description="layers of the model")
    parametrization: str = Field(
        "standard", description=f"how lr and λ depend on width: {', '.join(parametrizations.PARAMETRIZATIONS)}"
    )
    base_width: Size | None = Field(None, description="muP: width at which peak_lr was tuned")
    base_depth: Size | None = Field(None, description="CompleteP: depth at which peak_lr was tuned")
    sequence_length: Size | None = Field(None, description="tokens per sequence, to write batches in sequences")
    betas: Pair = Field((0.9, 0.95), description="AdamW's betas, as 0.9,0.95")
    eps: Annotated[Number, Field(gt=0, le=1)] = Field(1e-8, description="AdamW's epsilon")
    weight_decay: Annotated[Number, Field(ge=0, le=1e12)] | None = Field(
        None, description="the decay used today, to be judged"
    )
    convention: str = Field(
        "pytorch", description="the library whose weight_decay it is; see adamw-scale list conventions"
    )
    weight_decay_schedule: str = Field(
        "constant", description=f"weight decay's own schedule: {', '.join(weight_decay_schedules.SHAPES)}"
    )
    final_weight_decay_fraction: Annotated[Number, Field(ge=0, le=1000)] | None = Field(
        None, description="linear and cosine weight decay: final over first value (0)"
    )
    task: str = Field("pretraining", description="pretraining, finetuning or lora")

    @model_validator(mode="before")
    @classmethod
    def _default_betas(cls, data: Any) -> Any:
        """Language models use beta2 = 0.95; elsewhere PyTorch's 0.999 is the habit."""
        if isinstance(data, dict) and data.get("unit") == "samples" and data.get("betas") is None:
            return {**data, "betas": (0.9, 0.999)}
        return data

    @model_validator(mode="after")
    def _refuse_the_impossible(self) -> Self:
        for kind, name, known in (
            ("unit", self.unit, UNITS),
            ("schedule", self.schedule, schedules.SCHEDULES),
            ("weight_decay_schedule", self.weight_decay_schedule, weight_decay_schedules.SHAPES),
            ("parametrization", self.parametrization, parametrizations.PARAMETRIZATIONS),
            ("convention", self.convention, conventions.CONVENTIONS),
            ("task", self.task, TASKS),
            ("num_params_kind", self.num_params_kind, PARAMS_KINDS),
        ):
            if name not in known:
                raise UnknownNameError(kind, name, known)
        if self.batch_size > self.dataset_size:
            raise SpecError(
                f"batch_size = {format_count(self.batch_size)} is larger than the data set of "
                f"{format_count(self.dataset_size)} {self.unit}: lower --batch-size, or check that both are in {self.unit}"
            )
        if self.total_steps < 2:
            raise SpecError(
                f"the run has {self.total_steps:.2g} optimizer steps (dataset_size * epochs / batch_size): "
                "lower --batch-size or raise --epochs"
            )
        if max(self.betas) > 1 - 1e-9:
            raise SpecError(f"betas = {self.betas}: each must be below 1. Change --betas")
        self._refuse_contradictory_schedule()
        self._refuse_contradictory_sizes()
        self._refuse_impossible_decay()
        return self

    def _refuse_contradictory_schedule(self) -> None:
        if self.warmup_fraction is not None and self.warmup_steps is not None:
            raise SpecError(
                f"warmup_fraction = {self.warmup_fraction:g} and warmup_steps = {self.warmup_steps:g} were both given: keep one"
            )
        if self.warmup_share >= 1:
            raise SpecError(
                f"warm-up of {format_count(self.warmup_share * self.total_steps)} steps does not fit in a run of "
                f"{format_count(self.total_steps)} steps: lower --warmup"
            )
        if self.decay_fraction == 0:
            raise SpecError(
                "decay_fraction = 0 leaves nothing to decay: raise --decay-fraction or pass --schedule constant"
            )
        _ = self.lr_schedule  # a schedule refuses what does not fit in the run
        if self.final_weight_decay_fraction is not None and self.weight_decay_schedule not in ("linear", "cosine"):
            raise SpecError(
                f"final_weight_decay_fraction has no effect where weight decay is {self.weight_decay_schedule}: drop "
                "--final-weight-decay-fraction or pass --weight-decay-schedule linear"
            )

    def _refuse_contradictory_sizes(self) -> None:
        by = parametrizations.PARAMETRIZATIONS[self.parametrization]
        for what, size, base, needed in (
            ("width", self.width, self.base_width, by.needs_base_width),
            ("depth", self.depth, self.base_depth, by.needs_base_depth),
        ):
            if needed and (size is None or base is None):
                raise MissingInputError(
                    f"parametrization {self.parametrization!r} needs the {what} ratio: pass --{what} and --base-{what}"
                )
            if size and base and not 1 / LARGEST_RATIO <= size / base <= LARGEST_RATIO:
                raise SpecError(
                    f"{what} = {size:g} is {size / base:.3g} times base_{what}: change --{what} or --base-{what}"
                )
            if not needed and base is not None:
                raise SpecError(
                    f"base_{what} has no effect in {self.parametrization} parametrization: drop --base-{what} or pass --parametrization"
                )

    def _refuse_impossible_decay(self) -> None:
        if self.weight_decay is None:
            return
        if not conventions.follows_lr(self.convention) and self.weight_decay_schedule != "constant":
            raise SpecError(
                f"convention {self.convention!r} and weight_decay_schedule {self.weight_decay_schedule!r} both say how the "
                "decay moves: drop --convention or --weight-decay-schedule"
            )
        if self.weight_decay and self.weight_decay < 1e-12:
            raise SpecError(f"weight_decay = {self.weight_decay:g} is zero for every purpose: pass --weight-decay 0")
        if self.peak_lr is not None and self.peak_lr * self.current_weight_decay >= 1:
            raise SpecError(
                f"weight_decay = {self.weight_decay:g} at peak_lr = {self.peak_lr:g} in convention {self.convention!r} "
                "shrinks weights by 100 % or more each step: lower --weight-decay, or name its unit with --convention"
            )

    @property
    def total_units(self) -> float:
        """Units seen in the whole run: dataset_size * epochs."""
        return self.dataset_size * self.epochs

    @property
    def steps_per_epoch(self) -> float:
        """Optimizer steps per pass over the data: dataset_size / batch_size, not rounded."""
        return self.dataset_size / self.batch_size

    @property
    def total_steps(self) -> float:
        """Optimizer steps of the run, not rounded."""
        return self.steps_per_epoch * self.epochs

    @property
    def tokens_per_param(self) -> float | None:
        """Units seen in the whole run per parameter, repeats counted; None without num_params."""
        return None if self.num_params is None else self.total_units / self.num_params

    @property
    def unique_tokens_per_param(self) -> float | None:
        """Unique units per parameter; None without num_params."""
        return None if self.num_params is None else self.dataset_size / self.num_params

    @property
    def warmup_share(self) -> float:
        """Warm-up as a fraction of the run, whichever way it was given, or by the schedule's default."""
        if self.warmup_steps is not None:
            return self.warmup_steps / self.total_steps
        if self.warmup_fraction is None and self.schedule == "one-cycle":
            return schedules.ONE_CYCLE_WARMUP
        return self.warmup_fraction or 0.0

    @property
    def lr_schedule(self) -> schedules.Schedule:
        """The learning-rate schedule as a function of progress."""
        given = {option: getattr(self, option) for option in schedules.OPTIONS}
        return schedules.Schedule(self.schedule, **{**given, "warmup_fraction": self.warmup_share})

    @property
    def decay_schedule(self) -> weight_decay_schedules.Decay:
        """What multiplies peak_lr * λ over the run: the learning rate's schedule, and weight decay's own."""
        return weight_decay_schedules.Decay(
            self.lr_schedule, self.weight_decay_schedule, self.final_weight_decay_fraction or 0.0
        )

    @property
    def lr(self) -> float:
        """The peak learning rate, where one is needed; MissingInputError without."""
        if self.peak_lr is None:
            raise MissingInputError("the TrainingRun lacks peak_lr, which is needed here: pass --lr")
        return self.peak_lr

    @property
    def width_ratio(self) -> float:
        """m = width / base_width; 1 where either is not given."""
        return self.width / self.base_width if self.width and self.base_width else 1.0

    @property
    def depth_ratio(self) -> float:
        """depth / base_depth; 1 where either is not given."""
        return self.depth / self.base_depth if self.depth and self.base_depth else 1.0

    @property
    def setting(self) -> conventions.Setting:
        """What converting a weight decay to or from another library may depend on."""
        schedule = self.lr_schedule
        return conventions.Setting(
            peak_lr=self.peak_lr,
            total_steps=self.total_steps,
            mean=schedule.mean(),
            mean_square=schedule.mean_square(),
            mean_with_own=self.decay_schedule.mean(),
        )

    @property
    def current_weight_decay(self) -> float:
        """Today's weight decay as the PyTorch value with the same sum over the run; 0 where none was given."""
        if not self.weight_decay:
            return 0.0
        return conventions.to_pytorch(self.convention, self.weight_decay, self.setting, match="mass")

    def timescale(
        self, *, iters: float | None = None, epochs: float | None = None, run: float | None = None
    ) -> Timescale:
        """All three views of a timescale from the one that is known (give exactly one).

        Example:
            >>> TrainingRun(dataset_size=1000, batch_size=10, epochs=4, peak_lr=1e-3).timescale(run=0.5)
            Timescale(iters=200.0, epochs=2.0, run=0.5)
        """
        if iters is None:
            iters = epochs * self.steps_per_epoch if epochs is not None else (run or 0.0) * self.total_steps
        return Timescale(
            iters=iters,
            epochs=epochs if epochs is not None else iters / self.steps_per_epoch,
            run=run if run is not None else iters / self.total_steps,
        )

    def timescale_of(self, weight_decay: float) -> Timescale:
        """Timescale that a weight decay (PyTorch convention, > 0) gives this run."""
        return self.timescale(iters=ema.tau_iter(self.lr, weight_decay))


def sized_by_steps(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a `TrainingRun`, with `steps` replaced by what it says: the data set, or the epochs where that is known.

    Raises:
        MissingInputError: steps without a batch size.
        SpecError: the data set is said twice, or a size is not above 0.
    """
    rest = {name: value for name, value in fields.items() if name != "steps"}
    if "steps" not in fields:
        return rest
    seen = _amount(fields, "steps") * _amount(fields, "batch_size")
    if "dataset_size" in fields and "epochs" in fields:
        raise SpecError("--steps, --epochs and the size of the data set say the same thing twice: drop one of them")
    if "dataset_size" in fields:
        return {**rest, "epochs": seen / _amount(fields, "dataset_size")}
    return {**rest, "dataset_size": seen / (_amount(fields, "epochs") if "epochs" in fields else 1.0)}


def _amount(fields: Mapping[str, Any], name: str) -> float:
    """A number among fields that were not validated yet."""
    if name not in fields:
        raise MissingInputError(f"--steps needs {name} to tell how many units are seen: pass {flag(TrainingRun, name)}")
    try:
        amount = parse_quantity(str(fields[name]))
    except SpecError as error:
        raise SpecError(f"{name}: {error}") from None
    if not amount > 0:
        raise SpecError(f"{name} = {fields[name]}: it must be above 0. Change --{name.replace('_', '-')}")
    return amount


class Caution(Noun):
    """A reason why advice holds less surely, with what to do about it."""

    code: str
    message: str
    fix: str


class ParamGroup(Noun):
    """Peak learning rate, weight decay (PyTorch convention) and the rest of one parameter group."""

    group: str
    peak_lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    eps: float = Field(gt=0, description="AdamW's epsilon")
    init_variance: float = Field(1.0, gt=0, description="variance at initialisation, over that at the base width")
    forward: float = Field(1.0, gt=0, description="multiplier on what the group's weights compute")


class Alternative(Noun):
    """What another rule says about the same run; `factor` is its λ over the reference's, where there is one.

    `weight_decay` is missing where no learning rate is known, `peak_lr` where the rule keeps the run's.
    """

    rule: str
    weight_decay: float | None = None
    peak_lr: float | None = None
    factor: float | None = None
    timescale: Timescale
    in_domain: bool
    source: str


class Current(Noun):
    """What the weight decay in use (PyTorch convention) amounts to; no timescale where it is zero."""

    weight_decay: float
    timescale: Timescale | None = None
    retention: float


class Transfer(Noun):
    """What carrying a tuned run to this one changed; ratios are this run over the tuned one."""

    weight_decay: float = Field(description="the reference's, PyTorch convention at its peak lr")
    peak_lr: float
    factor: float = Field(description="recommended over reference weight decay")
    moved: dict[str, float] = Field(description="ratio of every quantity that is known in both runs and moved")
    betas: tuple[float, float] | None = Field(None, description="betas scaled with batch and duration (2512.22382)")
    eps: float | None = Field(None, description="AdamW's epsilon, scaled likewise")
    sde_betas: tuple[float, float] | None = Field(
        None, description="betas by the square-root rule, where only the batch counts (2205.10287)"
    )
    sde_eps: float | None = Field(None, description="AdamW's epsilon by the same rule")
    half_life_beta2: float | None = Field(None, description="beta2 with the same half-life in tokens (2507.07101)")


class InConvention(Noun):
    """The recommended hidden weight decay and its range in the library's own unit that the run names."""

    convention: str
    weight_decay: float
    weight_decay_range: tuple[float, float]


class Companions(Noun):
    """What goes with a recommended weight decay: where it comes from and what it does."""

    source: str
    certainty: str
    in_domain: bool
    derivation: str
    schedule_mean: float = Field(description="mean over the run of lr / peak_lr")
    decay_mean: float = Field(description="mean over the run of lr*λ over its peak; schedule_mean if λ is constant")
    retention: float = Field(description="share of the initial weights in the final ones, decayed groups")
    equilibrium_rms: float = Field(description="root mean square of hidden weights after many timescales")
    relative_update: float = Field(description="size of a step over the size of the weights, hidden, at equilibrium")
    weight_bound: float = Field(description="no hidden weight settles above 1/λ in size")
    beta2: float | None = Field(None, description="beta2 that keeps Adam's memory at ten million tokens; tokens only")
    in_convention: InConvention | None = Field(None, description="where the run's convention is not PyTorch's")
    current: Current | None = None
    reference: Transfer | None = None


class Recommendation(Noun):
    """A weight decay for a run, in PyTorch's convention at the run's peak learning rate."""

    schema_: Literal["adamw-scale/recommendation/1"] = Field("adamw-scale/recommendation/1", alias="schema")
    weight_decay: float = Field(gt=0)
    weight_decay_range: tuple[float, float]
    peak_lr: float = Field(gt=0)
    rule: str
    timescale: Timescale
    alternatives: tuple[Alternative, ...]
    param_groups: tuple[ParamGroup, ...]
    companions: Companions
    cautions: tuple[Caution, ...]
    run: TrainingRun

    @model_validator(mode="after")
    def _refuse_what_disagrees(self) -> Self:
        """A recommendation that was edited by hand must still be one."""
        low, high = self.weight_decay_range
        if tuple(group.group for group in self.param_groups) != tuple(parametrizations.GROUPS):
            raise SpecError(f"param_groups must be {', '.join(parametrizations.GROUPS)}, in this order")
        if not 0 <= low <= self.weight_decay * (1 + 1e-9) or not self.weight_decay * (1 - 1e-9) <= high:
            raise SpecError(f"weight_decay = {self.weight_decay:g} is outside its own range, {low:g} to {high:g}")
        if not math.isclose(self.weight_decay * self.peak_lr * self.timescale.iters, 1, rel_tol=1e-3):
            raise SpecError(f"weight_decay = {self.weight_decay:g} does not give the timescale it comes with")
        if self.peak_lr != self.run.peak_lr:
            raise SpecError(f"peak_lr = {self.peak_lr:g} is not that of the run, {self.run.peak_lr:g}")
        return self

    @property
    def one_for_all(self) -> bool:
        """Whether one learning rate and one weight decay serve every decayed group."""
        return len({(group.peak_lr, group.weight_decay) for group in self.param_groups if group.weight_decay}) == 1

    @property
    def on_hidden(self) -> float:
        """What a weight decay at the run's peak lr is multiplied by on hidden matrices, at theirs: nearly all weights."""
        return self.param_groups[0].weight_decay / self.weight_decay

    @property
    def hidden_range(self) -> tuple[float, float]:
        """The range on hidden matrices."""
        low, high = self.weight_decay_range
        return low * self.on_hidden, high * self.on_hidden

    @property
    def doubt(self) -> str:
        """Code of the caution that says the number must not be used as it is; empty where none does."""
        return next((caution.code for caution in self.cautions if caution.code in UNUSABLE), "")

    def to_json(self) -> str:
        """The document of `recommend --json`, numbers unrounded."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class LawAdvice(Noun):
    """What a published learning-rate law says about the run, and the weight decay that goes with its rate."""

    law: str
    peak_lr: float | None = None
    weight_decay: float | None = None
    batch_size: float | None = None
    in_domain: bool
    source: str
    certainty: str
    remark: str


class DecayPerStep(Noun):
    """The answer where no learning rate is known: the product lr*λ, and what learning rate the laws suggest."""

    schema_: Literal["adamw-scale/decay-per-step/1"] = Field("adamw-scale/decay-per-step/1", alias="schema")
    lr_times_weight_decay: float = Field(gt=0)
    lr_times_weight_decay_range: tuple[float, float]
    rule: str
    source: str
    certainty: str
    in_domain: bool
    derivation: str
    timescale: Timescale
    alternatives: tuple[Alternative, ...]
    laws: tuple[LawAdvice, ...]
    beta2: float | None = None
    cautions: tuple[Caution, ...]
    run: TrainingRun

    def to_json(self) -> str:
        """The document of `recommend --json` without a learning rate."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class Conversion(Noun):
    """One library's weight decay in another's unit; `formula` says what each step multiplies a weight by."""

    schema_: Literal["adamw-scale/conversion/1"] = Field("adamw-scale/conversion/1", alias="schema")
    weight_decay: float
    from_: str = Field(alias="from")
    to: str
    value: float = Field(description="what was converted")
    match: str = Field(description="kept: the decay at peak lr, or its sum over the run")
    other_match: float | None = Field(None, description="the result had the other been kept, where that differs")
    pytorch: float | None = Field(None, description="the same in PyTorch's convention; none between equal kinds")
    formulas: dict[str, str]
    cautions: tuple[Caution, ...] = ()


class Memory(Noun):
    """What the final weights of a run remember; see `ema_window`."""

    schema_: Literal["adamw-scale/timescale/1"] = Field("adamw-scale/timescale/1", alias="schema")
    weight_decay: float = Field(gt=0, description="PyTorch convention, at peak lr")
    rule: str | None = Field(None, description="the rule that recommended it; none where it is the run's own")
    peak_lr: float
    timescale: Timescale
    retention: float = Field(description="share of the initial weights in the final ones")
    effective_window: Timescale = Field(description="time before the end over which the decay adds up to 1")
    age_quantiles: dict[str, float] = Field(description="share of the updates' part -> steps before the end it is from")
    progress: tuple[float, ...] = Field(description="points of the run, 0 to 1")
    density: tuple[float, ...] = Field(description="weight of the updates at each point, per run")
    lr_multiplier: tuple[float, ...] = Field(description="lr / peak lr at each point")
    run: TrainingRun


class Optimum(Noun):
    """Where the loss of a sweep over the timescale is lowest.

    `log2_interval` bounds log2(timescale_run) at 80 %, `log2_interval_95` at 95 %; in `log2_band` the loss is within
    0.2 % of the lowest. `status` is "located", "flat" (the loss does not tell) or "edge" (the lowest loss lies at the
    end of what was probed). Only a located optimum is a measurement.
    """

    run: TrainingRun
    timescale_run: float = Field(ge=1e-9, le=1e9)
    log2_interval: tuple[float, float]
    log2_interval_95: tuple[float, float] | None = None
    log2_band: tuple[float, float] | None = None
    log2_probed: tuple[float, float] | None = Field(
        None, description="ends of what was probed and neither diverged nor was left out"
    )
    log2_diverged: tuple[float, ...] = Field((), description="where probes diverged")
    status: Literal["located", "flat", "edge"]
    loss: float | None = None
    noise: float | None = Field(None, description="standard deviation of a loss within its seed")
    outliers: int = Field(
        0,
        description="probes left out: losses as good as diverged, or far above lower ones of their seed on both sides",
    )

    @model_validator(mode="after")
    def _refuse_what_disagrees(self) -> Self:
        low, high = self.log2_interval
        if not -40 <= low <= high <= 40:
            raise SpecError(f"log2_interval = {self.log2_interval} is not an interval of octaves")
        return self

    @property
    def timescale(self) -> Timescale:
        """The optimum in all three views."""
        return self.run.timescale(run=self.timescale_run)

    @property
    def weight_decay(self) -> float:
        """The weight decay (PyTorch convention) that gives the probed run this timescale."""
        return ema.weight_decay(self.run.lr, self.timescale.iters)

    @property
    def octaves(self) -> tuple[float, float]:
        """The interval relative to the optimum: octaves below (negative or 0) and above."""
        x = math.log2(self.timescale_run)
        low, high = self.log2_interval
        return min(0.0, low - x), max(0.0, high - x)


class Slope(Noun):
    """How the optimum moves against a law: octaves of the timescale for 4 times a quantity, and its standard deviation."""

    octaves_per_factor_4: float
    deviation: float


class LeftOut(Noun):
    """A measured optimum, log2(timescale_run), beside what all the others predict for it; the interval holds 80 %."""

    run: TrainingRun
    measured: float
    predicted: float
    log2_interval: tuple[float, float]


class TunedLr(Noun):
    """The learning rate at which the loss was lowest, each at its own best timescale.

    `losses` pairs learning rates with it; `status` is "edge" where the best is the smallest or largest that was tried.
    `timescale_slope`, in octaves per octave of lr, is 0 where the timescale stays put as lr moves and -1 where λ does;
    `steadier` names the one that moves less.
    """

    peak_lr: float = Field(gt=0)
    status: Literal["located", "edge"]
    losses: tuple[tuple[float, float], ...]
    timescale_slope: float | None = None
    steadier: Literal["timescale", "weight_decay"] | None = None


class Validation(Noun):
    """A prediction for a run that was not calibrated, and what training there showed.

    `predicted` and its 80 % interval are log2(timescale_run); `losses` pairs those that were trained with their mean
    loss over seeds. `regret` is the prediction's loss above the lowest of them, on the same seeds, with its standard error.
    """

    run: TrainingRun
    predicted: float
    log2_interval: tuple[float, float]
    optimum: Optimum
    losses: tuple[tuple[float, float], ...]
    regret: float
    regret_deviation: float


class Target(Noun):
    """The run that a calibration was made for, and what it says of it."""

    run: TrainingRun
    weight_decay: float = Field(description="PyTorch convention")
    weight_decay_range: tuple[float, float]
    timescale: Timescale
    rule: str


class Calibration(Noun):
    """A rule whose constants were measured, with the optima they were fitted to, the base run's first.

    `constants` is empty where no optimum was located; then it advises nothing. `slopes` are of quantities in which the
    optima differ.
    """

    schema_: Literal["adamw-scale/calibration/1"] = Field("adamw-scale/calibration/1", alias="schema")
    task: dict[str, Any]
    rule: str
    constants: dict[str, float]
    optima: tuple[Optimum, ...] = Field(min_length=1)
    slopes: dict[str, Slope] = Field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    lr: TunedLr | None = None
    target: Target | None = None
    validation: Validation | None = None
    probes: dict[str, Any]

    @model_validator(mode="after")
    def _refuse_what_disagrees(self) -> Self:
        if bool(self.constants) != any(optimum.status == "located" for optimum in self.optima):
            raise SpecError("constants are fitted where an optimum was located, and only there")
        return self

    def to_json(self) -> str:
        """The content of calibration.json."""
        return self.model_dump_json(by_alias=True, exclude_none=True, indent=2) + "\n"
