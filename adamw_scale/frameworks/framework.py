"""What every framework is: one file that knows how it applies, excludes, schedules and names things."""

from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal, Protocol

from pydantic import Field

from adamw_scale import conventions
from adamw_scale.errors import SpecError
from adamw_scale.noun import Noun
from adamw_scale.spec import Caution, ParamGroup, Recommendation, TrainingRun
from adamw_scale.units import format_count, format_significant


class Snippet(Noun):
    """A config fragment in a framework's own language and unit."""

    schema_: Literal["adamw-scale/snippet/1"] = Field("adamw-scale/snippet/1", alias="schema")
    framework: str
    language: Literal["python", "shell"]
    text: str
    cautions: tuple[Caution, ...] = ()


class Framework(Protocol):
    """A training framework; constructed without arguments."""

    name: ClassVar[str]
    title: ClassVar[str]
    convention: ClassVar[str]
    undecayed_by_default: ClassVar[str]

    def emit(self, recommendation: Recommendation) -> Snippet:
        """The recommendation as this framework's config."""
        ...


def value(number: float) -> str:
    """A computed number for a config: eight significant digits, enough for 1e-7 and short enough to read."""
    return f"{number:.8g}"


def exact(number: float) -> str:
    """A number of the user's, as it was given."""
    return repr(number)


def decay(group: ParamGroup, framework: Framework) -> str:
    """A group's weight decay in the framework's own convention, at the group's own learning rate."""
    setting = conventions.Setting(peak_lr=group.peak_lr)
    return value(conventions.from_pytorch(framework.convention, group.weight_decay, setting))


def spelled(schedule: str, names: Mapping[str, str], framework: Framework) -> str:
    """The framework's name of a schedule; SpecError where it has none."""
    if schedule not in names:
        raise SpecError(
            f"{framework.title} has no schedule {schedule!r}: pass --schedule with one of {', '.join(names)}"
        )
    return names[schedule]


def total_steps(run: TrainingRun) -> int:
    """Optimizer steps of the run, whole."""
    return round(run.total_steps)


def warmup_steps(run: TrainingRun) -> int:
    """Warm-up steps of the run, whole."""
    return round(run.warmup_share * run.total_steps)


def decay_steps(run: TrainingRun) -> int:
    """Steps over which the learning rate falls at the end of the run, whole."""
    return min(total_steps(run) - warmup_steps(run), round(run.lr_schedule.falling_fraction * run.total_steps))


def groups(recommendation: Recommendation) -> dict[str, ParamGroup]:
    """The recommendation's parameter groups by name."""
    return {group.group: group for group in recommendation.param_groups}


def comment(lines: Iterable[str]) -> str:
    """Comment lines; whatever a recommendation's texts hold stays on its own line."""
    return "".join(f"# {' '.join(line.split())}\n" for line in lines)


def header(recommendation: Recommendation, framework: Framework) -> str:
    """Comment lines that say what the numbers below are worth; every emitter starts with them.

    Raises:
        SpecError: the weight decay has a schedule of its own, which no snippet can write yet.
    """
    own = recommendation.run.weight_decay_schedule
    if own != "constant":
        raise SpecError(
            f"a snippet for {framework.title} cannot write weight_decay_schedule {own!r}: recommend again with "
            "--weight-decay-schedule constant"
        )
    low, high = (format_significant(end) for end in recommendation.weight_decay_range)
    tau = recommendation.timescale
    lines = [
        f"AdamW for {framework.title}: weight decay {format_significant(recommendation.weight_decay)}, range {low} to {high}.",
        f"Rule {recommendation.rule} ({recommendation.companions.source}).",
        f"Timescale {format_count(round(tau.iters))} steps = {tau.epochs:.3g} epochs = {tau.run:.3g} of the run.",
        *_group_lines(recommendation),
        f"Convention {framework.convention}: w <- w * (1 - {conventions.CONVENTIONS[framework.convention].formula}).",
        *(f"Caution ({caution.code}): {caution.message}." for caution in recommendation.cautions),
    ]
    return comment(lines)


def _group_lines(recommendation: Recommendation) -> list[str]:
    """Per-group values, where one number does not serve all."""
    if recommendation.one_for_all:
        return []
    each = [
        f"{group.group} {format_significant(group.weight_decay)} at lr {group.peak_lr:.4g}"
        for group in recommendation.param_groups
    ]
    return [f"Weight decay by group: {', '.join(each)}."]


def global_batch(run: TrainingRun) -> tuple[int | None, tuple[Caution, ...]]:
    """The batch in sequences or samples, which is what frameworks count; None where it cannot be told."""
    if run.unit == "tokens" and run.sequence_length is None:
        caution = Caution(
            code="batch-in-tokens",
            message=f"the batch of {format_count(run.batch_size)} tokens could not be written in sequences, so the snippet does not set it",
            fix="pass --sequence-length",
        )
        return None, (caution,)
    length = run.sequence_length if run.unit == "tokens" and run.sequence_length else 1.0
    sequences = run.batch_size / length
    whole = max(1, round(sequences))
    if abs(whole / sequences - 1) < 1e-9:
        return whole, ()
    caution = Caution(
        code="batch-rounded",
        message=f"a batch of {run.batch_size:g} {run.unit} is {sequences:.2f} of {length:g}; {whole} was written",
        fix=f"recommend again with --batch-size {whole * length:.0f}",
    )
    return whole, (caution,)
