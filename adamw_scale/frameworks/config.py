"""What a training config says about AdamW, in no framework's words: what emitters write and readers find."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from adamw_scale.noun import Count, Fraction, Fractions, Noun, Number, Pair
from adamw_scale.theory.parametrizations import GROUPS, HIDDEN
from adamw_scale.theory.schedules import OPTIONS, POWER, Schedule, ended
from adamw_scale.units import printable

NEARLY_ALL = 1 - 1e-9  # of the run, the longest warm-up that a schedule can take
Amount = Annotated[Number, Field(ge=0, le=1e18)]
Severity = Literal["error", "warning", "note"]
Sentence = Annotated[str, BeforeValidator(printable)]


class Mend(Noun):
    """One change of a text that mends a finding for certain: a key gets a value, or a name, or goes."""

    key: str
    value: str | None = None
    name: str | None = Field(None, description="the key's own, where it is misspelled")


class Finding(Noun):
    """Something a config does that its author may not mean; `key` is where it is written."""

    code: str
    severity: Severity
    message: Sentence
    fix: Sentence
    key: str | None = None
    mend: Mend | None = Field(None, description="what `audit --fix` writes; none where that is for its author to say")


def finding(
    severity: Severity, code: str, key: str | None, message: str, fix: str, mend: Mend | None = None
) -> Finding:
    """A `Finding` from its parts in the order in which they are read.

    error: the config surely does not do what it says. warning: it probably is not meant. note: worth knowing.
    """
    return Finding(code=code, severity=severity, message=message, fix=fix, key=key, mend=mend)


class Group(Noun):
    """A parameter group: its learning rate over the config's, and its decay in the config's convention."""

    group: str
    lr_factor: Annotated[Number, Field(gt=0, le=1e12)] = 1.0
    weight_decay: Amount = 0.0
    eps_factor: Annotated[Number, Field(gt=0, le=1e12)] = 1.0
    known: bool = Field(True, description="false where whether it decays is told by code")


class Config(Noun):
    """Optimizer, schedule, duration and batch of a config; None is what it does not say.

    Schedule fields are those of `TrainingRun`, with `decay_steps` where a framework counts the fall in steps.
    """

    convention: str = Field(description="how the optimizer of this config applies its weight decay")
    optimizer: str = Field("adamw", description="the optimizer as the config names it")
    peak_lr: Annotated[Number, Field(gt=0, le=1e6)] | None = None
    groups: tuple[Group, ...] = Field(min_length=1, description="what really decays, exclusions applied")
    weight_decay_known: bool = Field(True, description="false where the config leaves it to something else")
    betas: Pair | None = None
    eps: Annotated[Number, Field(ge=0, le=1)] | None = None

    schedule: str | None = None
    warmup_fraction: Fraction | None = None
    warmup_steps: Amount | None = None
    final_lr_fraction: Amount | None = Field(None, description="final over peak learning rate; some configs end higher")
    decay_fraction: Fraction | None = None
    decay_steps: Amount | None = None
    schedule_power: Count | None = None
    milestones: Fractions | None = None
    step_factor: Fraction | None = None
    cycles: Count | None = None
    cycle_growth: Count | None = None
    schedule_table: tuple[tuple[Fraction, Fraction], ...] | None = None
    schedule_end: Count | None = Field(
        None, description="step at which the schedule ends, where the run ends at another"
    )
    after_end: Fraction | None = Field(
        None, description="multiplier of the steps that follow; none where the schedule's last one stays"
    )
    weight_decay_schedule: str = "constant"
    final_weight_decay_fraction: Amount | None = None

    total_steps: Count | None = None
    epochs: Count | None = None
    unit: str | None = Field(None, description="tokens or samples, where the framework tells")
    total_tokens: Count | None = None
    sequence_length: Count | None = None
    batch_size: Count | None = Field(None, description="sequences or samples per optimizer step, over all devices")
    batch_tokens: Count | None = Field(None, description="the same in tokens, where the config counts those")
    per_device_batch_size: Count | None = Field(None, description="sequences or samples per device and forward pass")
    accumulation: Count | None = Field(None, description="forward passes per optimizer step")
    repeats: Count | None = Field(
        None, description="how often the batches of an epoch hold each row, where that is not once"
    )
    packed: bool | None = Field(
        None, description="false where a batch is of rows of the data set, each of its own length, not full sequences"
    )
    devices: Count | None = None

    task: str | None = Field(None, description="pretraining, finetuning or lora, where the config shows it")
    width_ratio: Count | None = Field(None, description="muP: width over base width, where the config has both")
    defaults: tuple[str, ...] = Field(
        (), description="fields above that the config does not say and the framework fills in"
    )
    unknown: tuple[str, ...] = Field((), description="fields above that the text leaves to what could not be followed")
    overridable: tuple[str, ...] = Field(
        (), description="fields above whose value is a default of the script, which a command line may change"
    )
    findings: tuple[Finding, ...] = Field((), description="traps of the framework itself, seen while reading")

    def group(self, name: str) -> Group:
        """A parameter group by name."""
        return next(group for group in self.groups if group.group == name)

    @property
    def weight_decay(self) -> float:
        """Decay of the hidden matrices, in the config's convention."""
        return self.groups[0].weight_decay

    @property
    def power(self) -> float:
        """Exponent of the fall, which of a straight line is 1."""
        if self.schedule == "linear":
            return 1.0
        return POWER if self.schedule_power is None else self.schedule_power

    @property
    def global_batch(self) -> float | None:
        """Sequences or samples per optimizer step: given, or devices times their batches times accumulation.

        Rows that are held several times in an epoch count as a part of one each time.
        """
        batch = self.batch_size
        if batch is None and self.batch_tokens is not None and self.sequence_length is not None:
            batch = self.batch_tokens / self.sequence_length
        if batch is None and self.per_device_batch_size is not None and self.devices is not None:
            batch = self.per_device_batch_size * self.devices * (self.accumulation or 1.0)
        return None if batch is None else batch / (self.repeats or 1.0)

    @property
    def lr_schedule(self) -> Schedule:
        """The learning rate's schedule over the run; with `total_steps` where it is counted in steps."""
        given = {option: getattr(self, option) for option in OPTIONS}
        if self.final_lr_fraction is not None:
            given["final_lr_fraction"] = min(1.0, self.final_lr_fraction)
        total, end = self.total_steps, self.schedule_end or self.total_steps
        if self.warmup_steps is not None and end:
            given["warmup_fraction"] = min(NEARLY_ALL, self.warmup_steps / end)
        if self.decay_steps is not None and end:
            given["decay_fraction"] = self.decay_steps / end
        schedule = Schedule(self.schedule or "constant", **given)
        return ended(schedule, end / total, self.after_end) if total and end and end != total else schedule


def same_decay(weight_decay: float | None, undecayed: frozenset[str] = frozenset()) -> tuple[Group, ...]:
    """Every group at the config's learning rate and one weight decay, but for those left undecayed.

    1 stands for a decay that is not known, which `Config.unknown` says.
    """
    decay = 1.0 if weight_decay is None else weight_decay
    return tuple(Group(group=name, weight_decay=0.0 if name in undecayed else decay) for name in GROUPS)


def hidden_only(wanted: tuple[Group, ...], undecayed: frozenset[str], lr_factor: float = 1.0) -> tuple[Group, ...]:
    """What a framework does with one number: the hidden matrices' decay everywhere but in the groups it spares."""
    hidden = next(group for group in wanted if group.group == HIDDEN)
    return tuple(
        Group(
            group=group.group,
            lr_factor=lr_factor,
            weight_decay=0.0 if group.group in undecayed else hidden.weight_decay,
        )
        for group in wanted
    )
