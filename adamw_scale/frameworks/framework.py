"""What every framework is: one file that knows how it applies, excludes, schedules and names things.

Between a recommendation or a file and a framework's words stands a `Config`: `emit` turns a recommendation into
one and writes it, `read` finds one in a text. What a subclass declares decides what can be said in its words, so
whatever is lost on the way becomes a caution.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import Field

from adamw_scale import conventions
from adamw_scale.errors import SpecError
from adamw_scale.formats import FORMATS
from adamw_scale.frameworks.config import Config, Group
from adamw_scale.frameworks.plan import hidden_only, planned
from adamw_scale.noun import Noun
from adamw_scale.schedules import Schedule
from adamw_scale.spec import Caution, Recommendation
from adamw_scale.units import format_count, format_significant, printable

Language = Literal["python", "shell", "yaml", "json"]


class Snippet(Noun):
    """A config fragment in a framework's own language and unit."""

    schema_: Literal["adamw-scale/snippet/1"] = Field("adamw-scale/snippet/1", alias="schema")
    framework: str
    language: Language
    text: str
    cautions: tuple[Caution, ...] = ()


class Framework(ABC):
    """A training framework; constructed without arguments.

    Attributes:
        name: As in `adamw-scale emit NAME`.
        title: As people call it.
        language: Of what `emit` writes.
        convention: Key of `CONVENTIONS`: the unit of its weight decay.
        undecayed: Groups that it leaves undecayed if nothing is said.
        undecayed_by_default: The same for people, with its rule.
        grouping: What its config can say of a group: "all" (lr and decay of each), "decay" (whether each decays),
            or "none".
        how_to_group: What to do where `grouping` falls short.
        schedules: Names of `SCHEDULES` that it can say.
        only_to_zero: Those of them that cannot end above zero.
        weight_decay_schedules: Names of `weight_decay_schedules.SHAPES` that it can say.
        reads: What `read` takes, for people; empty where its configs are code.
        signs: Keys that tell this framework's configs from others'.
        formats: Formats of `formats.parse` that its configs come in.
        proven: Release that the tests build the snippet in; or why none.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    language: ClassVar[Language]
    convention: ClassVar[str]
    undecayed: ClassVar[frozenset[str]] = frozenset()
    undecayed_by_default: ClassVar[str]
    grouping: ClassVar[Literal["all", "decay", "none"]]
    how_to_group: ClassVar[str] = ""
    schedules: ClassVar[tuple[str, ...]]
    only_to_zero: ClassVar[frozenset[str]] = frozenset()
    weight_decay_schedules: ClassVar[tuple[str, ...]] = ("constant",)
    reads: ClassVar[str] = ""
    signs: ClassVar[frozenset[str]] = frozenset()
    formats: ClassVar[frozenset[str]] = frozenset(FORMATS)
    proven: ClassVar[str]

    @abstractmethod
    def write(self, config: Config) -> str:
        """A config in this framework's own words."""

    def read(self, text: str) -> Config:
        """What a text in this framework's words says.

        Raises:
            SpecError: the text is not such a config, or a value in it cannot be.
        """
        raise SpecError(f"{self.title} is configured in code, which is not read: write its values in a --run file")

    def has(self, schedule: Schedule) -> bool:
        """Whether a schedule can be said exactly."""
        return schedule.name in self.schedules and not (schedule.name in self.only_to_zero and schedule.final > 0)

    def groups_of(self, wanted: tuple[Group, ...]) -> tuple[Group, ...]:
        """What becomes of recommended groups once they are said in this framework's words."""
        if self.grouping == "all":
            return wanted
        if self.grouping == "decay":
            return hidden_only(wanted, frozenset(group.group for group in wanted if not group.weight_decay))
        return hidden_only(wanted, self.undecayed)

    def emit(self, recommendation: Recommendation) -> Snippet:
        """A recommendation as this framework's config, with what it is worth in comments above."""
        config, cautions = planned(recommendation, self)
        lines = [*header(recommendation, self), *(_said(caution) for caution in cautions)]
        text = self.annotated(lines, self.write(config))
        return Snippet(framework=self.name, language=self.language, text=text, cautions=cautions)

    def annotated(self, lines: list[str], body: str) -> str:
        """Comment lines above a body."""
        return comment(lines) + body


def value(number: float) -> str:
    """A computed number for a config: eight significant digits, enough for 1e-7 and short enough to read."""
    return f"{number:.8g}"


def exact(number: float) -> str:
    """A number of the user's, as it was given."""
    return repr(number)


def yaml_number(text: str) -> str:
    """A number that YAML 1.1 takes for one: 1.0e-08, as 1e-08 is text to it."""
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}.0e{exponent}" if e and "." not in mantissa else text


def whole(number: float | None) -> int:
    """Steps or sequences, which configs count whole; 0 for none."""
    return round(number or 0)


def one_for_all(config: Config) -> bool:
    """Whether one learning rate and one weight decay serve every decayed group."""
    return len({(group.lr_factor, group.weight_decay) for group in config.groups if group.weight_decay}) <= 1


def spared(config: Config) -> frozenset[str]:
    """Groups that do not decay."""
    return frozenset(group.group for group in config.groups if not group.weight_decay)


def final_lr(config: Config) -> float:
    """Learning rate at the end of the run."""
    return (config.peak_lr or 0.0) * config.lr_schedule.final


def comment(lines: Iterable[str]) -> str:
    """Comment lines; whatever a recommendation's texts hold stays on its own line."""
    return "".join(f"# {printable(line)}\n" for line in lines)


def header(recommendation: Recommendation, framework: Framework) -> list[str]:
    """What the numbers of a snippet are worth; every snippet starts with it."""
    low, high = (format_significant(end) for end in recommendation.weight_decay_range)
    tau = recommendation.timescale
    return [
        f"AdamW for {framework.title}: weight decay {format_significant(recommendation.weight_decay)}, range {low} to {high}"
        + (", in PyTorch's unit." if conventions.CONVENTIONS[framework.convention].kind != "pytorch" else "."),
        f"Rule {recommendation.rule} ({recommendation.companions.source}).",
        f"Timescale {format_count(round(tau.iters))} steps = {tau.epochs:.3g} epochs = {tau.run:.3g} of the run.",
        *_group_lines(recommendation),
        f"Convention {framework.convention}: w <- w * (1 - {conventions.CONVENTIONS[framework.convention].formula}).",
        *(_said(caution) for caution in recommendation.cautions),
    ]


def _said(caution: Caution) -> str:
    return f"Caution ({caution.code}): {caution.message}."


def _group_lines(recommendation: Recommendation) -> list[str]:
    """Per-group values, where one number does not serve all."""
    if recommendation.one_for_all:
        return []
    each = [
        f"{group.group} {format_significant(group.weight_decay)} at lr {group.peak_lr:.4g}"
        for group in recommendation.param_groups
    ]
    return [f"Weight decay by group: {', '.join(each)}."]
