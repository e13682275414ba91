"""What every framework is: one file that knows how it applies, excludes, schedules and names things.

Between a recommendation or a file and a framework's words stands a `Config`: `write` says one in these words, `read`
finds one in a document. What a subclass declares decides what can be said in its words, so
whatever is lost on the way becomes a caution.

A framework whose config is keys and values starts from `table.Table`; one that takes another's arguments extends that
one (`HuggingFace` for whatever has TrainingArguments), as else its configs could be of either. What every framework
has to keep is tests/frameworks/test_frameworks.py, which writes the snippets of a new one and fails once.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from pydantic import Field

from adamw_scale.errors import SpecError
from adamw_scale.formats import FORMATS
from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Group, hidden_only
from adamw_scale.frameworks.spelling import comment
from adamw_scale.noun import Noun
from adamw_scale.spec.advice import Caution
from adamw_scale.theory.schedules import Schedule

Language = Literal["python", "shell", "yaml", "json"]
SUFFIXES: dict[Language, str] = {"python": ".py", "shell": ".sh", "yaml": ".yaml", "json": ".json"}


class Snippet(Noun):
    """A config fragment in a framework's own language and unit."""

    schema_: Literal["adamw-scale/snippet/1"] = Field("adamw-scale/snippet/1", alias="schema")
    framework: str
    language: Language
    text: str
    cautions: tuple[Caution, ...] = ()

    @property
    def suffix(self) -> str:
        """Of a file that holds it."""
        return SUFFIXES[self.language]


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
        signs: Keys that tell this framework's configs from others', and names that are called in its Python. A key
            counts the less the more frameworks have it, and two that no other has are enough. A class that extends
            another's adds its own to theirs, and wins where one of its own is there: its snippet has to show one, or
            a script.
        packages: What its Python imports come from; a call of a sign in one is certain.
        scripts: A pattern of its commands and scripts, which are certain too.
        by_optimizer: Whether its Python is a script of one's own that builds an optimizer, rather than a config.
        formats: Formats of `formats.parse` that its configs come in.
        emits: Whether `emit` writes it; one that is only read says so there.
        proven: Release that the tests build the snippet in; or why none, which starts with "source only".
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
    packages: ClassVar[frozenset[str]] = frozenset()
    scripts: ClassVar[str] = ""
    by_optimizer: ClassVar[bool] = False
    formats: ClassVar[frozenset[str]] = frozenset(FORMATS)
    emits: ClassVar[bool] = True
    proven: ClassVar[str]

    @abstractmethod
    def write(self, config: Config) -> str:
        """A config in this framework's own words."""

    def read(self, document: Document) -> Config:
        """What a document in this framework's words says.

        Raises:
            SpecError: the document is not such a config, or a value in it cannot be.
        """
        raise SpecError(f"{self.title} is configured in code, which is not read: write its values in a --run file")

    @classmethod
    def shown(cls, document: Document) -> frozenset[str]:
        """Its signs that a document shows."""
        return cls.signs & document.keys()

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

    def finished(self, snippet: Snippet) -> Snippet:
        """A snippet with what only this framework has to say of it."""
        return snippet

    def annotated(self, lines: list[str], body: str) -> str:
        """Comment lines above a body."""
        return comment(lines) + body
