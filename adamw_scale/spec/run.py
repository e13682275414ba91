"""What the user trains, and the words for it (--tokens 26B is dataset_size). Read this file first.

TrainingRun     the noun: frozen, strict, reads numbers as people write them ("1.3B", "2%")
described_by    from the words that people use for its fields
said_over       words over words: flags over a file, a user over a config, a new run over a tuned one
sized_by_steps  `steps` as the size of the data set, or as epochs; `sequences` as the batch

A field's description states its unit and is the help of its flag. What cannot be is refused with one `SpecError`
that names the flag, the reason and the fix.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from adamw_scale.errors import MissingInputError, SpecError, UnknownNameError
from adamw_scale.noun import Count, Fraction, Fractions, Noun, Number, Pair, Size, Units
from adamw_scale.theory import conventions, parametrizations, schedules, weight_decay_schedules
from adamw_scale.theory import timescale as ema
from adamw_scale.units import factors_of, format_count, parse_quantity

UNITS = ("tokens", "samples")
TASKS = ("pretraining", "finetuning", "lora")
OPTIMIZERS = ("adamw", "muon", "lion")
PARAMS_KINDS = ("total", "non-embedding", "active")
LARGEST_RATIO = 1e4  # of width or depth to the base; beyond, one of the two is a slip
SMALLEST = 1e-12  # learning rate or weight decay; below it, 0 is meant
LEAST_TOKENS, A_MODEL = 1000.0, 1e6  # up to so many tokens for so many parameters are tokens per parameter
FEW_PARAMS = 1000.0  # below it, a number of parameters with decimals lacks its suffix
Point = tuple[Fraction, Fraction]


def _with_its_sign(lr: float) -> float:
    """Refuse 3e4 where 3e-4 is meant."""
    if lr >= 100:
        digits, exponent = f"{lr:e}".split("e+")
        raise ValueError(f"{lr:g} is no learning rate: write {float(digits):g}e-{int(exponent)} if the minus is lost")
    return lr


Rate = Annotated[Number, AfterValidator(_with_its_sign), Field(ge=SMALLEST, le=10)]


def _option(description: str, flag: str = "") -> Any:
    """A field that need not be given, with a flag of its own where that is not the field's name."""
    return Field(None, description=description, json_schema_extra={"flag": flag} if flag else None)


class Timescale(Noun):
    """How long the weights remember, at peak learning rate, in three views of one duration."""

    iters: float = Field(gt=0, description="optimizer steps: 1 / (peak_lr * weight_decay)")
    epochs: float = Field(gt=0, description="passes over the data set: iters / steps_per_epoch")
    run: float = Field(gt=0, description="fraction of the whole run: iters / total_steps")


def usual_betas(unit: str | None, task: str | None) -> tuple[float, float]:
    """Language models are pretrained with beta2 = 0.95; elsewhere PyTorch's 0.999 is the habit."""
    return (0.9, 0.999 if unit == "samples" or task in ("finetuning", "lora") else 0.95)


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
    dataset_size: Units = Field(
        description="unique units in the data set, one epoch", json_schema_extra={"flag": "--tokens or --samples"}
    )
    epochs: Annotated[Count, Field(ge=1e-6, le=1e9)] = Field(1.0, description="passes over the data set")
    batch_size: Units = Field(
        description="tokens (not sequences) per optimizer step on all devices together, 0.5M or 512x1024 for 512 "
        "sequences of 1,024; with --samples, samples"
    )
    peak_lr: Rate | None = _option("highest learning rate of the schedule; without it the answer is lr·λ", "--lr")
    schedule: str = Field("linear", description=f"learning-rate shape after warm-up: {', '.join(schedules.SCHEDULES)}")
    warmup_fraction: Fraction | None = _option("linear warm-up, as a fraction of the run", "--warmup")
    warmup_steps: Annotated[Number, Field(ge=0, le=1e18)] | None = _option("linear warm-up, in steps", "--warmup")
    final_lr_fraction: Fraction | None = _option("final over peak learning rate; 0 decays to zero")
    decay_fraction: Fraction | None = _option("wsd: last part of the run over which the learning rate falls (0.2)")
    schedule_power: Annotated[Number, Field(gt=0, le=100)] | None = _option("polynomial: exponent of the fall (2)")
    milestones: Fractions | None = _option("step: points of the run at which lr drops, as 0.8,0.9")
    step_factor: Annotated[Number, Field(gt=0, lt=1)] | None = _option("step: factor of a drop (0.1)")
    cycles: Annotated[Number, Field(ge=1)] | None = _option("cosine-restarts: number of cycles")
    cycle_growth: Annotated[Number, Field(ge=1, le=10)] | None = _option(
        "cosine-restarts: length of a cycle over that of the one before (1)"
    )
    schedule_table: Annotated[tuple[Point, ...], Field(max_length=schedules.MAX_PIECES)] | None = _option(
        "table: points (progress, lr / peak lr), straight lines between", "--schedule-file"
    )
    num_params: Size | None = _option("parameters of the model", "--params")
    num_params_kind: str = Field(
        "total",
        description=f"which parameters are counted: {', '.join(PARAMS_KINDS)}",
        json_schema_extra={"flag": "--params-kind"},
    )
    width: Size | None = _option("hidden size of the model")
    depth: Size | None = _option("layers of the model")
    parametrization: str = Field(
        "standard", description=f"how lr and λ depend on width: {', '.join(parametrizations.PARAMETRIZATIONS)}"
    )
    base_width: Size | None = _option("muP: width at which peak_lr was tuned")
    base_depth: Size | None = _option("CompleteP: depth at which peak_lr was tuned")
    sequence_length: Size | None = _option("tokens per sequence, which every batch holds at least one of")
    optimizer: str = Field(
        "adamw", description="adamw, muon (on the hidden matrices, AdamW on the rest) or lion; --lr is its own"
    )
    betas: Pair = Field((0.9, 0.95), description="AdamW's betas, as 0.9,0.95")
    eps: Annotated[Number, Field(gt=0, le=1)] = Field(1e-8, description="AdamW's epsilon")
    weight_decay: Annotated[Number, Field(ge=0, le=1e12)] | None = _option(
        "the decay used today, to be judged; under muP that of hidden matrices"
    )
    convention: str = Field(
        "pytorch", description="the library whose weight_decay it is; see adamw-scale list conventions"
    )
    weight_decay_schedule: str = Field(
        "constant", description=f"weight decay's own schedule: {', '.join(weight_decay_schedules.SHAPES)}"
    )
    final_weight_decay_fraction: Annotated[Number, Field(ge=0, le=1000)] | None = _option(
        "linear and cosine weight decay: final over first value (0)"
    )
    task: str = Field("pretraining", description="pretraining, finetuning or lora")

    @model_validator(mode="before")
    @classmethod
    def _default_betas(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("betas") is None:
            return {**data, "betas": usual_betas(data.get("unit"), data.get("task"))}
        return data

    @model_validator(mode="before")
    @classmethod
    def _take_the_length(cls, data: Any) -> Any:
        """A batch of 512x1024 says that sequences are of 1,024 tokens, and none of another length."""
        if not isinstance(data, dict) or not isinstance(data.get("batch_size"), str) or data.get("unit") == "samples":
            return data
        lengths, length = [], 0.0
        with suppress(SpecError):  # what is no number is refused by its own field
            lengths = [*factors_of(data["batch_size"])[1:]]
            if lengths and data.get("sequence_length") is None:
                return {**data, "sequence_length": lengths[0]}
            length = parse_quantity(str(data.get("sequence_length")))
        if lengths and lengths != [length]:
            raise SpecError(
                f"--batch-size = {data['batch_size']} is of sequences of {lengths[0]:g} tokens, and --sequence-length "
                f"is {length:g}: give both the same length, or write the batch as one number"
            )
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
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("num_params_kind", self.num_params_kind, PARAMS_KINDS),
        ):
            if name not in known:
                raise UnknownNameError(kind, name, known)
        self._refuse_impossible_sizes()
        if max(self.betas) > 1 - 1e-9:
            raise SpecError(f"--betas = {self.betas[0]:g},{self.betas[1]:g}: each must be below 1")
        self._refuse_contradictory_schedule()
        self._refuse_contradictory_sizes()
        self._refuse_impossible_decay()
        return self

    def _refuse_impossible_sizes(self) -> None:
        params, data, batch, sequence = self.num_params, self.dataset_size, self.batch_size, self.sequence_length
        if params is not None and params < FEW_PARAMS and params != int(params):
            raise SpecError(f"--params = {params:g} is no number of parameters: write {params:g}M or {params:g}B")
        if self.unit == "tokens":
            if (params or 0) >= A_MODEL and data <= LEAST_TOKENS and self.task == "pretraining":
                raise SpecError(
                    f"--tokens = {data:g} is too few for {format_count(params or 0)} parameters: it takes the tokens "
                    f"of the data set; {data:g} per parameter is --tokens {format_count(data * (params or 0))}"
                )
            if sequence is not None and sequence > data:
                raise SpecError(
                    f"--sequence-length = {format_count(sequence)} is longer than the data set of {format_count(data)} "
                    "tokens: lower it, or check the suffix of --tokens"
                )
            if sequence is not None and batch < sequence:
                raise SpecError(
                    f"--batch-size = {format_count(batch)} tokens is less than one sequence of "
                    f"{format_count(sequence)} (--sequence-length): for {batch:g} sequences write --batch-size "
                    f"{batch:g}x{sequence:g} or --sequences {batch:g}"
                )
        if batch > data:
            raise SpecError(
                f"--batch-size = {format_count(batch)} is larger than the data set of {format_count(data)} "
                f"{self.unit}: lower it, or check that both are in {self.unit}, and the suffix of --{self.unit}"
            )
        if self.total_steps < 2:
            raise SpecError(
                f"the run has {self.total_steps:.2g} optimizer steps (--{self.unit} · --epochs / --batch-size): "
                "lower --batch-size or raise --epochs"
            )

    def _refuse_contradictory_schedule(self) -> None:
        if self.warmup_fraction is not None and self.warmup_steps is not None:
            raise SpecError(
                f"--warmup is both a fraction ({self.warmup_fraction:g}, warmup_fraction) and a number of steps "
                f"({self.warmup_steps:g}, warmup_steps): keep one"
            )
        if self.warmup_share >= 1:
            raise SpecError(
                f"--warmup of {format_count(self.warmup_share * self.total_steps)} steps does not fit in a run of "
                f"{format_count(self.total_steps)} steps: lower it"
            )
        if self.decay_fraction == 0:
            raise SpecError("--decay-fraction = 0 leaves nothing to decay: raise it or pass --schedule constant")
        _ = self.lr_schedule  # a schedule refuses what does not fit in the run
        if (
            self.final_weight_decay_fraction is not None
            and self.weight_decay_schedule not in weight_decay_schedules.TAKE_A_FINAL_FRACTION
        ):
            raise SpecError(
                f"--final-weight-decay-fraction has no effect where weight decay is {self.weight_decay_schedule}: "
                "drop it or pass --weight-decay-schedule linear"
            )

    def _refuse_contradictory_sizes(self) -> None:
        needs = parametrizations.PARAMETRIZATIONS[self.parametrization].needs
        for what, size, base in (("width", self.width, self.base_width), ("depth", self.depth, self.base_depth)):
            if what in needs and (size is None or base is None):
                raise MissingInputError(
                    f"--parametrization {self.parametrization} needs the {what} ratio: pass --{what} and --base-{what}"
                )
            if size and base and not 1 / LARGEST_RATIO <= size / base <= LARGEST_RATIO:
                raise SpecError(f"--{what} = {size:g} is {size / base:.3g} times --base-{what}: change one of the two")
            if what not in needs and base is not None:
                raise SpecError(
                    f"--base-{what} has no effect in {self.parametrization} parametrization: drop it or pass "
                    "--parametrization"
                )

    def _refuse_impossible_decay(self) -> None:
        if self.weight_decay is None:
            return
        if not conventions.follows_lr(self.convention) and self.weight_decay_schedule != "constant":
            raise SpecError(
                f"--convention {self.convention} and --weight-decay-schedule {self.weight_decay_schedule} both say how "
                "the decay moves: drop one of the two"
            )
        if 0 < self.weight_decay < SMALLEST:
            raise SpecError(f"--weight-decay = {self.weight_decay:g} is zero for every purpose: pass --weight-decay 0")
        if self.peak_lr is not None and self.peak_lr * self.current_weight_decay >= 1:
            raise SpecError(
                f"--weight-decay = {self.weight_decay:g} at --lr {self.peak_lr:g} in convention {self.convention!r} "
                "shrinks weights by 100 % or more each step: lower it, or name its unit with --convention"
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
            raise MissingInputError("the run lacks its learning rate, which is needed here: pass --lr (peak_lr)")
        return self.peak_lr

    @property
    def multipliers(self) -> dict[str, parametrizations.Multipliers]:
        """What the parametrization multiplies base values by, for each group."""
        by = parametrizations.PARAMETRIZATIONS[self.parametrization]
        return by.multipliers(self.width_ratio, self.depth_ratio)

    @property
    def on_hidden(self) -> parametrizations.Multipliers:
        """The same for the hidden matrices, nearly all weights."""
        return self.multipliers[parametrizations.HIDDEN]

    @property
    def hidden_lr(self) -> float:
        """Peak learning rate of the hidden matrices; MissingInputError without one."""
        return self.lr * self.on_hidden.peak_lr

    @property
    def drift(self) -> float:
        """Timescale of the hidden matrices over that of what multipliers apply to; 1 in most parametrizations."""
        by = parametrizations.PARAMETRIZATIONS[self.parametrization]
        return by.timescale_drift(self.width_ratio, self.depth_ratio)

    @property
    def hidden_weight_decay(self) -> float:
        """Today's weight decay, taken as that of the hidden matrices, as the PyTorch value with the same sum."""
        if not self.weight_decay:
            return 0.0
        setting = self.setting if self.peak_lr is None else self.setting._replace(peak_lr=self.hidden_lr)
        return conventions.to_pytorch(self.convention, self.weight_decay, setting, match="mass")

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
        """All three views of a timescale from the one that is known.

        Raises:
            SpecError: none of the three was given, or more than one.

        Example:
            >>> TrainingRun(dataset_size=1000, batch_size=10, epochs=4, peak_lr=1e-3).timescale(run=0.5)
            Timescale(iters=200.0, epochs=2.0, run=0.5)
        """
        if [iters, epochs, run].count(None) != 2:
            raise SpecError("a timescale is one duration in three views: give exactly one of iters, epochs and run")
        if iters is None:
            iters = epochs * self.steps_per_epoch if epochs is not None else (run or 0.0) * self.total_steps
        return Timescale(
            iters=iters,
            epochs=epochs if epochs is not None else iters / self.steps_per_epoch,
            run=run if run is not None else iters / self.total_steps,
        )

    def hidden_timescale_of(self, weight_decay: float) -> Timescale:
        """Timescale that a weight decay of the hidden matrices (PyTorch convention, > 0) gives them."""
        return self.timescale(iters=ema.tau_iter(self.hidden_lr, weight_decay))

    def base_timescale_of(self, hidden_weight_decay: float) -> Timescale:
        """Timescale, before `drift`, that goes with a weight decay of the hidden matrices (PyTorch convention)."""
        return self.timescale_of(hidden_weight_decay / self.on_hidden.weight_decay)

    def hidden_decay_of(self, iters: float) -> float:
        """The weight decay of the hidden matrices that goes with a timescale in steps, before `drift`."""
        return ema.weight_decay(self.lr, iters) * self.on_hidden.weight_decay

    def timescale_of(self, weight_decay: float) -> Timescale:
        """Timescale that a weight decay (PyTorch convention, > 0) gives this run."""
        return self.timescale(iters=ema.tau_iter(self.lr, weight_decay))


# Other words for fields, and words that stand for several: in flags, in run files, and in `audit(...)` alike.
SHORTHANDS = {
    "lr": "peak_lr",
    "learning_rate": "peak_lr",
    "params": "num_params",
    "params_kind": "num_params_kind",
    "schedule_file": "schedule_table",
}
WORDS = (*UNITS, "steps", "schedule_steps", "sequences", "warmup")
WARMUPS = ("warmup_fraction", "warmup_steps")
BATCHES = ("batch_size", "sequences")  # two ways to say one
SIZES = ("epochs", "steps", "dataset_size")  # two of them say the third; the first that is not said anew goes


def described_by(words: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a `TrainingRun`, `steps`, `schedule_steps` and `sequences`, from the words that people use.

    None may be said twice.

    lr, params, schedule_file: peak_lr, num_params, schedule_table. tokens, samples: dataset_size and unit in one.
    warmup: a fraction of the run below 1 or with a %, else steps. schedule_table: also the schedule of that name.

    Raises:
        SpecError: two words say the same thing.
        UnknownNameError: a word is no field.

    Example:
        >>> described_by({"tokens": "26B", "warmup": "2%", "lr": 3e-4})
        {'peak_lr': 0.0003, 'dataset_size': '26B', 'unit': 'tokens', 'warmup_fraction': 0.02}
    """
    fields: dict[str, Any] = {}
    for name, value in words.items():
        plain = name.replace("-", "_")
        field = SHORTHANDS.get(plain, plain)
        if field in fields:
            raise SpecError(f"{name} and another spelling of it ({field}) were both given: keep one")
        if field not in TrainingRun.model_fields and field not in WORDS:
            raise UnknownNameError("field of a run", name, {*TrainingRun.model_fields, *WORDS, *SHORTHANDS})
        fields[field] = value
    for unit in [unit for unit in UNITS if unit in fields]:
        if any(other in fields for other in UNITS if other != unit) or fields.get("unit", unit) != unit:
            raise _mixed_units()
        if "dataset_size" in fields:
            raise SpecError(f"--{unit} and --dataset-size both give the size of the data set: keep one")
        fields |= {"dataset_size": fields.pop(unit), "unit": unit}
    if fields.keys() >= {*BATCHES}:
        raise SpecError("--sequences and --batch-size both give the batch: keep one")
    if "warmup" in fields:
        fields |= _warmup(fields.pop("warmup"), fields)
    if "schedule_table" in fields and fields.setdefault("schedule", "table") != "table":
        raise SpecError("--schedule-file is a schedule of its own: drop --schedule")
    return fields


def _warmup(warmup: Any, fields: Mapping[str, Any]) -> dict[str, float]:
    """The field that a warm-up is of: below 1 or with a % it is a fraction of the run, else steps."""
    if fields.keys() & WARMUPS:
        raise SpecError("warmup and warmup_fraction or warmup_steps were both given: keep one")
    amount = _amount("--warmup", warmup)
    if not math.isfinite(amount):
        raise SpecError(f"--warmup = {warmup} is no finite number: write steps, or a share of the run such as 2%")
    if amount > 1 and amount != int(amount) and "%" not in str(warmup):
        raise SpecError(
            f"--warmup = {warmup} is no whole number of steps: write {amount:g}% for a share of the run, or whole steps"
        )
    return {"warmup_fraction" if amount < 1 or "%" in str(warmup) else "warmup_steps": amount}


def _mixed_units() -> SpecError:
    return SpecError(
        "tokens and samples are mixed: every size of a run is in one unit, so keep either --tokens or --samples"
    )


def said_over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a run put over what was said before; both as `described_by` gives it.

    Everything of the base stays but what was said anew, and what would contradict it or have no effect beside it:
    options that another schedule or parametrization does not take, and of data set, epochs and steps the third, where
    two say it all.

    Raises:
        SpecError: the two count in different units.

    Example:
        >>> said_over({"schedule": "wsd", "decay_fraction": 0.1, "warmup_steps": 9}, {"schedule": "cosine"})
        {'schedule': 'cosine', 'warmup_steps': 9}
    """
    if "unit" in own and base.get("unit", own["unit"]) != own["unit"]:
        raise _mixed_units()
    dropped: set[str] = set()
    if "schedule" in own:
        known = schedules.SCHEDULES.get(str(own["schedule"]))
        dropped |= schedules.OPTIONS.keys() - set(known.takes if known else ())
    if own.keys() & WARMUPS or "warmup_fraction" in dropped:
        dropped |= set(WARMUPS)
    if "parametrization" in own:
        by = parametrizations.PARAMETRIZATIONS.get(str(own["parametrization"]))
        dropped |= {f"base_{what}" for what in ("width", "depth") if by and what not in by.needs}
    if own.get("weight_decay_schedule", "linear") not in weight_decay_schedules.TAKE_A_FINAL_FRACTION:
        dropped |= {"final_weight_decay_fraction"}
    if own.keys() & {*BATCHES}:
        dropped |= {*BATCHES}
    if {*SIZES} <= base.keys() | own.keys():
        dropped |= {next((name for name in SIZES if name not in own), "")}
    kept = {name: value for name, value in base.items() if name not in dropped}
    return {**kept, **own}


def sized_by_steps(words: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a `TrainingRun`, with `steps` replaced by what it says: the data set, or epochs where that is known.

    `sequences`, of `sequence_length` tokens each, become the batch.

    `schedule_steps`, the steps that a schedule's table was written for, count where nothing else says how long the
    run is, so a table is stretched over the run.

    Raises:
        MissingInputError: steps without a batch size, or sequences without their length.
        SpecError: the data set is said twice, or a size is not above 0.
    """
    fields = dict(words)
    if "sequences" in fields:
        fields["batch_size"] = _tokens_of(fields.pop("sequences"), fields)
    of_table = fields.pop("schedule_steps", None)
    if of_table is not None and "dataset_size" not in fields and "batch_size" in fields:
        fields.setdefault("steps", of_table)
    if "steps" not in fields:
        return fields
    if "batch_size" not in fields:
        raise MissingInputError("--steps needs the batch size to tell how many units are seen: pass --batch-size")
    if fields.keys() >= {*SIZES}:
        raise SpecError("--steps, --epochs and the size of the data set say the same thing twice: drop one of them")
    seen = above_0("--steps", fields.pop("steps")) * above_0("--batch-size", fields["batch_size"], _product)
    if "dataset_size" in fields:
        return {
            **fields,
            "epochs": seen / above_0(f"--{fields.get('unit', 'tokens')}", fields["dataset_size"], _product),
        }
    return {**fields, "dataset_size": seen / above_0("--epochs", fields.get("epochs", 1.0))}


def _tokens_of(sequences: Any, fields: Mapping[str, Any]) -> float:
    """The batch in tokens."""
    if fields.get("unit") == "samples":
        raise SpecError("--sequences are of tokens, and the data set is in samples: pass --batch-size, in samples")
    if "sequence_length" not in fields:
        raise MissingInputError(
            "--sequences needs their length to tell how many tokens a batch has: pass --sequence-length"
        )
    return above_0("--sequences", sequences) * above_0("--sequence-length", fields["sequence_length"])


def _product(text: str) -> float:
    return math.prod(factors_of(text))


def above_0(option: str, value: Any, read: Callable[[str], float] = parse_quantity) -> float:
    """A size among words that were not validated yet; SpecError, which names its option, unless it is above 0."""
    amount = _amount(option, value, read)
    if not amount > 0:
        raise SpecError(f"{option} = {value}: it must be above 0")
    return amount


def _amount(option: str, value: Any, read: Callable[[str], float] = parse_quantity) -> float:
    try:
        return read(str(value))
    except SpecError as error:
        raise SpecError(f"{option}: {error}") from None
